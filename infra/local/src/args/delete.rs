//! What may be deleted, and how it can be had back.

use clap::Args as ClapArgs;
use ferry_transfer::deletion::Trash;
use ferry_transfer::task::{DeleteLimit, Deletes};

const HEADING: &str = "Deleting";

/// What may be deleted, and how it can be had back.
#[derive(Debug, Clone, ClapArgs)]
pub struct DeleteArgs {
    /// Delete what is at the destination only, each object once it is proven gone at the source
    #[arg(long, help_heading = HEADING)]
    pub delete: bool,
    /// Refuse to delete anything when the plan exceeds this many objects (100) or this share of the destination (10%)
    #[arg(long, value_name = "N|P%", requires = "delete", default_value = "50%", help_heading = HEADING)]
    pub max_delete: DeleteLimit,
    /// Move what is deleted under this prefix of the destination's bucket, as PREFIX/RUN/KEY; it is compared with nothing there
    #[arg(long, value_name = "PREFIX", help_heading = HEADING)]
    pub trash: Option<Trash>,
}

impl DeleteArgs {
    /// What happens to objects that are gone at the source.
    pub fn deletes(&self) -> Deletes {
        if self.delete { Deletes::Mirror(self.max_delete) } else { Deletes::Keep }
    }
}
