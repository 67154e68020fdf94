#!/usr/bin/env bash
# Takes an archive through its life, and after each step compares what every engine sees of its Delta table with what
# `tier query --tiers cold` answers.
#
#   infra/delta_stages.sh [tier] [spark] [trino]      by default all three
#
# The steps: a first archive, late events, compaction, one tenant's months as bundles in DEEP_ARCHIVE, expiry, and the table
# made from nothing. delta-rs, DuckDB, Polars, Spark and Trino: see infra/delta_engines.sh, which says what is needed.
# TIER_BIN is the binary; by default that of the last build in CARGO_TARGET_DIR. Exits 1 when an engine sees anything else.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
samples=$here/../sample-data
source "$here/binary.sh"
export TIER_BIN
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

policy() { # RULE, a table
    cat >"$work/tier.toml" <<CONFIG
[publish]
delta = true

[lifecycle]
horizon = "9000y"               # whatever the prices are, the move pays back

[[lifecycle.rules]]
after = "30d"
$1

[[lifecycle.rules]]
after = "0d"
class = "STANDARD"
CONFIG
}

ask() { "$TIER_BIN" --quiet --yes --config "$work/tier.toml" --archive "$work/archive" "$@"; }
tier() { ask "$@" >/dev/null; }

step() { # NAME
    echo "delta_stages: $1: $(ask query --tiers cold 'SELECT count(*) FROM events' | tail -n 1) rows" >&2
    "$here/delta_engines.sh" "$work/archive" "${engines[@]}"
}

(($#)) || set -- tier spark trino
engines=("$@")
policy $'tenant = "acme"\nclass = "DEEP_ARCHIVE"\nlayout = "bundle"'
tier archive "$samples"/2026-08-2[456].*
step "the first archive"
tier archive "$samples"
step "late events"
tier compact --now 2026-09-20
step "compaction"
tier lifecycle apply --now 2026-12-20 --max-cost 5
step "acme in DEEP_ARCHIVE"
policy $'event_type = "purchase"\nexpire = true'
files=$(ask lifecycle plan --now 2026-12-20 --json | python3 -c '
import json, sys
print(json.load(sys.stdin)["totals"]["expires"])')
tier lifecycle apply --now 2026-12-20 --confirm "$files"
step "expiry of $files files"
tier publish delta --replace
step "from nothing"
