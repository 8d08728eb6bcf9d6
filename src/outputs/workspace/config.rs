//! The configuration of a workspace output.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::columns::Table;
use crate::net::http_proxy;
use crate::outputs::body::Compression;
use crate::outputs::config::{Endpoint, Problems, is_plain};
use crate::outputs::identity::{self, Cloud};
use crate::values::{ByteSize, FileToRead, Span};

/// Azure is reported to drop larger requests after it has taken them.
const PLAIN_MAX: ByteSize = ByteSize::mib(50);

/// What the limit of a request counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Bytes before compression.
    #[default]
    Plain,
    /// Bytes on the wire.
    Compressed,
}

/// A Log Analytics or Sentinel workspace, reached through the Logs Ingestion API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The output's name, in metrics and logs. Letters, digits, `-` and `_`. Required. A new name starts a new read
    /// position: it gets the events that are spooled from then on.
    pub name: String,
    /// The data collection endpoints (or further gateways). Required.
    pub endpoints: Vec<Endpoint>,
    /// The immutable id of the data collection rule: `dcr-` and 32 hexadecimal digits. Required.
    pub dcr: String,
    /// The stream of the rule, such as `Custom-SecurityEvent` or `Microsoft-WindowsEvent`. Required.
    pub stream: String,
    /// Which Azure: `public`, `us_gov` or `china`. Default public.
    pub cloud: Cloud,
    /// Who Gatepost is at Entra ID. It needs the role Monitoring Metrics Publisher on the rule. Default: nobody, no token is
    /// sent.
    pub identity: identity::Identity,
    /// The table that Windows events become rows of: `"WindowsEvent"`, `"SecurityEvent"` or `"Event"`. Events in JSON that
    /// have the table's shape already go out as they came. JSON that is no Windows event and tells what the table has no column
    /// for goes whole into its column `RawEventData` or `EventData`. Default: rows of any of these tables, and what is no Windows
    /// event, go out as they came; all other events become rows of WindowsEvent.
    pub table: Option<Table>,
    /// The column for an event's own time where Azure may not keep it: Azure puts the time of arrival in the place of a
    /// `TimeGenerated` that is more than two days back or one day ahead. Written for events older than a day, because a batch may
    /// have to wait, and for those dated more than 23 hours ahead, because clocks differ. The rule's stream must declare it (`gatepost azure template` does). Default `TimeCreated_CF`; empty for none.
    pub original_time_column: String,
    /// The column for the event's key, equal for all copies of an event, so that a query can prove that there are no
    /// duplicates: `summarize count() by EventKey_CF`. Default: empty, none.
    pub event_key_column: String,
    /// The column for who uploaded an event, where the listener's `identity` policy keeps that. Default `UploadedBy_CF`;
    /// empty for none.
    pub client_column: String,
    /// Longest wait for an answer, connecting included. Default 30 s: Azure answers within a few seconds, and the time
    /// out of a request that was sent is an ambiguous answer.
    pub timeout: Span,
    /// PEM file of the certificate authorities to trust, instead of the system's. Default: the system's.
    #[schemars(with = "Option<FileToRead>")]
    pub ca_file: Option<PathBuf>,
    /// An HTTP proxy for endpoints and Entra ID. Default: none. Metadata services of this machine are never asked through it.
    pub proxy: Option<http_proxy::Config>,
    /// What the limit of 1 MB for a request counts: `plain`, the bytes before compression, as the Azure libraries and Azure's
    /// documents have it; or `compressed`, the bytes on the wire, which is what the service is reported to count: up to
    /// twenty times fewer requests. Default plain.
    pub target: Target,
    /// Most bytes of a request before compression. Default 1 MB (1,000,000 bytes) with `target = "plain"`, 20 MiB with
    /// `target = "compressed"`. At most 50 MiB: Azure drops larger ones after it took them.
    pub max_batch: Option<ByteSize>,
    /// Most events of a request. Default 10000: tiny events then cost a bounded amount of work to split.
    pub max_batch_events: usize,
    /// `gzip`, or `none`. Default gzip.
    pub compression: Compression,
    /// From 1 (fast) to 12 (small). Default 1: gzip at level 6 costs two and a half
    /// times the work for bodies a fifth smaller.
    pub compression_level: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: String::new(),
            endpoints: Vec::new(),
            dcr: String::new(),
            stream: String::new(),
            cloud: Cloud::Public,
            identity: identity::Identity::None,
            table: None,
            original_time_column: "TimeCreated_CF".to_owned(),
            event_key_column: String::new(),
            client_column: "UploadedBy_CF".to_owned(),
            proxy: None,
            target: Target::Plain,
            timeout: Span::secs(30),
            ca_file: None,
            max_batch: None,
            max_batch_events: 10_000,
            compression: Compression::Gzip,
            compression_level: 1,
        }
    }
}

