#!/usr/bin/env bash
# Runs every fuzz target for so many seconds: scripts/fuzz.sh 60. Stops at the first finding.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
# libdeflate compiles one template twice, with a static table of the same name: harmless, but an end for AddressSanitizer.
export ASAN_OPTIONS=detect_odr_violation=0
cargo +nightly fuzz build
for target in $(cargo +nightly fuzz list); do
    echo "== $target, $seconds s"
    cargo +nightly fuzz run "$target" -- -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=10 -max_len=65536 \
        2>&1 | grep -E '^(Done|stat::|.*(ERROR|SUMMARY|panicked))' || { echo "$target failed"; exit 1; }
done
