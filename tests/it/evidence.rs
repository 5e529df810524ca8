//! What a run leaves behind, and what can be told from it later.

mod deletes;
mod manifest;
mod receipts;
mod why;
