//! The events function: any store's notification in, jobs on the queue out.
//!
//! The library is the handler and the hosts around it; `main` is wiring only. Invariant: a caller hears of success only after the queue
//! has taken every job of its notification, and hears of anything else in the terms that make it try again.

mod auth;
mod handler;
pub mod host;
mod rule_book;
mod rules;
mod senders;
mod settings;

pub use auth::{
    Authenticator, BEARER_SCHEME, Presented, REPLAY_WINDOW, SIGNATURE_HEADER, Secret, Unauthenticated, sign,
};
pub use handler::{Accepted, Handler, Refused};
pub use rule_book::RuleBook;
pub use rules::{Deletes, Filtered, Rules};
pub use senders::Senders;
pub use settings::{Authentication, HostKind, Invokers, Settings};
