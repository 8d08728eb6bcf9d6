//! What an operator can set about the spool.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::frame::{PLAIN_MAX, SEGMENT_HEADER_LEN};
use crate::values::{ByteSize, Ratio};

/// The durable log between inputs and outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Bytes of one segment file, from `64 KiB` to `1 GiB`. Disk is taken and given back in this unit. The default
    /// keeps both the number of files and the share of a half-used one small.
    pub segment_size: ByteSize,
    /// Most bytes of disk for the spool. Uploads are refused when another segment would exceed it. The default holds
    /// several hours of a few thousand events a second.
    pub max_size: ByteSize,
    /// The share of `max_size` from which readiness falls and uploads are shed, so that a load balancer turns to
    /// another gateway before this one is full.
    pub high_watermark: Ratio,
    /// Most bytes that one write and fsync makes durable. More waits for the next one. The default keeps a commit
    /// within some tens of milliseconds on a slow disk.
    pub commit_max: ByteSize,
    /// Most emptied segment files that are kept for reuse. Writing into a used file is faster than into a new one,
    /// because its blocks exist already.
    pub recycle: usize,
    /// Compression level (Zstandard) of what is stored, from 0 (none) to 19. The default costs little and saves most.
    pub compression_level: i32,
    /// Most bytes of one record before compression, up to `256 MiB`: a bound on the memory that reading takes.
    /// A record must also fit into one segment.
    pub max_record: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            segment_size: ByteSize::mib(64),
            max_size: ByteSize::gib(10),
            high_watermark: Ratio::percent(80),
            commit_max: ByteSize::mib(8),
            recycle: 4,
            compression_level: 1,
            max_record: ByteSize::mib(32),
        }
    }
}

impl Config {
    /// Checks how the values stand to each other. The error names the key and what would be right.
    pub fn check(&self) -> Result<(), String> {
        let (segment, max) = (self.segment_size.as_u64(), self.max_size.as_u64());
        if !(64 << 10..=1 << 30).contains(&segment) || !segment.is_multiple_of(SEGMENT_HEADER_LEN) {
            return Err(format!(
                "segment_size is {}; write a multiple of 4 KiB between 64 KiB and 1 GiB",
                self.segment_size
            ));
        }
        if max < 2 * segment {
            return Err(format!(
                "max_size is {}; it must hold at least two segments of {}",
                self.max_size, self.segment_size
            ));
        }
        if !(0..=19).contains(&self.compression_level) {
            return Err(format!("compression_level is {}; write a number from 0 to 19", self.compression_level));
        }
        if self.max_record.as_u64() == 0 || self.max_record.as_u64() > PLAIN_MAX {
            return Err(format!("max_record is {}; write a size up to 256 MiB", self.max_record));
        }
        Ok(())
    }
}
