//! The configuration of an HTTP output.

use std::collections::BTreeMap;
use std::path::PathBuf;

use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::net::http_proxy;
use crate::outputs::body::{Compression, Shape};
use crate::outputs::config::{Endpoint, Problems};
use crate::values::{ByteSize, FileToRead, Secret, Span};

/// Headers that belong to the client.
const RESERVED: [HeaderName; 5] = [CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, TRANSFER_ENCODING];

/// Any collector that takes events by HTTP POST.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The output's name, in metrics and logs. Letters, digits, `-` and `_`. Required. A new name starts a new read
    /// position: it gets the events that are spooled from then on.
    pub name: String,
    /// The collectors; the path of each URL is where events are posted. Required.
    pub endpoints: Vec<Endpoint>,
    /// Headers to send with each request, such as `Authorization`. Default: none.
    pub headers: BTreeMap<String, Secret>,
    /// How events stand in a request: `json_array` or `ndjson` (one event a line). Default json_array.
    pub format: Shape,
    /// Longest wait for an answer, connecting included. Default 30 s; running out of time after the request was sent
    /// is an ambiguous answer.
    pub timeout: Span,
    /// PEM file of the certificate authorities to trust, instead of the system's. Default: the system's.
    #[schemars(with = "Option<FileToRead>")]
    pub ca_file: Option<PathBuf>,
    /// An HTTP proxy for endpoints, and for their probes. Default: none.
    pub proxy: Option<http_proxy::Config>,
    /// Most bytes of a request before compression. Default 1 MB, the common limit of web servers.
    pub max_batch: ByteSize,
    /// Most events of a request. Default 10000: tiny events then cost a bounded amount of work to split.
    pub max_batch_events: usize,
    /// `gzip`, `zstd` or `none`. Default gzip: more collectors know it.
    pub compression: Compression,
    /// From 1 (fast) to 12 for gzip or 19 for zstd (small). Default 1: gzip at level 6 costs two and a half
    /// times the work for bodies a fifth smaller.
    pub compression_level: u8,
    /// How to see whether a collector is there without sending events. Default `tcp`: works with any collector.
    pub probe: Probe,
    /// The path that `probe = "get"` asks for, instead of the URL's own; it must answer 2xx. Default `/`.
    pub probe_path: String,
}

/// How to see whether a collector is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// Open a TCP connection and close it; behind `proxy` a tunnel (CONNECT).
    #[default]
    Tcp,
    /// GET `probe_path`, with the configured headers.
    Get,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: String::new(),
            endpoints: Vec::new(),
            headers: BTreeMap::new(),
            format: Shape::JsonArray,
            timeout: Span::secs(30),
            ca_file: None,
            proxy: None,
            max_batch: ByteSize::bytes(1_000_000),
            max_batch_events: 10_000,
            compression: Compression::Gzip,
            compression_level: 1,
            probe: Probe::Tcp,
            probe_path: "/".to_owned(),
        }
    }
}

impl Config {
    pub(in crate::outputs) fn find_problems(&self, problems: &mut Problems) {
        problems.check_endpoints(&self.endpoints);
        for (name, value) in &self.headers {
            let key = format!("headers.{name}");
            let parsed = name.parse::<HeaderName>();
            problems.check(&key, parsed.is_ok(), || "is not the name of a header".to_owned());
            problems.check(&key, !parsed.is_ok_and(|name| RESERVED.contains(&name)), || {
                "is set by Gatepost; leave it out".to_owned()
            });
            problems.check(&key, HeaderValue::from_str(value.reveal()).is_ok(), || {
                "has a value with characters that a header cannot hold".to_owned()
            });
        }
        problems.check_proxy(self.proxy.as_ref());
        problems.check_batch(self.max_batch.as_usize(), self.max_batch_events);
        problems.check_level(self.compression, self.compression_level);
        let path_fits = self.probe_path.starts_with('/') && self.probe_path.parse::<http::Uri>().is_ok();
        problems
            .check("probe_path", path_fits, || format!("{:?} must be a path, such as \"/health\"", self.probe_path));
    }
}
