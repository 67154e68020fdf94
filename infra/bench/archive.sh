#!/usr/bin/env bash
# The nightly job from files beside what one would write instead, in one run, on one day of events in 1,000 cells:
#
#   infra/bench/archive.sh [ROWS] [RUNS]    by default 3,000,000 rows, 3 runs of each, from NDJSON, CSV and Parquet
#   infra/bench/archive.sh growth [ROWS…]   NDJSON: from 1,000,000 to 30,000,000 rows, from 10 to 20,000 cells,
#                                           the peers as well into the most
#
#   tier      tier archive: validates, keeps bad rows, sorts, drops duplicates, reads back, syncs, commits
#   duckdb    SQL: reads, drops repeated ids, sorts, writes
#   polars    a lazy frame that does the same (peers.py)
#   …, check  the same, and then what was written is read once more and counted
#
# DuckDB and Polars are those of infra/tools.sh; whole processes are timed. Set TIER_BENCH_BIN to a folder with `tier` and
# `archive_limit` to skip the release build. Data and output need 7 GB in $TMPDIR for 3,000,000 rows and 3 runs.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/build.sh"
bench=$root/infra/bench
python=$("$root/infra/tools.sh" readers)
work=$(mktemp -d "${TMPDIR:-/tmp}/tier-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

build archive_limit

if [[ ${1:-} == growth ]]; then
    shift
    (($#)) || set -- 1000000 3000000 10000000 30000000
    "$python" "$bench/archive.py" growth "$TIER_BENCH_BIN/tier" "$work" "$@"
else
    "$python" "$bench/archive.py" beside "$TIER_BENCH_BIN/tier" "$work" "${1:-3000000}" "${2:-3}"
fi
