//! One rule of the allow-list as it is written in the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::Network;

/// Hosts that tunnels may reach: a built-in set for one kind of agent, or hosts of one's own, or both.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// A name for logs, metrics and `allow` of a group.
    pub name: String,
    /// The hosts that one kind of agent needs. Default: none, only `hosts`.
    pub rule_set: Option<RuleSet>,
    /// The cloud of `rule_set`. Default `"public"`.
    pub cloud: Cloud,
    /// Azure regions of `rule_set`, such as `"westeurope"`. Default: any region, by wildcard.
    pub regions: Vec<String>,
    /// Workspace ids of `rule_set`. Default: any workspace, by wildcard.
    pub workspaces: Vec<String>,
    /// Data collection endpoints or Arc gateways of `rule_set`: their names or whole host names. Default: any, by wildcard.
    pub endpoints: Vec<String>,
    /// Hosts: `"host.example.com"`, `"*.example.com"` (any name below, at any depth), `"azgn*.example.com"` (within the
    /// leftmost label), an IP address in its usual form, each optionally with a port of its own as in `"host:8443"`.
    pub hosts: Vec<String>,
    /// Ports of `hosts` without one of their own. Default 443.
    pub ports: Vec<u16>,
    /// Networks outside the public internet that these hosts' addresses may lie in, such as `"10.20.0.0/16"` for
    /// private endpoints. Default: none; loopback, private, link-local and other special addresses are refused.
    pub addresses: Vec<Network>,
    /// How these hosts are reached: the name of a table in `upstream_proxies`, or `"direct"`. Default: `tunnel.via`.
    pub via: Option<String>,
    /// These hosts may also be asked in plain HTTP on port 80, on listeners with `plain_http`. Default false.
    pub plain_http: bool,
    /// Whether the client must speak TLS inside the tunnel. Default true.
    pub require_tls: Option<bool>,
    /// The lowest TLS version that a client must be able to speak. Default `"1.2"`.
    pub tls_version_min: TlsVersion,
    /// What happens to a ClientHello that names no server. Default `"refuse"`.
    pub missing_server_name: MissingName,
    /// What happens to an encrypted ClientHello (ECH), whose true server name nobody can check. Default `"refuse"`.
    pub encrypted_hello: EncryptedHello,
    /// Subjects of client certificates that may pass inside the tunnel, each a common name or a whole subject. A client
    /// without a certificate passes. It can be seen only up to TLS 1.2: TLS 1.3 hides it. Default: not looked at.
    pub client_subjects: Vec<String>,
    /// With `client_subjects`: what happens when client and destination agree on TLS 1.3, which hides the certificate.
    /// Default false: it passes unseen, as with the OMS gateway.
    pub refuse_hidden_subjects: bool,
}

/// The hosts that one kind of agent needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RuleSet {
    /// The Azure Monitor Agent.
    Ama,
    /// The Azure Connected Machine (Arc) agent.
    Arc,
    /// The Arc agent through an Arc gateway.
    ArcGateway,
    /// The legacy Microsoft Monitoring Agent and OMS agent.
    Mma,
}

/// An Azure cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cloud {
    /// Azure public.
    #[default]
    Public,
    /// Azure US Government.
    UsGov,
    /// Azure operated by 21Vianet.
    China,
}

/// A TLS version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, Serialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.0, for hosts that cannot be changed.
    #[serde(rename = "1.0")]
    V10,
    /// TLS 1.1.
    #[serde(rename = "1.1")]
    V11,
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V13,
}

/// What happens to a ClientHello without a server name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MissingName {
    /// The tunnel is closed.
    #[default]
    Refuse,
    /// It passes: for old clients, and for destinations that are IP addresses, which have no name to send.
    Allow,
}

/// What happens to an encrypted ClientHello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EncryptedHello {
    /// The tunnel is closed. Agents do not send it; browsers send something that looks the same.
    #[default]
    Refuse,
    /// It passes when its outer, readable name is the right one.
    AllowOuter,
}
