#!/usr/bin/env bash
# Queries of years of events beside DataFusion and DuckDB over the same Parquet files, in one run:
#
#   infra/bench/query.sh [RUNS]        by default 3 runs of each
#
#   cells     a year of 5 types x 20 tenants, 200 rows a day each: 36,500 files in MinIO, behind 30 ms for each request
#   bundles   the same, merged by month into a class that can be read at once
#   large     8,000,000 rows in 40 files on this machine's disk
#
# A peer lists the folders of the same tree. Of `tier` the first row is with an empty cache, `again` is with what the
# first left. Of `tier` the whole process is timed, of a peer the query alone, without the start of Python; CPU seconds and
# memory are of whole processes.
#
# Needs Rust, Go and Python 3, as infra/test.sh does. The data is made once in $TIER_BENCH_DATA, by default
# ~/.cache/tier/bench-query (1 GB). Set TIER_BENCH_BIN to a folder with `tier` to skip the release build.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
runs=${1:-3}
data=${TIER_BENCH_DATA:-${XDG_CACHE_HOME:-$HOME/.cache}/tier/bench-query}
mkdir -p "$data"

if [[ -z ${TIER_BENCH_BIN:-} ]]; then
    export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tier/target}
    (cd "$root" && cargo build --release --bin tier)
    TIER_BENCH_BIN=$CARGO_TARGET_DIR/release
fi
export TIER_BENCH_BIN
tier=$TIER_BENCH_BIN/tier

if [[ ! -x $data/venv/bin/python ]]; then
    python3 -m venv "$data/venv.new"
    "$data/venv.new/bin/pip" install --quiet duckdb==2.0.1 datafusion==55.0.0 pyarrow numpy
    mv "$data/venv.new" "$data/venv"
fi

archive() { # NAME DAYS TYPES TENANTS ROWS
    [[ ! -d $data/$1 ]] || return 0
    "$data/venv/bin/python" "$root/infra/bench/query_data.py" "$data/exports" "${@:2}"
    rm -rf "$data/$1.new"
    "$tier" archive "$data/exports" --archive "$data/$1.new" --quiet
    rm -rf "$data/exports"
    mv "$data/$1.new" "$data/$1"
}
archive cells 365 5 20 200
archive large 10 2 2 200000
if [[ ! -d $data/bundles ]]; then
    rm -rf "$data/bundles.new"
    cp -r "$data/cells" "$data/bundles.new"
    printf '[[lifecycle.rules]]\nafter = "1d"\nclass = "GLACIER_IR"\nlayout = "bundle"\n' >"$data/bundles.toml"
    "$tier" lifecycle apply --archive "$data/bundles.new" --config "$data/bundles.toml" --now 2027-01-01T00:00:00Z --yes \
        --max-cost 1 --quiet
    "$tier" vacuum --archive "$data/bundles.new" --now 2027-03-01T00:00:00Z --yes --quiet
    mv "$data/bundles.new" "$data/bundles"
fi

export TIER_MINIO_DIR=$data/minio
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
eval "$("$root/infra/minio.sh" start --port "$port" --bucket bench)"
proxy=
trap '[[ -z $proxy ]] || kill "$proxy"; "$root/infra/minio.sh" stop' EXIT
mc=$("$root/infra/tools.sh" mc)
export MC_CONFIG_DIR=$data/mc
"$mc" alias set bench "$AWS_ENDPOINT_URL" "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" >/dev/null
for name in cells bundles; do
    "$mc" mirror --quiet "$data/$name" "bench/bench/$name" >/dev/null
done

rustc -O --edition 2024 -o "$data/lag_proxy" "$root/infra/bench/lag_proxy.rs"
lagging=127.0.0.1:$((port > 60000 ? port - 1 : port + 1))
"$data/lag_proxy" "$lagging" "127.0.0.1:$port" 30 &
proxy=$!
sleep 0.5
"$data/venv/bin/python" "$root/infra/bench/query.py" "$tier" "$data/venv/bin/python" \
    "$("$root/infra/tools.sh" delta-readers)" "$data" "$lagging" "$runs"
