//! The next proxies on the way out.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::balancer;
use crate::values::{FileToRead, Secret};

/// One choice for `via`: proxies of which each tunnel takes one, balanced by how they answer.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamProxies {
    /// A name for `via`, logs and metrics.
    pub name: String,
    /// The proxies.
    pub proxies: Vec<Proxy>,
    /// PEM file with the authorities that have signed the certificates of `https` proxies. Default: the system's.
    #[serde(default)]
    #[schemars(with = "Option<FileToRead>")]
    pub ca_file: Option<PathBuf>,
    /// When a proxy is left alone, and for how long.
    #[serde(default)]
    pub balancer: balancer::Config,
}

/// One upstream proxy.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// `"http://proxy.example.com:3128"`, or `https` for TLS to the proxy.
    pub url: String,
    /// The user name for HTTP Basic. Default: none.
    #[serde(default)]
    pub user: Option<String>,
    /// The password for HTTP Basic.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Relative share of tunnels among proxies of one priority. Default 1.
    #[serde(default = "one")]
    pub weight: f64,
    /// Lower numbers are used first; the next one only while none of these is available. Default 0.
    #[serde(default)]
    pub priority: u32,
}

const fn one() -> f64 {
    1.0
}
