//! What an operator can set about deduplication.

use aws_lc_rs::digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::redis;
use crate::faults::Fault;
use crate::memory::Shares;
use crate::values::{ByteSize, Secret, Span};

/// Who remembers which events were seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// This gateway alone.
    #[default]
    Memory,
    /// All gateways of an installation together, in Redis or Valkey.
    Redis,
    /// All gateways of an installation together, at the servers of NATS that replicate their logs.
    Jetstream,
}

/// Which events were seen, at the servers of replication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Jetstream {
    /// Most bytes that the servers keep of it, and about as much memory at each gateway. Events with record ids in runs take 1 to 3
    /// bytes each where uploads are large, and some 100 where each upload has one; events without a record id 17 at the servers and
    /// 128 in memory. At the bound, there or here, the oldest are forgotten first, and `/readyz` warns. Where gateways say otherwise the
    /// servers keep the most; their stream grows by itself and never shrinks. From `"1 MiB"`, default `"128 MiB"`.
    pub max_size: ByteSize,
}

impl Default for Jetstream {
    fn default() -> Self {
        Self { max_size: ByteSize::mib(128) }
    }
}

impl Jetstream {
    fn faults(&self) -> Option<Fault> {
        let bytes = self.max_size.as_u64();
        let is_wrong = bytes < 1 << 20 || i64::try_from(bytes).is_err();
        is_wrong
            .then(|| Fault::stops("jetstream.max_size", format!("{} is less than 1 MiB, or too much", self.max_size)))
    }
}

/// Which events count as seen before, and how much may be remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether events that were seen before are dropped. Default `true`. With `false` nothing is remembered and every
    /// repeated upload of an event is forwarded again: duplicates reach the workspace.
    pub enabled: bool,
    /// Who remembers: `memory` is this gateway alone, `redis` all gateways that name the same Redis or Valkey in
    /// `dedup.redis`, `jetstream` all that replicate to the same servers (`replication`): an event that reaches two of them is
    /// forwarded once. Default `memory`.
    pub kind: Kind,
    /// With `redis` and `jetstream`: what event keys are made with, at least 32 characters, the same at every gateway of the installation.
    /// Gateways whose secrets differ are found out and take no uploads. Default: none; `memory` has one of its own. Another
    /// secret makes every event new once more. With `redis`, and with `replication.share_state`, it also seals the documents that
    /// gateways share.
    pub secret: Option<Secret>,
    /// With `redis`: where it is and how it is used.
    pub redis: redis::Config,
    /// With `jetstream`: how much is kept.
    pub jetstream: Jetstream,
    /// For how long an event is remembered after it was stored. Default `"24 h"`: agents that were cut off for a day
    /// repeat what they sent before. A longer window takes more memory and disk.
    pub window: Span,
    /// How many events are remembered at most. Default `50000000`, a day of about 580 events a second. At the bound
    /// the oldest are forgotten first, in whole slices of time, and counted in `gatepost_dedup_evicted_total`.
    pub max_keys: u64,
    /// How much memory the remembered events take at most. Default an eighth of what this process may use, at most
    /// `"64 MiB"`, which is for 24 to 60 million events: events with record ids in runs take
    /// 1 to 3 bytes each, events without a record id about 20. At the bound the oldest are forgotten first, as above.
    pub max_memory: Option<ByteSize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            kind: Kind::default(),
            secret: None,
            redis: redis::Config::default(),
            jetstream: Jetstream::default(),
            window: Span::secs(24 * 3600),
            max_keys: 50_000_000,
            max_memory: None,
        }
    }
}

impl Config {
    /// The most bytes of memory, where there is so much.
    pub fn max_memory(&self, shares: &Shares) -> u64 {
        self.max_memory.map_or_else(|| shares.keys(), |bytes| bytes.as_u64())
    }

    /// Whether what is remembered is shared with other gateways.
    pub fn is_shared(&self) -> bool {
        self.enabled && self.kind != Kind::Memory
    }

    /// Whether it is shared in Redis or Valkey.
    pub fn is_in_redis(&self) -> bool {
        self.enabled && self.kind == Kind::Redis
    }

    /// What keeps shared deduplication from starting.
    pub fn faults(&self) -> Vec<Fault> {
        if !self.is_shared() {
            return Vec::new();
        }
        let mut faults =
            if self.is_in_redis() { self.redis.faults() } else { self.jetstream.faults().into_iter().collect() };
        faults.extend(self.secret_fault(if self.is_in_redis() { "kind = \"redis\"" } else { "kind = \"jetstream\"" }));
        faults
    }

    /// What gateways compare to know whether their secrets are the same, without telling them.
    pub(crate) fn check_value(&self) -> String {
        let secret = self.secret.as_ref().map(|secret| secret.reveal().trim()).unwrap_or_default();
        let told = digest::digest(&digest::SHA256, format!("gatepost dedup check\n{secret}").as_bytes());
        hex::encode(told)
    }

    /// What is wrong with the secret of the installation, where this setting needs one.
    pub fn secret_fault(&self, needed_by: &str) -> Option<Fault> {
        let why = match &self.secret {
            None => format!(
                "is missing; with {needed_by} it must be at least 32 characters, the same at every gateway: write \
                 \"${{file:/path}}\" and make the file with `openssl rand -hex 32`"
            ),
            Some(secret) if secret.reveal().trim().len() < SECRET_MIN => {
                "is too short; it must have at least 32 characters".to_owned()
            }
            Some(_) => return None,
        };
        Some(Fault::stops("secret", why))
    }
}

/// Fewer characters can be guessed.
const SECRET_MIN: usize = 32;
