//! Whether the store is there, knows us, and can be listed.

use ferry_transfer::Result;
use ferry_transfer::store::ListRequest;

use super::Flow;
use crate::probe::finding::{Outcome, why};
use crate::probe::trial::Trial;
use crate::profile::Addressing;
use crate::s3::Greeting;

/// Signatures of an older or newer time are refused (AWS, "Signature Version 4", 15 minutes).
const SKEW_REFUSED_SECS: i64 = 15 * 60;
/// More than this is a clock that nobody sets.
const SKEW_USUAL_SECS: i64 = 60;

pub(super) async fn greeting(trial: &Trial) -> Flow {
    let begun = trial.clock().now();
    let greeting = trial.greet().await;
    let now = trial.clock().now();
    let Greeting { status, date, region, outcome } = greeting;
    let Some(status) = status else {
        if let Err(error) = outcome {
            trial.give_up("reach", &error);
        }
        return Flow::Stop;
    };
    let way = if trial.subject().endpoint().starts_with("http://") {
        "over plain HTTP: signed, not secret"
    } else {
        "over TLS"
    };
    let millis = (now - begun).whole_milliseconds();
    trial.tell("reach", Outcome::Yes, format!("answered HTTP {status} within {millis} ms, {way}"));
    match date {
        None => trial.tell("clock", Outcome::Untried, "the store's answer has no date"),
        Some(theirs) => {
            let (outcome, detail) = skew(now.unix_timestamp() - theirs.unix_timestamp());
            trial.tell("clock", outcome, detail);
        }
    }
    let signed = trial.subject().region();
    match (region, outcome.is_ok()) {
        (Some(region), false) if region != signed => trial.tell(
            "region",
            Outcome::Broken,
            format!("signed for {signed}, the bucket is in {region}: set `region: {region}`"),
        ),
        (Some(region), true) if region != signed => trial.tell(
            "region",
            Outcome::Yes,
            format!("{signed} is accepted; the store itself says {region}"),
        ),
        (_, true) => trial.tell("region", Outcome::Yes, format!("{signed} is accepted")),
        (_, false) => {}
    }
    Flow::Continue
}

/// What a difference of clocks means, ours minus theirs.
fn skew(ahead_secs: i64) -> (Outcome, String) {
    let direction = if ahead_secs < 0 { "behind" } else { "ahead of" };
    let secs = ahead_secs.abs();
    if secs >= SKEW_REFUSED_SECS {
        let detail = format!("this machine's clock is {secs} s {direction} the store's: set it right");
        (Outcome::Broken, detail)
    } else if secs > SKEW_USUAL_SECS {
        (Outcome::No, format!("this machine's clock is {secs} s {direction} the store's; 15 min are refused"))
    } else {
        (Outcome::Yes, format!("{secs} s apart"))
    }
}

async fn list_one(trial: &Trial, addressing: Addressing) -> Result<()> {
    let store = trial.under(|profile| profile.addressing = addressing);
    let request =
        ListRequest { prefix: trial.prefix().to_owned(), page_size: Some(1), ..ListRequest::default() };
    store.list(request).await.map(drop)
}

pub(super) async fn addressing(trial: &Trial) -> Flow {
    let configured = trial.profile().addressing;
    if !trial.subject().endpoint().starts_with("http") {
        trial.tell("addressing", Outcome::Yes, "as Amazon S3 wants it");
        return Flow::Continue;
    }
    let mut works = Vec::new();
    let mut told = Vec::new();
    for style in [Addressing::Path, Addressing::Virtual, Addressing::BucketHost] {
        match list_one(trial, style).await {
            Ok(()) => {
                works.push(style);
                told.push(format!("{} works", style.word()));
            }
            Err(error) => told.push(format!("{}: {}", style.word(), why(&error))),
        }
    }
    let told = told.join("; ");
    let best = works.first().copied();
    match best {
        _ if works.contains(&configured) => {
            trial.tell_fact("addressing", Outcome::Yes, told, "addressing", configured.word());
        }
        Some(best) => trial.tell_fact("addressing", Outcome::Broken, told, "addressing", best.word()),
        // The listing says why.
        None => trial.tell("addressing", Outcome::Untried, told),
    }
    Flow::Continue
}

pub(super) async fn list(trial: &Trial) -> Flow {
    match list_one(trial, trial.profile().addressing).await {
        Ok(()) => {
            trial.tell("list", Outcome::Yes, "the credentials may list");
            Flow::Continue
        }
        Err(error) => {
            trial.give_up("list", &error);
            Flow::Stop
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_right_wrong_or_too_wrong() {
        assert_eq!(skew(0).0, Outcome::Yes);
        assert_eq!(skew(-300).0, Outcome::No);
        let (outcome, detail) = skew(-1000);
        assert_eq!(outcome, Outcome::Broken);
        assert!(detail.contains("1000 s behind"), "{detail}");
        assert!(skew(1000).1.contains("ahead of"));
    }
}
