#!/usr/bin/env bash
# Two writers in a loop on a real S3 store, for minutes: nothing may be lost, and nothing doubled.
#
#   infra/soak.sh [--minutes 3] [--writers 2] [--kill 0.1]
#
# --kill: this share of the writing processes is killed in the middle of its work, and run again.
#
# Starts a private MinIO and stops it. Each writer is a loop of processes: archive an export with duplicates and late
# events, merge files, merge the catalog, bundle old months, vacuum. Another loop asks questions meanwhile. At the end every
# commit that a process reported must be in the history, the rows must be the generator's, `tier verify --read all
# --duplicates` must find nothing, and a copy whose catalog is deleted must answer the same after `tier rebuild`.
#
# TIER_BIN is the binary; by default that of the last build in CARGO_TARGET_DIR. Needs what infra/test.sh needs.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/infra/binary.sh"
TIER_TEST_MC=$("$root/infra/tools.sh" mc)
export TIER_BIN TIER_TEST_MC
exec "$root/infra/minio.sh" run python3 "$root/infra/soak.py" s3://events/soak "$@"
