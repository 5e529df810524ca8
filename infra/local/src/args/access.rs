//! Flags about how a store is asked.

use clap::Args as ClapArgs;
use ferry_cloud::{CustomerKeyRef, StoreConfig};

use super::RefParser;

/// How both stores are asked; each flag overrides the same field of ferry.yaml.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct AccessArgs {
    /// The key that the source's objects are encrypted with (SSE-C): env:NAME, file:PATH or command:CMD
    #[arg(long, value_name = "REF", value_parser = RefParser::<CustomerKeyRef>::default(), help_heading = "Source store")]
    pub source_customer_key: Option<CustomerKeyRef>,
    /// Pay for requests to the source, as its bucket demands
    #[arg(long, help_heading = "Source store")]
    pub source_requester_pays: bool,
    /// The key to encrypt with at the destination (SSE-C): env:NAME, file:PATH or command:CMD
    #[arg(long, value_name = "REF", value_parser = RefParser::<CustomerKeyRef>::default(), help_heading = "Destination store")]
    pub dest_customer_key: Option<CustomerKeyRef>,
    /// Pay for requests to the destination, as its bucket demands
    #[arg(long, help_heading = "Destination store")]
    pub dest_requester_pays: bool,
}

/// How one store is asked.
#[derive(Debug, Clone, Default)]
pub struct SideAccess {
    customer_key: Option<CustomerKeyRef>,
    requester_pays: bool,
}

impl AccessArgs {
    /// The source's and the destination's.
    pub fn sides(self) -> (SideAccess, SideAccess) {
        let source =
            SideAccess { customer_key: self.source_customer_key, requester_pays: self.source_requester_pays };
        let destination =
            SideAccess { customer_key: self.dest_customer_key, requester_pays: self.dest_requester_pays };
        (source, destination)
    }
}

impl SideAccess {
    /// Laid over a description.
    pub fn over(self, mut config: StoreConfig) -> StoreConfig {
        config.customer_key = self.customer_key.or(config.customer_key);
        config.requester_pays |= self.requester_pays;
        config
    }
}
