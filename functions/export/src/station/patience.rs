//! What is done about an object that cannot be read.
//!
//! Owns: whether it is tried again, given up, or the run ends. Does not own: reading, nor what stands in an object's place. Invariant: an object is given up only where its store serves
//! others: keys that lapsed, a right that was taken away or a store that is not there would otherwise fill a medium with zeros, for good.

use std::time::Duration;

use ferry_device::plan::{Object, Plan};
use ferry_transfer::{Error, ErrorKind};

use super::reading::{Source, is_final};
use super::{Run, StationError};

/// Attempts at one object, and the pause before the second; it doubles.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How long a store that does not answer is waited for, and the longest pause between two questions.
const PATIENCE: Duration = Duration::from_mins(15);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Entries of the plan among which an object is looked for that the store does serve.
const LOOKED_AT: usize = 1000;
/// How many of them are asked for.
const ASKED: usize = 16;

/// What follows a failure.
#[derive(Debug)]
pub(super) enum Next {
    /// Another attempt.
    Again,
    /// The object is the reason.
    GiveUp(Error),
}

/// The attempts at one object.
#[derive(Debug, Default)]
pub(super) struct Patience {
    attempts: u32,
    waited: Duration,
    /// Whether the store served another object since the attempts began.
    is_store_well: bool,
}

impl Patience {
    /// Waits, and says what follows.
    ///
    /// # Errors
    /// The failure, where it is the store's and not the object's: then the run ends, and another goes on.
    pub(super) async fn after(
        &mut self,
        run: &Run<'_>,
        plan: &Plan,
        source: &Source,
        object: &Object,
        error: Error,
    ) -> Result<Next, StationError> {
        self.attempts += 1;
        if !is_final(&error) && self.attempts < ATTEMPTS {
            self.pause(run, FIRST_PAUSE * 2_u32.pow(self.attempts - 1)).await?;
            return Ok(Next::Again);
        }
        if !may_be_the_stores(error.kind()) {
            return Ok(Next::GiveUp(error));
        }
        let mut is_first = true;
        let mut pause = FIRST_PAUSE;
        loop {
            let asked = serves_another(plan, source, object, error_like(&error)).await?;
            match asked {
                Ok(()) if is_first && self.is_store_well => return Ok(Next::GiveUp(error)),
                // It may have been away all the while, and have come back just now: once more.
                Ok(()) => {
                    self.is_store_well = true;
                    self.attempts = if is_first { ATTEMPTS - 1 } else { 0 };
                    return Ok(Next::Again);
                }
                Err(lasting) if lasting.is_permanent() || self.waited >= PATIENCE => {
                    return Err(lasting.into());
                }
                Err(passing) => {
                    if is_first {
                        tracing::warn!(
                            error = passing.chain(),
                            "the store does not answer; it is waited for"
                        );
                    }
                }
            }
            is_first = false;
            self.pause(run, pause).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn pause(&mut self, run: &Run<'_>, pause: Duration) -> Result<(), StationError> {
        run.station.service.parts().clock.sleep(pause).await;
        self.waited += pause;
        run.standing.check()
    }
}

/// Whether the reason may lie with the store, so that other objects fail likewise.
fn may_be_the_stores(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Configuration | ErrorKind::PermissionDenied | ErrorKind::Transient | ErrorKind::Throttled
    )
}

/// The failure once more, for where nothing else can be asked for.
fn error_like(error: &Error) -> impl FnOnce() -> Error {
    let (kind, told) = (error.kind(), error.chain());
    move || Error::new(kind, told)
}

/// Whether the store gives the first byte of another object: the one that was read last, else any of the first in the plan.
async fn serves_another(
    plan: &Plan,
    source: &Source,
    object: &Object,
    nothing_to_ask: impl FnOnce() -> Error,
) -> Result<Result<(), Error>, StationError> {
    let others = source.read_last().into_iter().map(Ok).chain(
        plan.entries()?
            .take(LOOKED_AT)
            .filter(|entry| entry.as_ref().map_or(true, |entry| entry.place.is_file()))
            .map(|entry| entry.map(|entry| entry.object)),
    );
    let mut refused = None;
    let is_other = |other: &Result<Object, ferry_device::Error>| {
        other.as_ref().map_or(true, |other| other.bucket == object.bucket && other.key != object.key)
    };
    for other in others.filter(is_other).take(ASKED) {
        match source.first_byte(&other?).await {
            Ok(()) => return Ok(Ok(())),
            // What is said of that object tells nothing of the others.
            Err(error) if !may_be_the_stores(error.kind()) => {}
            // Who does not answer is not asked for sixteen objects.
            Err(error) if !error.is_permanent() => return Ok(Err(error)),
            Err(error) => refused = Some(error),
        }
    }
    Ok(Err(refused.unwrap_or_else(nothing_to_ask)))
}
