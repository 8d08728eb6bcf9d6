//! Whether the bounds that the configuration names fit the memory that there is. Those that it leaves open do.

use crate::config::Config;
use crate::memory::{CONNECTION, Shares};
use crate::values::ByteSize;

/// What a person should know before the kernel ends the process; `None` when everything fits.
pub fn warning(config: &Config, shares: &Shares) -> Option<String> {
    let parts = parts(config, shares);
    let sum = parts.iter().map(|(_, bytes)| bytes).sum::<u64>();
    if sum <= shares.limit() {
        return None;
    }
    let size = |bytes: u64| ByteSize::bytes(bytes >> 20 << 20);
    let named: Vec<String> = parts.iter().map(|(name, bytes)| format!("{name} {}", size(*bytes))).collect();
    Some(format!(
        "the configuration may take {} of memory, and this process may use {}: the system may end it under load. Lower what is set, or \
         leave it out to have it follow what there is ({})",
        size(sum),
        size(shares.limit()),
        named.join(", ")
    ))
}

/// What may take memory, and how much.
fn parts(config: &Config, shares: &Shares) -> [(&'static str, u64); 6] {
    let limits = || config.listeners.iter().map(|listener| &listener.limits);
    let own: u64 = limits().filter_map(|limits| limits.memory_max).map(|bytes| bytes.as_u64()).sum();
    let shared = if limits().any(|limits| limits.memory_max.is_none()) { shares.bodies() } else { 0 };
    let connections: usize = limits().map(|limits| limits.max_connections(config.listeners.len(), shares)).sum();
    let keys = if config.dedup.enabled { config.dedup.max_memory(shares) } else { 0 };
    [
        ("limits.memory_max", own + shared),
        ("ingest.in_flight_max", config.ingest.in_flight_max(shares)),
        ("dedup.max_memory", keys),
        ("limits.max_connections", connections as u64 * CONNECTION),
        ("batches", shares.batches()),
        ("everything else", shares.rest()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn config(text: &str) -> Config {
        crate::config::parse("test", text, std::path::Path::new("."), &|_| None).expect("a configuration")
    }

    #[test]
    fn the_defaults_fit_wherever_a_gateway_can_run() {
        for mib in [64, 128, 256, 512, 1024, 8192] {
            for listeners in
                ["", "[[listeners]]\nname = \"a\"\n[[listeners]]\nname = \"b\"\nlisten = \"127.0.0.1:8444\"\n"]
            {
                assert_eq!(warning(&config(listeners), &Shares::of(mib * MIB)), None, "{mib} MiB, {listeners}");
            }
        }
    }

    #[test]
    fn what_is_set_and_cannot_fit_is_told_with_its_key() {
        let set = config("[dedup]\nmax_memory = \"200 MiB\"\n[[listeners]]\nlimits = { memory_max = \"112 MiB\" }\n");
        assert_eq!(warning(&set, &Shares::of(1024 * MIB)), None);
        let told = warning(&set, &Shares::of(256 * MIB)).expect("it cannot fit");
        assert!(
            told.contains("440 MiB") && told.contains("256 MiB") && told.contains("dedup.max_memory 200 MiB"),
            "{told}"
        );
    }
}
