//! How a task treats its largest objects.
//!
//! Owns: from which size on an object is shared out among workers. Does not own: how objects are cut into parts ([`crate::PartPlan`]).

use serde::{Deserialize, Serialize};

use crate::size::Size;

/// How the largest objects are treated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Large {
    /// Objects above this are copied part by part by any number of workers, where there is a queue for the parts and a place to
    /// remember the upload; `null` leaves each object to one worker.
    pub part_jobs_above: Option<Size>,
}

/// Some two minutes of one worker's work: less is not worth a message for each part, more comes near a function's time limit.
impl Default for Large {
    fn default() -> Self {
        Self { part_jobs_above: Some(Size { bytes: 5 << 30 }) }
    }
}
