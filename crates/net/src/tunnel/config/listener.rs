//! One address where agents connect.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::net::tls_server;
use crate::values::Network;

/// One listener for tunnels.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Listener {
    /// The name of the listener in logs, metrics and the status page. Default `"tunnel"`.
    pub name: String,
    /// The address and port to listen on. Default `127.0.0.1:8080`: a first start is reachable from this host only.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// The groups whose clients are let in here. Default: every group.
    pub groups: Vec<String>,
    /// TLS between client and proxy. Without this table there is none: agents speak plain HTTP to a proxy, and TLS to
    /// the destination inside the tunnel. With it, clients need an `https://` proxy address. `allow_plain_http` is for
    /// uploads and means nothing here.
    pub tls: tls_server::Config,
    /// How clients are asked for a password. Default `"basic"`, where a group asks for users.
    pub authentication: Authentication,
    /// Load balancers that put a PROXY protocol header (version 1 or 2) before each connection. From their addresses
    /// the header is demanded and believed; from others it is an error. Default: none.
    pub proxy_protocol_from: Vec<Network>,
    /// Serves `GET` and `HEAD` of absolute `http://` URLs too, without a body, for hosts of rules with `plain_http`:
    /// what Arc needs for certificates and revocation lists on port 80. Default false.
    pub plain_http: bool,
    /// What the Host header of a request must be. Default `"same"`.
    pub host_header: HostHeader,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            name: "tunnel".to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            groups: Vec::new(),
            tls: tls_server::Config { mode: tls_server::Mode::Off, ..tls_server::Config::default() },
            authentication: Authentication::Basic,
            proxy_protocol_from: Vec::new(),
            plain_http: false,
            host_header: HostHeader::Same,
        }
    }
}

/// How clients of a listener are asked for a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Authentication {
    /// With HTTP Basic, by a 407 answer, where a group asks for users.
    #[default]
    Basic,
    /// Not at all: credentials are ignored, and groups that ask for users do not count here.
    Off,
}

/// What the Host header of a CONNECT request must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HostHeader {
    /// The target of the request, with or without its port. The whole header may be missing only with HTTP/1.0.
    #[default]
    Same,
    /// Anything, or missing.
    Ignored,
}
