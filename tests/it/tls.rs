//! Stores behind HTTPS: both clients trust the system's roots, and nobody else.

use ferry_tests::tls::{Identity, TlsFront, Validity};
use ferry_tests::{Ended, Pair, Side};

use crate::FERRY;
use crate::objects::{bytes, every_attribute, parts};

const MIB: usize = 1 << 20;

/// A sync of the pair with both sides behind TLS.
async fn sync_over_tls(pair: &Pair, fronts: &[TlsFront; 2], variables: &[(&str, &str)]) -> Ended {
    let program = pair
        .program(FERRY)
        .args(["sync", &Side::Source.location(""), &Side::Destination.location(""), "--json"])
        .args(["--source-endpoint", &fronts[0].url(), "--dest-endpoint", &fronts[1].url()]);
    variables.iter().fold(program, |program, (name, value)| program.env(name, value)).run().await
}

async fn fronts(pair: &Pair, identity: &Identity) -> [TlsFront; 2] {
    [
        TlsFront::start(identity, &pair.source.endpoint()).await,
        TlsFront::start(identity, &pair.destination.endpoint()).await,
    ]
}

#[tokio::test]
async fn both_clients_copy_over_tls() {
    let identity = Identity::new(Validity::Valid);
    for client in ["lean", "sdk"] {
        let pair = Pair::start().await;
        let root = identity.write_root(pair.directory());
        let fronts = fronts(&pair, &identity).await;
        for number in 0..40_u64 {
            pair.from().put_object_with(&format!("small-{number}"), bytes(4096, number), every_attribute());
        }
        pair.from().put_object("empty", bytes(0, 0));
        pair.from().put_object_in_parts("large", parts(&bytes(17 * MIB, 3), 8 * MIB), every_attribute());
        let root = root.to_str().expect("text");
        let variables = [("SSL_CERT_FILE", root), ("FERRY_CLIENT", client)];
        let report = sync_over_tls(&pair, &fronts, &variables).await.expect_code(0).report();
        assert_eq!(report["copied"], 42, "{client}: {report}");
        pair.assert_same();
        let again = sync_over_tls(&pair, &fronts, &variables).await.expect_code(0).report();
        assert_eq!((&again["copied"], &again["up_to_date"]), (&0.into(), &42.into()), "{client}: {again}");
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_and_said_so() {
    let pair = Pair::start().await;
    pair.from().put_object("key", bytes(10, 1));
    let stranger = Identity::new(Validity::Valid).write_root(pair.directory());
    let stranger = stranger.to_str().expect("text").to_owned();
    for client in ["lean", "sdk"] {
        let fronts = fronts(&pair, &Identity::new(Validity::Valid)).await;
        let variables = [("SSL_CERT_FILE", stranger.as_str()), ("FERRY_CLIENT", client)];
        let ended = sync_over_tls(&pair, &fronts, &variables).await.expect_code(2);
        assert!(ended.shows("invalid peer certificate"), "{client}: {ended}");
        assert!(ended.shows("SSL_CERT_FILE"), "{client} does not say what to do: {ended}");
    }
    assert_eq!(pair.source.requests().len(), 0, "nothing was said to a stranger");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_said_so() {
    let pair = Pair::start().await;
    let identity = Identity::new(Validity::Expired);
    let root = identity.write_root(pair.directory());
    let fronts = fronts(&pair, &identity).await;
    let variables = [("SSL_CERT_FILE", root.to_str().expect("text"))];
    let ended = sync_over_tls(&pair, &fronts, &variables).await.expect_code(2);
    assert!(ended.shows("is not valid now"), "{ended}");
}
