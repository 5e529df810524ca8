//! What arrives.

use ferry_tests::Pair;

use crate::objects::{between, fill_awkward};

#[tokio::test]
async fn awkward_keys_arrive_under_any_prefix_on_either_side() {
    let odd = "from//%20 a+b/";
    let prefixes = [("", ""), (odd, ""), ("", "to/漢字/"), (odd, "to/no-slash-at-the-end")];
    for (from, to) in prefixes {
        let pair = Pair::start().await;
        let count = fill_awkward(&pair.from(), from, from.len().max(to.len()));
        // Beside the prefix, not under it.
        pair.from().put_object("from", "not to be moved");
        let ended = between(&pair, "sync", from, to).args(["--json"]).run().await.expect_code(0);
        let beside = u64::from(from.is_empty());
        assert_eq!(ended.report()["copied"], count + beside, "{from:?} to {to:?}: {ended}");
        pair.assert_same_under(from, to);
        assert_eq!(pair.to().len() as u64, count + beside);
    }
}
