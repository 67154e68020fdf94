#!/usr/bin/env bash
# The memory of every command as an archive grows, in one run:
#
#   infra/bench/memory.sh
#
# Of catalogs without data of 1,000,000 and 50,000,000 files, and of archives with data of 160,000 and 480,000 small files,
# 20,000 a day. Needs 40 GB and a million inodes in $TMPDIR, and about 45 minutes. Set TIER_BENCH_BIN to a folder with `tier`
# and `catalog_bench` to skip the release build.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/build.sh"
build catalog_bench
work=$(mktemp -d "${TMPDIR:-/tmp}/tier-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 "$root/infra/bench/memory.py" "$TIER_BENCH_BIN" "$work"
