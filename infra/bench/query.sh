#!/usr/bin/env bash
# Queries of years of events beside DataFusion and DuckDB over the same Parquet files, in one run:
#
#   infra/bench/query.sh [RUNS]        by default 3 runs of each
#   infra/bench/query.sh local [RUNS]  those of local files alone, without MinIO
#
#   cells, bundles   a year in 36,500 files, and by month: in MinIO, behind 30 ms for each request
#   large            8,000,000 rows in 40 files on this machine's disk
#
# A peer lists the folders of the same tree. Of `tier` and of datafusion-cli, which reads local files, the whole process is
# timed; of DuckDB, and of DataFusion over S3, the query alone, without the start of Python. `again` over S3 is another
# process that has what the first one cached; of local files it is the same process, asked once more, of every engine.
# Memory is of whole processes.
#
# Needs Rust, Go and Python 3, as infra/test.sh does. The data is made once, see data.sh. Set TIER_BENCH_BIN to a folder
# with `tier` to skip the release build.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/build.sh"
build
source "$root/infra/bench/data.sh"
datafusion_cli=$("$root/infra/tools.sh" datafusion-cli)
if [[ ${1:-} == local ]]; then
    exec "$python" "$root/infra/bench/query.py" "$tier" "$python" "$datafusion_cli" "$python" "$data" "" "${2:-3}"
fi
runs=${1:-3}
start_minio
rustc -O --edition 2024 -o "$data/lag_proxy" "$root/infra/bench/lag_proxy.rs"
lagging=127.0.0.1:$((port > 60000 ? port - 1 : port + 1))
"$data/lag_proxy" "$lagging" "127.0.0.1:$port" 30 &
proxy=$!
sleep 0.5
"$python" "$root/infra/bench/query.py" "$tier" "$python" "$datafusion_cli" \
    "$("$root/infra/tools.sh" delta-readers)" "$data" "$lagging" "$runs"
