//! What the integration tests stand on: the real programs as processes, and servers on loopback for them to talk to.
//!
//! [`program`] runs a binary in a clean environment and reads what came out, [`pair`] sets up two stores with keys of their own,
//! [`web`] speaks the plainest HTTP for what must work without an SDK, [`scripted`] is a server that says what a test wants, and
//! [`function`] is a Lambda binary under a Runtime API, [`ssm`] keeps parameters, [`tls`] speaks TLS in front of a server, and [`cost`] is what a process used
//! up. Invariants: everything stops and is removed when it is dropped; no program sees the environment of whoever runs the tests.

#![expect(clippy::missing_panics_doc, reason = "a harness panics on behalf of the test that uses it")]

pub mod cost;
pub mod function;
pub mod pair;
pub mod program;
pub mod scripted;
pub mod ssm;
pub mod tls;
pub mod web;

pub use cost::Cost;
pub use function::Function;
pub use pair::{Pair, Side, StoreSetup, assert_same_object};
pub use program::{Ended, Program};
pub use scripted::Scripted;
pub use ssm::SsmServer;
