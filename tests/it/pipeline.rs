//! `ferry sync`: what arrives, what it costs, and what is said about it.

mod arrival;
