//! What a run leaves behind, and what can be told from it later.

mod deletes;
mod receipts;
