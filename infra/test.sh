#!/usr/bin/env bash
# Runs the tests against a real S3 store and real readers; arguments go to `cargo test`.
#
#   infra/test.sh [ARGUMENT…]
#
# Installs MinIO and a Python venv with DuckDB, Polars and pyarrow when they are missing (infra/tools.sh), and starts a
# private MinIO for the tests. No server, no tests: it fails when MinIO cannot start.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tier/target}

infra/tools.sh minio >/dev/null
TIER_TEST_READERS=$(infra/tools.sh readers)
export TIER_TEST_READERS
exec infra/minio.sh run cargo test "$@"
