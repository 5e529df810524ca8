//! How buckets are listed.

use clap::Args as ClapArgs;
use ferry_transfer::listing::ListingRules;

/// How buckets are listed.
#[derive(Debug, Clone, ClapArgs)]
pub struct ListingArgs {
    /// Ranges of keys listed at once on each side; 1 lists in key order
    #[arg(long, value_name = "N", default_value_t = ListingRules::default().listers, value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Listing")]
    pub listers: u16,
}

impl ListingArgs {
    /// The same as a task says it.
    pub fn rules(&self) -> ListingRules {
        ListingRules { listers: self.listers }
    }
}
