#!/usr/bin/env bash
# Every test, with what scripts/tools.sh test has installed. Arguments go to nextest: scripts/test.sh -E 'binary(promises)'.
set -euo pipefail
cd "$(dirname "$0")/.."
runner=$(scripts/tools.sh nextest | tail -1)
export NEXTEST_TEST_THREADS=${NEXTEST_TEST_THREADS:-$((2 * $(nproc)))}
"$runner" nextest run --workspace "$@"
