#!/usr/bin/env bash
# Runs the tests against real S3 stores, a real Cassandra and real readers; arguments go to `cargo test`.
#
#   infra/test.sh [ARGUMENT…]
#
# Installs MinIO, its client, moto, Cassandra, and a Python venv with DuckDB, Polars and pyarrow when they are missing
# (infra/tools.sh), and starts a private MinIO and Cassandra for the tests. No server, no tests: it fails when one of them
# cannot start.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tier/target}

TIER_TEST_MINIO_SERVER=$(infra/tools.sh minio)
TIER_TEST_MC=$(infra/tools.sh mc)
TIER_TEST_MOTO=$(infra/tools.sh moto)
TIER_TEST_READERS=$(infra/tools.sh readers)
TIER_TEST_DELTA_READERS=$(infra/tools.sh delta-readers)
# Tests that stop or kill nodes start their own.
TIER_TEST_CASSANDRA_SERVER=$PWD/infra/cassandra.sh
infra/tools.sh cassandra >/dev/null
export TIER_TEST_MINIO_SERVER TIER_TEST_MC TIER_TEST_MOTO TIER_TEST_READERS TIER_TEST_DELTA_READERS \
    TIER_TEST_CASSANDRA_SERVER
exec infra/minio.sh run infra/cassandra.sh run cargo test "$@"
