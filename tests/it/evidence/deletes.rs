//! Deletes that are written down before they are made, and can be undone.
