//! The configuration of an output, and what outputs have in common in theirs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ::http::Uri;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::Compression;
use super::output::EndpointSpec;
use super::{file, http, workspace};
use crate::net::http_proxy;
use crate::net::tls_client::Trust;
use crate::net::url::askable;

/// A configuration key (`endpoints[1].url`) and what is wrong with its value, with what would be right.
pub type Problem = (String, String);

/// One output. `kind` says which protocol it speaks, and so which keys it has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Config {
    /// A Log Analytics or Sentinel workspace, through the Logs Ingestion API.
    Workspace(Box<workspace::Config>),
    /// Any collector that takes events by HTTP POST.
    Http(http::Config),
    /// Files of NDJSON in a directory.
    File(file::Config),
}

impl Default for Config {
    /// Files in the state directory: useful with no cloud at all.
    fn default() -> Self {
        Self::File(file::Config { name: "files".to_owned(), ..file::Config::default() })
    }
}

impl Config {
    /// The output's name: in metrics, logs, and the name of its read position in the spool.
    pub fn name(&self) -> &str {
        match self {
            Self::Workspace(config) => &config.name,
            Self::Http(config) => &config.name,
            Self::File(config) => &config.name,
        }
    }

    /// Everything that is wrong with it, in the order of the keys; nothing when it can be built.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        problems.check("name", is_plain(self.name()), || "must be letters, digits, '-' and '_' (1 to 64)".to_owned());
        match self {
            Self::Workspace(config) => config.find_problems(&mut problems),
            Self::Http(config) => config.find_problems(&mut problems),
            Self::File(config) => config.find_problems(&mut problems),
        }
        problems.found
    }
}

/// One address of an output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoint {
    /// Where it is: `https://host`, or `http://host`, with a port and a path if need be. No query, no user name.
    pub url: String,
    /// A short name for metrics and logs, unique within the output. Default: host and port of the URL.
    pub name: String,
    /// Its share of the traffic against the other endpoints of the same priority; above 0. Default 1: all alike.
    pub weight: f64,
    /// Endpoints with a higher number are used only when none with a lower one is available. Default 0: all alike.
    pub priority: u32,
    /// Most events in any second; an eighth more may come together. Endpoints of one scheme, host and port share it, over all
    /// outputs: the lowest counts. Not set by default; 8500 is good for a legacy collector, which drops events above 10,000.
    pub events_per_second: Option<u32>,
    /// Most requests in flight at once. Default 4: the Azure libraries send up to 5 to one rule.
    pub max_in_flight: usize,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            url: String::new(),
            name: String::new(),
            weight: 1.0,
            priority: 0,
            events_per_second: None,
            max_in_flight: 4,
        }
    }
}

impl Endpoint {
    fn uri(&self) -> Option<Uri> {
        askable(&self.url).filter(|uri| uri.query().is_none())
    }

    /// Its host in lower case; empty when the URL has none.
    pub(super) fn host(&self) -> String {
        self.uri().and_then(|uri| uri.host().map(str::to_ascii_lowercase)).unwrap_or_default()
    }

    /// Scheme, host and port, always written in the same way.
    fn address(&self) -> String {
        let Some(uri) = self.uri() else { return String::new() };
        let scheme = uri.scheme_str().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        format!("{scheme}://{}:{port}", self.host())
    }

    fn shown_name(&self) -> String {
        let authority = || self.uri().and_then(|uri| uri.authority().map(ToString::to_string));
        if self.name.is_empty() { authority().unwrap_or_default() } else { self.name.clone() }
    }
}

/// The endpoints as the balancer wants them.
pub(super) fn specs(endpoints: &[Endpoint]) -> Vec<EndpointSpec> {
    let spec = |endpoint: &Endpoint| EndpointSpec {
        name: endpoint.shown_name(),
        weight: endpoint.weight,
        address: endpoint.address(),
        priority: endpoint.priority,
        events_per_second: endpoint.events_per_second,
        max_in_flight: endpoint.max_in_flight,
    };
    endpoints.iter().map(spec).collect()
}

/// Each endpoint's URL with `path` (`/…`, or empty) behind its own.
pub(super) fn urls(endpoints: &[Endpoint], path: &str) -> Vec<Uri> {
    let join = |endpoint: &Endpoint| {
        let base = if path.is_empty() { &endpoint.url } else { endpoint.url.trim_end_matches('/') };
        format!("{base}{path}").parse().expect("problems() parsed the URL, and the path has only URL characters")
    };
    endpoints.iter().map(join).collect()
}

/// Each endpoint's host and port with `path` (`/…`) instead of its own.
pub(super) fn origin_urls(endpoints: &[Endpoint], path: &str) -> Vec<Uri> {
    let replace = |url: Uri| {
        let mut parts = url.into_parts();
        parts.path_and_query = Some(path.parse().expect("problems() parsed the path"));
        Uri::from_parts(parts).expect("scheme, authority and path are there")
    };
    urls(endpoints, "").into_iter().map(replace).collect()
}

/// Whom to believe: the configured file, else the system when any endpoint needs TLS.
pub(super) fn trust(endpoints: &[Endpoint], ca_file: Option<&PathBuf>) -> Trust {
    match ca_file {
        Some(path) => Trust::File(path.clone()),
        None if endpoints.iter().any(|endpoint| endpoint.url.starts_with("https:")) => Trust::System,
        None => Trust::Nobody,
    }
}

/// Collects what is wrong.
#[derive(Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
}

impl Problems {
    /// Notes a problem with `key` unless `good`.
    pub(super) fn check(&mut self, key: &str, good: bool, message: impl FnOnce() -> String) {
        if !good {
            self.found.push((key.to_owned(), message()));
        }
    }

