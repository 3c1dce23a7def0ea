//! What a resolver may do.

use std::{collections::HashMap, fmt, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use super::address::Place;
use crate::document::Document;

/// Says whether an address may be connected to.
pub type AllowAddress = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// What a resolver may do beyond its defaults, which are those for the open internet.
#[derive(Clone)]
pub struct ResolverConfig {
    /// A PEM file of certificates that are believed as the system's are. Default none.
    pub ca_file: Option<PathBuf>,
    /// Where hosts are, instead of what the name service says. Such a place may be any address.
    /// Default empty.
    pub hosts: HashMap<String, Place>,
    /// Documents that are known and never fetched. Default none.
    pub documents: Vec<Document>,
    /// Says which addresses may be connected to although they are not public; IPv4 addresses mapped
    /// into IPv6 ones come as IPv4. Default none.
    pub also_allow: Option<AllowAddress>,
    /// Ports that a DID may have; one without a port has 443. Default 443 only.
    pub allowed_ports: Vec<u16>,
    /// For everything together, from the look-up to the last byte. Default 5 s.
    pub timeout: Duration,
}

impl Default for ResolverConfig {
    fn default() -> Self {
        Self {
            ca_file: None,
            hosts: HashMap::new(),
            documents: Vec::new(),
            also_allow: None,
            allowed_ports: vec![443],
            timeout: Duration::from_secs(5),
        }
    }
}

impl fmt::Debug for ResolverConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolverConfig")
            .field("ca_file", &self.ca_file)
            .field("hosts", &self.hosts)
            .field("documents", &self.documents)
            .field("allowed_ports", &self.allowed_ports)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
