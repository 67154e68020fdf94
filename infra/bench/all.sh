#!/usr/bin/env bash
# Every benchmark, one after the other, and the picture in the README: about two hours on 2 cores, after the release build.
#
#   infra/bench/all.sh [OUT]        by default infra/bench/results
#
# Needs Rust, Go and Python 3, 40 GB in $TMPDIR and 5 GB in ~/.cache. Leave the machine alone meanwhile. Set TIER_BENCH_BIN to
# a folder with `tier`, `catalog_bench` and `archive_limit` to skip the release build.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/build.sh"
build archive_limit catalog_bench
bench=$root/infra/bench
out=${1:-$bench/results}
mkdir -p "$out"

run() { # NAME COMMAND…
    echo "== $1"
    "${@:2}" | tee "$out/$1.txt.new"
    mv "$out/$1.txt.new" "$out/$1.txt"
}
run archive "$bench/archive.sh" 3000000 5
run growth "$bench/archive.sh" growth
run query "$bench/query.sh"
run rest "$bench/rest.sh"
run catalog "$bench/catalog.sh"
run memory "$bench/memory.sh"
python3 "$bench/picture.py" "$out" >"$out/speed.svg"
