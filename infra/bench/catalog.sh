#!/usr/bin/env bash
# What planning costs however old an archive grows, and beside it what delta-rs and DuckLake take on the sizes they bear,
# in one run:
#
#   infra/bench/catalog.sh [FILES…]    by default 1,000,000, 10,000,000 and 50,000,000 data files
#
# Catalogs without data are generated (examples/catalog_bench), for tenants of one size and for Zipf's, 2.4 GB in $TMPDIR
# for the largest. Every question is a process of its own, each request takes 40 ms, and figures are medians of five.
# The peers read local files without any delay. Set TIER_BENCH_BIN to a folder with `tier` and `catalog_bench` to skip the
# release build.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/build.sh"
bench=$root/infra/bench
python=$("$root/infra/tools.sh" catalog-peers)
work=$(mktemp -d "${TMPDIR:-/tmp}/tier-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

build catalog_bench

(($#)) || set -- 1000000 10000000 50000000
"$python" "$bench/catalog.py" "$TIER_BENCH_BIN" "$work" "$@"
