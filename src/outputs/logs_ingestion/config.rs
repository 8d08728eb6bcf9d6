//! The configuration of a workspace output.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::outputs::body::Compression;
use crate::outputs::config::{Endpoint, Problems, is_plain};
use crate::values::{ByteSize, Secret, Span};

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
    /// A bearer token for `Authorization`. Default: none is sent.
    pub token: Option<Secret>,
    /// Longest wait for an answer, connecting included. Default 30 s: Azure answers within a few seconds, and the time
    /// out of a request that was sent is an ambiguous answer.
    pub timeout: Span,
    /// PEM file of the certificate authorities to trust, instead of the system's. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// Most bytes of a request before compression. Default 1 MB (1,000,000 bytes), as the Azure libraries do: the
    /// documented limit holds before and after compression.
    pub max_batch: ByteSize,
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
            token: None,
            timeout: Span::secs(30),
            ca_file: None,
            max_batch: ByteSize::bytes(1_000_000),
            max_batch_events: 10_000,
            compression: Compression::Gzip,
            compression_level: 1,
        }
    }
}

impl Config {
    pub(in crate::outputs) fn find_problems(&self, problems: &mut Problems) {
        problems.check_endpoints(&self.endpoints);
        problems.check_batch(self.max_batch.as_usize(), self.max_batch_events);
        problems.check("dcr", is_plain(&self.dcr), || {
            format!("{:?} must be the immutable id of the rule, such as \"dcr-\" and 32 hexadecimal digits", self.dcr)
        });
        problems.check("stream", is_plain(&self.stream), || {
            format!("{:?} must be a stream of the rule, such as \"Custom-SecurityEvent\"", self.stream)
        });
        let token_fits = self.token.as_ref().is_none_or(|token| {
            !token.reveal().is_empty() && token.reveal().bytes().all(|byte| byte.is_ascii_graphic())
        });
        problems.check("token", token_fits, || "must be visible ASCII without spaces or line breaks".to_owned());
        problems.check("compression", self.compression != Compression::Zstd, || {
            "the Logs Ingestion API takes gzip or none".to_owned()
        });
        problems.check_level(self.compression, self.compression_level);
    }
}
