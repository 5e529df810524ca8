//! The pace of one endpoint: a gate for each kind of request, and its caps.
//!
//! Owns: which requests share a gate. Stores limit and price reads, writes and listings apart, and their answers take times of
//! different magnitude. Both sides of a run share an endpoint's pace when they are at one endpoint.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::flow::Valve;
use super::gate::{Gate, GateReading};
use super::{Pace, RequestRate};
use crate::store::metered::RequestKind;
use crate::{Clock, Result};

/// Kinds of request that are paced together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Pages of listings of any kind.
    List,
    /// Bodies read.
    Read,
    /// Bodies written, and what makes objects of them.
    Write,
    /// Everything without a body.
    Small,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 4] = [Self::List, Self::Read, Self::Write, Self::Small];

    /// The lane of a kind of request.
    pub fn of(kind: RequestKind) -> Self {
        match kind {
            RequestKind::List
            | RequestKind::ListVersions
            | RequestKind::ListParts
            | RequestKind::ListUploads => Self::List,
            RequestKind::Get => Self::Read,
            RequestKind::Put
            | RequestKind::UploadPart
            | RequestKind::CompleteUpload
            | RequestKind::Copy
            | RequestKind::CopyPart => Self::Write,
            RequestKind::Head
            | RequestKind::GetTags
            | RequestKind::PutTags
            | RequestKind::CreateUpload
            | RequestKind::AbortUpload
            | RequestKind::Restore
            | RequestKind::Delete => Self::Small,
        }
    }

    /// The word reports use.
    pub fn word(self) -> &'static str {
        match self {
            Self::List => "lists",
            Self::Read => "reads",
            Self::Write => "writes",
            Self::Small => "small requests",
        }
    }
}

/// The pace of one endpoint. See the module.
pub struct EndpointPace {
    gates: [Arc<Gate>; Lane::ALL.len()],
    requests: Option<Valve>,
    /// Shared by every endpoint of a run: a byte that is read here and written there passes once.
    bytes: Option<Arc<Valve>>,
}

/// What every gate of an endpoint has seen; gates that nothing passed are left out.
pub type PaceReading = BTreeMap<Lane, GateReading>;

impl EndpointPace {
    /// At most `streams` requests of each kind at once, under a task's caps.
    pub fn new(streams: usize, pace: &Pace, bytes: Option<Arc<Valve>>, clock: &Arc<dyn Clock>) -> Self {
        Self {
            gates: Lane::ALL.map(|_| Arc::new(Gate::new(streams))),
            requests: pace.max_requests.map(|RequestRate(per_sec)| Valve::new(per_sec, Arc::clone(clock))),
            bytes,
        }
    }

    /// What its gates have seen.
    pub fn read(&self) -> PaceReading {
        Lane::ALL
            .into_iter()
            .map(|lane| (lane, self.gates[lane as usize].read()))
            .filter(|(_, reading)| reading.peak > 0)
            .collect()
    }

    pub(crate) async fn enter(&self, kind: RequestKind) -> Result<super::gate::Pass> {
        if let Some(requests) = &self.requests {
            requests.pass(1).await;
        }
        self.gates[Lane::of(kind) as usize].enter().await
    }

    pub(crate) fn bytes(&self) -> Option<&Arc<Valve>> {
        self.bytes.as_ref()
    }
}

impl fmt::Debug for EndpointPace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointPace").field("reading", &self.read()).finish_non_exhaustive()
    }
}
