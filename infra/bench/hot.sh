#!/usr/bin/env bash
# The nightly job from Cassandra beside what one would use instead, in one run, on one day of events:
#
#   infra/bench/hot.sh [ROWS] [RUNS]        by default 1,000,000 rows, 3 runs of each
#
#   tier      tier archive --from-hot: reads, counts, validates, sorts, writes Parquet cells, reads them back, commits
#   loop      a loop over the driver's pager that writes NDJSON (examples/driver_loop.rs): only reads and writes
#   cqlsh     COPY TO of cqlsh with its worker processes: only reads and writes CSV, and of the whole table
#
# Starts a private Cassandra with one such day and stops it. Needs what infra/test.sh needs. Whole processes are timed.
# Set TIER_BENCH_BIN to a folder with the binaries `tier`, `driver_loop` and `hot_events` to skip the release build.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/build.sh"
rows=${1:-1000000} runs=${2:-3}
day=2026-11-24

if [[ -z ${TIER_CASSANDRA:-} ]]; then
    export TIER_CASSANDRA_JVM=${TIER_CASSANDRA_JVM:-"-Xmx2g -XX:TieredStopAtLevel=4"}
    exec "$root/infra/cassandra.sh" run "${BASH_SOURCE[0]}" "$rows" "$runs"
fi

build driver_loop hot_events
cqlsh=$("$root/infra/tools.sh" cqlsh)
work=$(mktemp -d "${TMPDIR:-/tmp}/tier-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
host=${TIER_CASSANDRA%:*} port=${TIER_CASSANDRA#*:}

cql() { "$cqlsh" -m cqlshlib "$host" "$port" -e "$1" 2>/dev/null; }
cql "CREATE KEYSPACE bench WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
cql "CREATE TABLE bench.events (tenant_id text, day date, event_id text, event_type text, ts timestamp, amount double,
     payload text, PRIMARY KEY ((tenant_id, day), event_id)) WITH default_time_to_live = 7776000"
"$TIER_BENCH_BIN/hot_events" "$TIER_CASSANDRA" bench.events --events "$rows" --days 1 --last $day

cat >"$work/tier.toml" <<TOML
[hot]
contact_points = ["$TIER_CASSANDRA"]
keyspace = "bench"
table = "events"
TOML

cat >"$work/run.py" <<'PY'
import os, shutil, subprocess, sys
from functools import partial

rows, runs, bin, cqlsh, host, port, work, day, bench = sys.argv[1:]
rows, runs = int(rows), int(runs)
sys.path.insert(0, bench)
import measure

commands = {
    "tier": [f"{bin}/tier", "archive", "--from-hot", "--quiet", "--archive", f"{work}/archive", "--config",
             f"{work}/tier.toml", "--now", "2026-11-25T03:00:00Z"],
    "loop": [f"{bin}/driver_loop", f"{host}:{port}", "bench.events", day, f"{work}/loop.ndjson"],
    "cqlsh": [cqlsh, "-m", "cqlshlib", host, port, "-e", f"COPY bench.events TO '{work}/copy.csv'"],
}

def once(name):
    shutil.rmtree(f"{work}/archive", ignore_errors=True)
    return measure.run(commands[name])

median = measure.alternate({name: partial(once, name) for name in commands}, runs)
subprocess.run(commands["tier"], check=True)
size = {"tier": measure.tree_bytes(f"{work}/archive/events"), "loop": os.path.getsize(f"{work}/loop.ndjson"),
        "cqlsh": os.path.getsize(f"{work}/copy.csv")}
counted = sum(1 for _ in open(f"{work}/loop.ndjson"))
assert counted == rows, f"the loop read {counted} of {rows} rows"
print(f"{rows:,} rows of one day, medians of {runs} runs; {measure.machine()}, Cassandra on the same machine\n")
measure.print_table(median, rows, size)
PY
python3 "$work/run.py" "$rows" "$runs" "$TIER_BENCH_BIN" "$cqlsh" "$host" "$port" "$work" "$day" "$root/infra/bench"
