#!/usr/bin/env bash
# What the archive job, queries and planning must not exceed, counted: requests, bytes and memory, never time. It takes the
# debug build that the tests have made, and fails where a figure is above its limit:
#
#   infra/bench/counts.sh
set -euo pipefail

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$bench/../..
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tier/target}
python=$("$root/infra/tools.sh" readers)
work=$(mktemp -d "${TMPDIR:-/tmp}/tier-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

(cd "$root" && cargo build --quiet --bins --tests --examples)
"$python" "$bench/counts.py" "$CARGO_TARGET_DIR/debug" "$work"
