//! Which tasks are due.
//!
//! Owns: looking every second, and the rule. Invariants: a moment that nobody was there for is made up for once, however many there were; a
//! task that runs is not begun a second time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferry_transfer::schedule::Schedule;
use ferry_transfer::{Clock as _, SystemClock};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::runs::Runs;
use super::tasks::{Pause, Shelved, TaskShelf};

const EVERY: Duration = Duration::from_secs(1);
/// A run that is due and cannot begin, since a store is away, is tried again so often.
const AGAIN: Duration = Duration::from_secs(30);

/// When a task is to run next: after its last run's beginning, or after its schedule began to count, whichever is later.
pub(super) fn next(
    schedule: &Schedule,
    last_began: Option<OffsetDateTime>,
    since: OffsetDateTime,
) -> Option<OffsetDateTime> {
    schedule.next_after(last_began.map_or(since, |began| began.max(since)))
}

/// Begins what is due, until it is told to stop.
pub(super) async fn keep(shelf: Arc<TaskShelf>, runs: Arc<Runs>, work: TaskTracker, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failed: HashMap<String, Instant> = HashMap::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        let tasks = match shelf.all() {
            Ok(tasks) => tasks,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "tasks cannot be read");
                continue;
            }
        };
        for (name, shelved) in tasks {
            let Ok(Shelved { task, state: Pause::Active, since, .. }) = shelved else { continue };
            let Some(schedule) = &task.schedule else { continue };
            let due = next(schedule, runs.last_began(&name).await, since);
            if due.is_some_and(|due| due <= SystemClock.now()) {
                // One that is under way is due again when it has ended.
                if runs.of_task(&name).is_some() || failed.get(&name).is_some_and(|at| at.elapsed() < AGAIN) {
                    continue;
                }
                match runs.begin(&name, &work, &stop).await {
                    Ok(_) => drop(failed.remove(&name)),
                    Err(error) => {
                        tracing::error!(task = name, error = %error.chain(), "a run that is due cannot begin; it is tried again");
                        failed.insert(name, Instant::now());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_schedule_counts_from_the_last_run_or_from_its_making() {
        let nightly: Schedule = "cron(0 2 * * ? *)".parse().expect("a schedule");
        let made = datetime!(2026-11-20 12:00 UTC);
        assert_eq!(next(&nightly, None, made), Some(datetime!(2026-11-21 02:00 UTC)));
        // Nobody was there for two nights: one of them is made up for.
        let last = datetime!(2026-11-21 02:00:01 UTC);
        assert_eq!(next(&nightly, Some(last), made), Some(datetime!(2026-11-22 02:00 UTC)));
        // Resumed after a pause: what was missed in it is not made up for.
        let resumed = datetime!(2026-12-01 09:00 UTC);
        assert_eq!(next(&nightly, Some(last), resumed), Some(datetime!(2026-12-02 02:00 UTC)));
    }
}
