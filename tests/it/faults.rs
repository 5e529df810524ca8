//! What happens when a server fails, lies, or changes under a copy: it arrives whole, or it is said that it did not.

mod bodies;
mod changes;
mod conditions;
mod declared;
mod hopeless;
mod listings;
mod passing;
mod proof;
mod ranges;
