# What query.sh and rest.sh ask and work on; to be sourced. It is made once in $TIER_BENCH_DATA, by default
# ~/.cache/tier/bench-query (1.2 GB):
#
#   cells     a year of 5 types x 20 tenants, 200 rows a day each: 36,500 files
#   bundles   the same, merged by month into a class that can be read at once
#   large     8,000,000 rows of a month in 40 files
#   months    8,160,000 rows of four months in 480 files
#
# After build.sh and its build. Sets data, tier, and python with numpy, DuckDB and DataFusion.
data=${TIER_BENCH_DATA:-${XDG_CACHE_HOME:-$HOME/.cache}/tier/bench-query}
mkdir -p "$data"

tier=$TIER_BENCH_BIN/tier
python=$data/venv/bin/python

if [[ ! -x $python ]]; then
    python3 -m venv "$data/venv.new"
    "$data/venv.new/bin/pip" install --quiet duckdb==2.0.1 datafusion==55.0.0 pyarrow numpy
    mv "$data/venv.new" "$data/venv"
fi

archive() { # NAME DAYS TYPES TENANTS ROWS
    [[ ! -d $data/$1 ]] || return 0
    "$python" "$root/infra/bench/query_data.py" "$data/exports" "${@:2}"
    rm -rf "$data/$1.new"
    "$tier" archive "$data/exports" --archive "$data/$1.new" --quiet
    rm -rf "$data/exports"
    mv "$data/$1.new" "$data/$1"
}
archive cells 365 5 20 200
archive large 10 2 2 200000
archive months 120 2 2 17000
printf '[[lifecycle.rules]]\nafter = "1d"\nclass = "GLACIER_IR"\nlayout = "bundle"\n' >"$data/bundles.toml"
if [[ ! -d $data/bundles ]]; then
    rm -rf "$data/bundles.new"
    cp -r "$data/cells" "$data/bundles.new"
    "$tier" lifecycle apply --archive "$data/bundles.new" --config "$data/bundles.toml" --now 2027-01-01T00:00:00Z --yes \
        --max-cost 1 --quiet
    "$tier" vacuum --archive "$data/bundles.new" --now 2027-03-01T00:00:00Z --yes --quiet
    mv "$data/bundles.new" "$data/bundles"
fi

# Starts a MinIO that has cells and bundles in the bucket `bench`, at $port, until the script ends, and then stops $proxy
# and removes $work too.
start_minio() {
    local mc
    export TIER_MINIO_DIR=$data/minio
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    eval "$("$root/infra/minio.sh" start --port "$port" --bucket bench)"
    proxy='' work=''
    trap '[[ -z $proxy ]] || kill "$proxy"; [[ -z $work ]] || rm -rf "$work"; "$root/infra/minio.sh" stop' EXIT
    mc=$("$root/infra/tools.sh" mc)
    export MC_CONFIG_DIR=$data/mc
    "$mc" alias set bench "$AWS_ENDPOINT_URL" "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" >/dev/null
    for name in cells bundles; do
        "$mc" mirror --quiet "$data/$name" "bench/bench/$name" >/dev/null
    done
}
