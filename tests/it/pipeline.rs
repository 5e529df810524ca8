//! `ferry sync`: what arrives, what it costs, what is deleted, and what is said about it.

mod arrival;
mod deletes;
mod large;
mod repetition;
mod report;
