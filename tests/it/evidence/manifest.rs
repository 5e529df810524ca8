//! `ferry verify --manifest` and `--against`: a certificate that others can check, now and later.

use ferry_tests::{Ended, Pair};

use crate::objects::{fill_awkward, sync, whole};

/// What `docs/manifest.md` tells everybody to do: recompute a side's digests from its own listing. Prints the last line's verdict and one
/// line for each range.
const RECOMPUTE: &str = r#"
import hashlib, json, sys
raw = open(sys.argv[1], "rb").read().splitlines(keepends=True)
assert json.loads(raw[-1])["sha256"] == hashlib.sha256(b"".join(raw[:-1])).hexdigest()
ranges = [line for line in map(json.loads, raw) if "range" in line]
objects = sorted((o["key"].encode(), o["size_bytes"], (o["etag"] or "").lower()) for o in map(json.loads, open(sys.argv[2])))
for r in ranges:
    inside = [o for o in objects
              if (r["after"] is None or o[0] > r["after"].encode()) and (r["until"] is None or o[0] <= r["until"].encode())]
    lines = b"".join(b"%d:%s,%d,%s\n" % (len(k), k, size, etag.encode()) for k, size, etag in inside)
    assert hashlib.sha256(lines).hexdigest() == r[sys.argv[3]]["sha256"], r
    assert len(inside) == r[sys.argv[3]]["objects"], r
print(len(ranges), len(objects))
"#;

async fn verify(pair: &Pair, args: &[&str]) -> Ended {
    whole(pair, "verify").args(["--json"]).args(args.iter().copied()).run().await
}

#[tokio::test]
async fn anybody_can_recompute_a_manifest_with_a_few_lines_of_python() {
    let pair = Pair::start().await;
    fill_awkward(&pair.from(), "", 0);
    sync(&pair, &[]).await.expect_code(0);
    pair.to().put_object("only here", "x");
    verify(&pair, &["--manifest", "m"]).await.expect_code(3);
    for (side, location) in [("source", "harbour://docks/"), ("destination", "island://beach/")] {
        let listed = crate::objects::ferry(&pair, ["ls", "--recursive", "--json", location]).run().await;
        std::fs::write(pair.directory().join("listed"), &listed.expect_code(0).stdout).expect("a file");
        let python = std::process::Command::new("python3")
            .args(["-c", RECOMPUTE, "m", "listed", side])
            .current_dir(pair.directory())
            .output()
            .expect("python3");
        assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    }
}

#[tokio::test]
async fn a_manifest_tells_later_which_side_has_changed() {
    let pair = Pair::start().await;
    for number in 0..30 {
        pair.from().put_object(&format!("{number:03}"), "x");
    }
    sync(&pair, &[]).await.expect_code(0);
    verify(&pair, &["--manifest", "m"]).await.expect_code(0);
    let summary = |ended: &Ended| ended.lines().pop().expect("a summary")["summary"]["rechecked"].clone();

    let same = verify(&pair, &["--against", "m"]).await.expect_code(0);
    assert_eq!(summary(&same)["changed_at_source"], 0, "{same}");

    // On both sides alike: they agree, and yet are not what they were.
    for bucket in [pair.from(), pair.to()] {
        bucket.put_object("005", "another");
    }
    pair.to().remove("007");
    pair.from().remove("007");
    let both = verify(&pair, &["--against", "m"]).await.expect_code(3);
    let rechecked = summary(&both);
    assert_eq!(
        (&rechecked["changed_at_source"], &rechecked["changed_at_destination"]),
        (&1.into(), &1.into()),
        "{both}"
    );

    let text = whole(&pair, "verify").args(["--against", "m"]).run().await.expect_code(3);
    assert!(text.stdout.contains("30 → 29 objects") && text.stdout.contains("Since the manifest"), "{text}");

    let file = pair.directory().join("m");
    let tampered = std::fs::read_to_string(&file).expect("m").replace("\"objects\":30", "\"objects\":29");
    std::fs::write(&file, tampered).expect("m");
    verify(&pair, &["--against", "m"]).await.expect_refusal(&["not as it was written"]);
}

#[tokio::test]
async fn a_verification_that_breaks_off_leaves_no_manifest() {
    use ferry_testkit::faults::Action;
    use ferry_testkit::operation::Operation;

    let pair = Pair::start().await;
    for number in 0..1_200 {
        pair.from().put_object(&format!("{number:05}"), "x");
    }
    pair.fail_from(ferry_tests::Side::Source, Operation::ListObjectsV2, 3, 60, &Action::ACCESS_DENIED);
    verify(&pair, &["--manifest", "m"]).await.expect_code(1);
    assert!(!pair.directory().join("m").exists());
}