    /// What must hold for the endpoints of any output.
    pub(super) fn check_endpoints(&mut self, endpoints: &[Endpoint]) {
        self.check("endpoints", !endpoints.is_empty(), || "must hold at least one endpoint".to_owned());
        let mut names = BTreeSet::new();
        for (at, endpoint) in endpoints.iter().enumerate() {
            let key = |field: &str| format!("endpoints[{at}].{field}");
            self.check(&key("url"), endpoint.uri().is_some(), || {
                let hint = if endpoint.url.is_empty() || endpoint.url.contains("://") {
                    String::new()
                } else {
                    format!("; write \"https://{}\"", endpoint.url)
                };
                format!("{:?} must be an http or https URL without query and user name{hint}", endpoint.url)
            });
            let name = endpoint.shown_name();
            self.check(&key("name"), name.is_empty() || names.insert(name.clone()), || {
                format!("{name:?} is taken; names must be unique")
            });
            self.check(&key("weight"), endpoint.weight.is_finite() && endpoint.weight > 0.0, || {
                format!("{} must be above 0", endpoint.weight)
            });
            self.check(&key("events_per_second"), endpoint.events_per_second != Some(0), || {
                "must be above 0; leave it out for no cap".to_owned()
            });
            self.check(&key("max_in_flight"), endpoint.max_in_flight > 0, || "must be above 0".to_owned());
        }
    }

    /// What must hold for the way to the endpoints.
    pub(super) fn check_proxy(&mut self, proxy: Option<&http_proxy::Config>) {
        for (key, message) in proxy.into_iter().flat_map(http_proxy::Config::problems) {
            self.check(&format!("proxy.{key}"), false, || message);
        }
    }

    /// What must hold for the level of a compression.
    pub(super) fn check_level(&mut self, compression: Compression, level: u8) {
        let highest = compression.level_max();
        self.check("compression_level", (1..=highest).contains(&level), || {
            format!("{level} must be between 1 and {highest}")
        });
    }

    /// What must hold for the limits of a batch.
    pub(super) fn check_batch(&mut self, max_bytes: usize, max_events: usize) {
        self.check("max_batch", (1 << 10..=64 << 20).contains(&max_bytes), || {
            format!("{max_bytes} bytes must be between 1 KiB and 64 MiB")
        });
        self.check("max_batch_events", max_events > 0, || "must be above 0".to_owned());
    }
}

/// Whether a text can stand in a file name, a URL path and a label as it is.
pub(super) fn is_plain(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, toml::de::Error> {
        toml::from_str(text)
    }

    const WORKSPACE: &str = r#"
        name = "sentinel"
        kind = "workspace"
        dcr = "dcr-00000000000000000000000000000000"
        stream = "Custom-SecurityEvent"
        identity = { kind = "token", token = "canary" }
        max_batch = "1 MB"
        endpoints = [{ url = "https://a.example", weight = 1, events_per_second = 8500 }, { url = "https://b.example" }]
    "#;

    #[test]
    fn each_kind_reads_its_own_keys_and_no_others() {
        let config = read(WORKSPACE).unwrap();
        assert_eq!(config.name(), "sentinel");
        assert_eq!(config.problems(), []);
        assert!(!format!("{config:?}").contains("canary"));
        let error = read(&format!("{WORKSPACE}\n directory = \"x\"")).unwrap_err().to_string();
        assert!(error.contains("directory"), "{error}");
        let error = read("name = \"x\"\nkind = \"carrier_pigeon\"").unwrap_err().to_string();
        assert!(error.contains("workspace") && error.contains("file"), "{error}");
        assert_eq!(read("name = \"local\"\nkind = \"file\"").unwrap().problems(), []);
    }

    #[test]
    fn one_collector_has_one_address_however_it_is_written() {
        let address = |url: &str| Endpoint { url: url.to_owned(), ..Endpoint::default() }.address();
        for url in ["https://Siem.example", "https://siem.example:443/a", "https://siem.example/b"] {
            assert_eq!(address(url), "https://siem.example:443", "{url}");
        }
        assert_eq!(address("http://siem.example/a"), "http://siem.example:80");
        assert_eq!(address("http://[::1]:8080"), "http://[::1]:8080");
    }

    #[test]
    fn what_was_written_reads_back() {
        let config = Config::File(file::Config { name: "local".to_owned(), ..file::Config::default() });
        let text = toml::to_string(&config).unwrap();
        assert_eq!(read(&text).unwrap(), config, "{text}");
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let config = read(
            r#"
            name = "two words"
            kind = "workspace"
            stream = "a/b"
            max_batch = "1 B"
            compression_level = 13
            endpoints = [
                { url = "ftp://a.example", weight = 0 },
                { url = "https://user:pass@b.example", max_in_flight = 0 },
                { url = "https://c.example", name = "c" },
                { url = "https://d.example:99999" },
                { url = "https://c.example/?q", name = "c", events_per_second = 0 },
            ]"#,
        )
        .unwrap();
        let keys: Vec<String> = config.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            [
                "name",
                "endpoints[0].url",
                "endpoints[0].weight",
                "endpoints[1].url",
                "endpoints[1].max_in_flight",
                "endpoints[3].url",
                "endpoints[4].url",
                "endpoints[4].name",
                "endpoints[4].events_per_second",
                "max_batch",
                "dcr",
                "stream",
                "compression_level",
            ]
        );
        let http = read("name = \"h\"\nkind = \"http\"").unwrap().problems();
        assert_eq!(http[0].0, "endpoints");
    }
}
