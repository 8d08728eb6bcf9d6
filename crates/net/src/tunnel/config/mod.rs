//! What an operator may set about tunnels: who may connect where, through whom, and the limits.

mod check;
mod faults;
mod listener;
mod rule;
mod upstream;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use listener::{Authentication, HostHeader, Listener};
pub use rule::{Cloud, EncryptedHello, MissingName, Rule, RuleSet, TlsVersion};
pub use upstream::{Proxy, UpstreamProxies};

pub use check::proxy_url_problem;

use super::access_log;
use crate::net::dns;
use crate::values::{ByteSize, Network, Secret, Span};

/// Tunnels for agents that only know a proxy: an HTTP CONNECT proxy with an allow-list. Without a listener there is none.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where agents connect. One table for each listening address. Default: none, so no tunnels.
    pub listeners: Vec<Listener>,
    /// What tunnels may reach. The first rule that matches host and port decides; what no rule matches is refused.
    pub allow: Vec<Rule>,
    /// Who may use which rules. A client may be in several groups. Default: on a listener with a loopback address every
    /// client may use every rule; elsewhere nobody may.
    pub groups: Vec<Group>,
    /// Who may authenticate with a name and a password.
    pub users: Vec<User>,
    /// The next proxies on the way out. Each table is one choice, with one or more proxies that are balanced.
    pub upstream_proxies: Vec<UpstreamProxies>,
    /// How destinations are reached where their rule says nothing else: the name of a table in `upstream_proxies`, or
    /// `"direct"`. Default `"direct"`.
    pub via: String,
    /// How host names are resolved.
    pub dns: dns::Config,
    /// Sizes, times and numbers.
    pub limits: Limits,
    /// One line for each tunnel.
    pub access_log: access_log::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            allow: Vec::new(),
            groups: Vec::new(),
            users: Vec::new(),
            upstream_proxies: Vec::new(),
            via: Self::DIRECT.to_owned(),
            dns: dns::Config::default(),
            limits: Limits::default(),
            access_log: access_log::Config::default(),
        }
    }
}

impl Config {
    /// The word for "through no upstream proxy" in `via`.
    pub const DIRECT: &str = "direct";

    /// Whether some destination is reached without an upstream proxy, so that names are resolved here.
    pub fn goes_direct(&self) -> bool {
        self.allow.iter().any(|rule| rule.via.as_deref().unwrap_or(&self.via) == Self::DIRECT)
    }
}

/// Clients, and the rules that they may use.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// A name for logs, metrics and `groups` of a listener.
    pub name: String,
    /// Networks that its clients come from. Empty means any network, if `users` or `certificates` ask for more.
    #[serde(default)]
    pub networks: Vec<Network>,
    /// Users, each the name of a table in `users`, one of which must authenticate with its password. Empty asks for
    /// none. Arc agents cannot authenticate: admit them by network.
    #[serde(default)]
    pub users: Vec<String>,
    /// Names of client certificates (common name or DNS name), one of which must be shown to a listener with TLS. Empty
    /// asks for none; `"*"` takes every certificate that the listener's `tls.client_ca` has signed.
    #[serde(default)]
    pub certificates: Vec<String>,
    /// The rules that its clients may use, each the name of a table in `allow`. Default: every rule.
    #[serde(default)]
    pub allow: Vec<String>,
}

/// Somebody who authenticates with HTTP Basic.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The user name.
    pub name: String,
    /// The Argon2id hash of the password, as `gatepost password` prints it. The password itself is stored nowhere.
    pub password_hash: Secret,
}

/// Limits of all tunnels together and of each. At each limit something is refused or closed, with its reason.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Tunnels and connections that want to become one, over all listeners; above it 503. Default 9000. Each takes two
    /// file descriptors, and 512 are kept for everything else: where the system's limit of open files has room for
    /// fewer, that is the limit.
    pub max_tunnels: usize,
    /// The same for one client address (IPv6: one /64); above it 429. Default 1000, which leaves room for a router
    /// that many hosts stand behind.
    pub max_tunnels_per_client: usize,
    /// Bytes a second over all tunnels and both directions. Default: no limit.
    pub bandwidth: Option<ByteSize>,
    /// The same for one client address. Default: no limit.
    pub bandwidth_per_client: Option<ByteSize>,
    /// For the whole head of a request, from the connection on; above it 408. Default 10 s.
    pub head_timeout: Span,
    /// For the connection to the destination, all its addresses and upstream proxies together; above it 504. Default
    /// 10 s.
    pub connect_timeout: Span,
    /// For the client's TLS ClientHello once the tunnel stands. Default 5 s.
    pub hello_timeout: Span,
    /// A tunnel without a byte in either direction for so long is closed. Default 15 min: longer than agents' usual
    /// intervals.
    pub idle_timeout: Span,
    /// The same once one side has closed. Default 60 s.
    pub half_closed_timeout: Span,
    /// A tunnel is closed when a side has taken none of the bytes that wait for it for so long. Default 2 min,
    /// after which Linux gives up on such a side anyway.
    pub stalled_timeout: Span,
    /// The longest life of a tunnel. Default 24 h.
    pub max_lifetime: Span,
    /// How long open tunnels live on when the gateway stops. Default 20 s.
    pub drain_timeout: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_tunnels: 9_000,
            max_tunnels_per_client: 1_000,
            bandwidth: None,
            bandwidth_per_client: None,
            head_timeout: Span::secs(10),
            connect_timeout: Span::secs(10),
            hello_timeout: Span::secs(5),
            idle_timeout: Span::secs(900),
            half_closed_timeout: Span::secs(60),
            stalled_timeout: Span::secs(120),
            max_lifetime: Span::secs(86_400),
            drain_timeout: Span::secs(20),
        }
    }
}