impl Config {
    pub(in crate::outputs) fn find_problems(&self, problems: &mut Problems) {
        problems.check_endpoints(&self.endpoints);
        problems.check_batch(self.max_batch().as_usize(), self.max_batch_events);
        problems.check("max_batch", self.max_batch() <= PLAIN_MAX, || {
            "must be at most 50 MiB: Azure drops larger requests after it took them".to_owned()
        });
        problems.check("dcr", is_plain(&self.dcr), || {
            format!("{:?} must be the immutable id of the rule, such as \"dcr-\" and 32 hexadecimal digits", self.dcr)
        });
        problems.check("stream", is_plain(&self.stream), || {
            format!("{:?} must be a stream of the rule, such as \"Custom-SecurityEvent\"", self.stream)
        });
        self.identity.find_problems(problems);
        self.check_cloud(problems);
        problems.check("identity", !self.is_azure() || self.identity != identity::Identity::None, || {
            "is needed: Azure takes nothing without a token".to_owned()
        });
        for (key, column) in self.extra_columns() {
            problems.check(key, column.is_empty() || is_column(column), || {
                format!("{column:?} must be a column: a letter, then at most 44 letters, digits and '_'")
            });
        }
        problems.check_proxy(self.proxy.as_ref());
        problems.check("compression", self.compression != Compression::Zstd, || {
            "the Logs Ingestion API takes gzip or none".to_owned()
        });
        problems.check_level(self.compression, self.compression_level);
    }

    /// Most bytes of a request before compression.
    pub(super) fn max_batch(&self) -> ByteSize {
        self.max_batch.unwrap_or(match self.target {
            Target::Plain => ByteSize::bytes(1_000_000),
            Target::Compressed => ByteSize::mib(20),
        })
    }

    /// Whether any endpoint is one of Azure's, by its name.
    pub(super) fn is_azure(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.host().ends_with(self.cloud.ingestion_suffix()))
    }

    /// Whether all of them are.
    pub(super) fn is_only_azure(&self) -> bool {
        self.endpoints.iter().all(|endpoint| endpoint.host().ends_with(self.cloud.ingestion_suffix()))
    }

    fn extra_columns(&self) -> [(&'static str, &str); 3] {
        [
            ("original_time_column", &self.original_time_column),
            ("event_key_column", &self.event_key_column),
            ("client_column", &self.client_column),
        ]
    }

    /// An endpoint of another cloud than the one whose tokens it would get.
    fn check_cloud(&self, problems: &mut Problems) {
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            let host = endpoint.host();
            let others = [Cloud::Public, Cloud::UsGov, Cloud::China].into_iter().filter(|cloud| *cloud != self.cloud);
            let other = others.into_iter().find(|cloud| host.ends_with(cloud.ingestion_suffix()));
            problems.check(&format!("endpoints[{at}].url"), other.is_none(), || {
                format!("{host:?} belongs to another cloud than `cloud` says; its tokens would not be taken there")
            });
        }
    }
}

/// Whether Azure takes a text as the name of a column.
fn is_column(name: &str) -> bool {
    name.len() <= 45
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
