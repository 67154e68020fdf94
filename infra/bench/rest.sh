#!/usr/bin/env bash
# What the nightly job and queries are not, each beside its target, in one run:
#
#   infra/bench/rest.sh [RUNS]        by default 5 runs of each
#
# The start of the binary, an answer from the catalog alone, the plan of a lifecycle that moves everything of 10,000,000
# files, bundling, and `tier verify` against MinIO. Needs what query.sh needs, and 2 GB in $TMPDIR.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/build.sh"
build archive_limit catalog_bench
source "$root/infra/bench/data.sh"
start_minio
work=$(mktemp -d "${TMPDIR:-/tmp}/tier-bench.XXXXXX")
"$TIER_BENCH_BIN/catalog_bench" make "$work/catalog" 10000000 uniform >/dev/null
"$python" "$root/infra/bench/rest.py" "$tier" "$TIER_BENCH_BIN/archive_limit" "$data" "$work" "${1:-5}"
