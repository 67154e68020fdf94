#!/usr/bin/env bash
# Runs the tests against real S3 stores and real readers; arguments go to `cargo test`.
#
#   infra/test.sh [ARGUMENT…]
#
# Installs MinIO, its client, moto, and a Python venv with DuckDB, Polars and pyarrow when they are missing
# (infra/tools.sh), and starts a private MinIO for the tests. No server, no tests: it fails when MinIO cannot start.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tier/target}

TIER_TEST_MINIO_SERVER=$(infra/tools.sh minio)
TIER_TEST_MC=$(infra/tools.sh mc)
TIER_TEST_MOTO=$(infra/tools.sh moto)
TIER_TEST_READERS=$(infra/tools.sh readers)
export TIER_TEST_MINIO_SERVER TIER_TEST_MC TIER_TEST_MOTO TIER_TEST_READERS
exec infra/minio.sh run cargo test "$@"
