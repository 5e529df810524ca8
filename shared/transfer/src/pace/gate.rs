//! Lets requests of one kind through to one endpoint, as many at once as its controller says.
//!
//! Owns: the slots, first come first served. Does not own: how many there should be ([`super::control`]). Invariant: a slot that
//! is taken is given back, whatever becomes of the request, and when the limit falls no slot is given out until enough have
//! come back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::control::{Control, Era, Outcome};
use crate::{Error, ErrorKind, Result};

/// A gate. See the module.
#[derive(Debug)]
pub struct Gate {
    slots: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    control: Control,
    /// Slots that exist, taken ones included.
    slots: usize,
    /// Slots to be taken out of the world when they come back.
    owed: usize,
    under_way: usize,
    peak: usize,
    throttled: u64,
}

/// What a gate has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct GateReading {
    /// Requests that may be under way at once, now.
    pub limit: usize,
    /// Requests under way now.
    pub under_way: usize,
    /// Most requests that were under way at once.
    pub peak: usize,
    /// Requests that the store refused for coming too fast.
    pub throttled: u64,
}

/// A slot, taken.
#[derive(Debug)]
pub struct Pass {
    gate: Arc<Gate>,
    era: Era,
    under_way: usize,
    entered: Instant,
    slot: Option<OwnedSemaphorePermit>,
}

impl Gate {
    /// At most `max` requests at once.
    pub fn new(max: usize) -> Self {
        let control = Control::new(max);
        let slots = control.limit();
        Self {
            slots: Arc::new(Semaphore::new(slots)),
            state: Mutex::new(State { control, slots, owed: 0, under_way: 0, peak: 0, throttled: 0 }),
        }
    }

    /// Waits for a slot.
    pub async fn enter(self: &Arc<Self>) -> Result<Pass> {
        let slot = Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map_err(|_closed| Error::new(ErrorKind::Cancelled, "the store is not used any more"))?;
        let mut state = self.state();
        state.under_way += 1;
        state.peak = state.peak.max(state.under_way);
        Ok(Pass {
            gate: Arc::clone(self),
            era: state.control.era(),
            under_way: state.under_way,
            entered: Instant::now(),
            slot: Some(slot),
        })
    }

    /// What it has seen.
    pub fn read(&self) -> GateReading {
        let state = self.state();
        GateReading {
            limit: state.control.limit(),
            under_way: state.under_way,
            peak: state.peak,
            throttled: state.throttled,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As many slots as the controller says.
    fn adjust(&self, state: &mut State) {
        let limit = state.control.limit();
        if limit > state.slots {
            let wanted = limit - state.slots;
            let forgiven = wanted.min(state.owed);
            state.owed -= forgiven;
            self.slots.add_permits(wanted - forgiven);
        } else {
            let surplus = state.slots - limit;
            state.owed += surplus - self.slots.forget_permits(surplus);
        }
        state.slots = limit;
    }
}

impl Pass {
    /// How long the request has taken so far.
    pub fn elapsed(&self) -> Duration {
        self.entered.elapsed()
    }

    /// Says what became of the request. The slot stays taken until the pass is dropped.
    pub fn settle(&self, outcome: Outcome) {
        let mut state = self.gate.state();
        if outcome == Outcome::Throttled {
            state.throttled += 1;
        }
        state.control.observe(self.era, self.under_way, outcome);
        self.gate.adjust(&mut state);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.under_way -= 1;
        if let Some(slot) = self.slot.take()
            && state.owed > 0
        {
            state.owed -= 1;
            slot.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fill(gate: &Arc<Gate>, passes: &mut Vec<Pass>) {
        while let Ok(pass) = tokio::time::timeout(Duration::from_millis(1), gate.enter()).await {
            passes.push(pass.expect("a pass"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slots_follow_the_limit_down_and_up() {
        let gate = Arc::new(Gate::new(100));
        let mut passes = Vec::new();
        fill(&gate, &mut passes).await;
        assert_eq!(passes.len(), 8);
        passes[7].settle(Outcome::Throttled);
        assert_eq!((gate.read().limit, gate.read().throttled), (5, 1));
        // Three come back and are not given out again.
        passes.truncate(5);
        fill(&gate, &mut passes).await;
        assert_eq!(passes.len(), 5);
        for _ in 0..400 {
            passes.clear();
            fill(&gate, &mut passes).await;
            let latency = Duration::from_millis(10);
            for pass in &passes {
                pass.settle(Outcome::Answered { latency, bytes: 0 });
            }
        }
        passes.clear();
        fill(&gate, &mut passes).await;
        assert_eq!((passes.len(), gate.read().under_way, gate.read().peak), (100, 100, 100));
    }
}
