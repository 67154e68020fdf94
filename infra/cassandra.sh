#!/usr/bin/env bash
# A local Apache Cassandra, so that `tier` can be tried and tested against a real hot tier.
#
#   infra/cassandra.sh start [--port 9042] [--data DIR]
#       starts it, makes the table tier_demo.events unless it is there, prints the variable to export:
#       eval "$(infra/cassandra.sh start)"
#   infra/cassandra.sh env      prints it again
#   infra/cassandra.sh stop     stops it; the data stays
#   infra/cassandra.sh run [--nodes 1] CMD…
#       runs CMD against private empty nodes of one ring, on a free port of 127.0.0.1, 127.0.0.2, …, gone afterwards;
#       exits with CMD's status. CMD may kill nodes: $TIER_CASSANDRA_PIDS has their pids, with commas between.
#   infra/cassandra.sh server [--auth] FOLDER ADDRESS PORT [SEED…]
#       becomes one node that keeps everything in FOLDER and logs to stdout; the process keeps its pid. ADDRESS:PORT is
#       for clients, ADDRESS:PORT+1 for other nodes. The nodes of a ring have one PORT and name the same SEEDs: addresses
#       of nodes that are started with them, by default ADDRESS. --auth: asks for the user cassandra, password cassandra
#
# $TIER_CASSANDRA is the contact points, ADDRESS:PORT with commas between. Cassandra is installed when it is missing
# (infra/tools.sh) and listens on 127.0.0.x only. The started one keeps its log, pid and data in $TIER_CASSANDRA_DIR, by
# default ~/.local/share/tier/cassandra. A node is set up to start quickly and to be small; $TIER_CASSANDRA_JVM has JVM
# options that go first, as "-Xmx4g -XX:TieredStopAtLevel=4" for one that is to be fast.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home=${TIER_CASSANDRA_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/tier/cassandra}
pids=()

say() { echo "cassandra: $*" >&2; }
die() { say "$*"; exit 1; }
usage() { sed -n '/^#!/d; /^$/q; s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

command -v python3 >/dev/null || die "this script needs Python 3.10 or newer: install python3"

KEYSPACE="CREATE KEYSPACE IF NOT EXISTS tier_demo
    WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
TABLE="CREATE TABLE IF NOT EXISTS tier_demo.events (tenant_id text, day date, event_id text, event_type text,
    ts timestamp, amount double, payload text, PRIMARY KEY ((tenant_id, day), event_id))
    WITH default_time_to_live = 7776000"

client_env() { # PORT
    echo "export TIER_CASSANDRA=127.0.0.1:$1"
}

# Whether PORT and the one after it are free on all ADDRESSes.
ports_are_free() { # PORT ADDRESS…
    python3 - "$@" 2>/dev/null <<'PY'
import socket, sys
port = int(sys.argv[1])
for address in sys.argv[2:]:
    for used in (port, port + 1):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address, used))
PY
}

# A port that is free together with the one after it. Not from the range that outgoing connections take theirs from: one of
# them would be taken while the server is starting.
free_port() { # ADDRESS…
    local port
    for _ in {1..100}; do
        port=$((10000 + 2 * (RANDOM % 10000)))
        ports_are_free "$port" "$@" && { echo "$port"; return; }
    done
    die "no two free ports in a row between 10000 and 30000"
}

write_config() { # FOLDER ADDRESS PORT AUTH SEED…
    local folder=$1 address=$2 port=$3 auth=$4 seeds
    shift 4
    seeds=$(printf "%s:$((port + 1))," "$@")
    cat >"$folder/cassandra.yaml" <<YAML
cluster_name: tier
num_tokens: 16
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "${seeds%,}"
auto_bootstrap: false
listen_address: $address
storage_port: $((port + 1))
rpc_address: $address
native_transport_port: $port
authenticator: ${auth}Authenticator
authorizer: AllowAllAuthorizer

# What a new cluster of 5.0 should have, says conf/cassandra_latest.yaml of its distribution.
storage_compatibility_mode: NONE
sstable:
  selected_format: bti
memtable:
  configurations:
    default:
      class_name: TrieMemtable

commitlog_sync: periodic
commitlog_sync_period: 10000ms
commitlog_total_space: 512MiB
auto_snapshot: false

# A busy machine is slow, and not broken. A range read that waits for a node which has just died lasts that long.
read_request_timeout: 10000ms
range_request_timeout: 10000ms
write_request_timeout: 10000ms
YAML
}

server() {
    local auth=AllowAll
    if [[ ${1:-} == --auth ]]; then auth=Password; shift; fi
    (($# >= 3)) || usage
    local folder address=$2 port=$3 java jars
    mkdir -p "$1"
    folder=$(cd "$1" && pwd)
    shift 3
    (($#)) || set -- "$address"
    java=$("$here/tools.sh" java)
    jars=$("$here/tools.sh" cassandra)
    write_config "$folder" "$address" "$port" "$auth" "$@"
    # Native libraries are unpacked there and stay when the node is killed.
    rm -rf "$folder/tmp"
    mkdir "$folder/tmp"
    # shellcheck disable=SC2086 # options, with spaces between
    exec "$java" "@$here/cassandra/jvm.options" ${TIER_CASSANDRA_JVM:-} \
        -Djava.io.tmpdir="$folder/tmp" -Djna.tmpdir="$folder/tmp" -XX:ErrorFile="$folder/hs_err_%p.log" \
        -Dcassandra.config="file:$folder/cassandra.yaml" -Dcassandra.storagedir="$folder" -Dcassandra.logdir="$folder" \
        -Dlogback.configurationFile="file:$here/cassandra/logback.xml" \
        -cp "$jars/*" org.apache.cassandra.service.CassandraDaemon
}

# Starts a node in the background; its pid is the last of `pids`.
launch() { # LOG FOLDER ADDRESS PORT [SEED…]
    local log=$1
    shift
    nohup "${BASH_SOURCE[0]}" server "$@" </dev/null >"$log" 2>&1 &
    pids+=($!)
    # Or bash would report it when CMD kills the node.
    disown
}

show_log() { # LOG
    [[ -s $1 ]] || { say "its log is empty"; return 0; }
    say "the end of its log ($1):"
    tail -n 20 "$1" | cut -c 1-300 >&2
}

# The started one writes out what it has; takes some seconds.
stop_server() {
    kill "${pids[0]}" 2>/dev/null || return 0
    for _ in {1..300}; do
        kill -0 "${pids[0]}" 2>/dev/null || return 0
        sleep 0.1
    done
    say "process ${pids[0]} does not stop, killing it"
    kill -9 "${pids[0]}" 2>/dev/null || true
}

# Private nodes have nothing to keep.
kill_nodes() {
    ((${#pids[@]})) || return 0
    kill -9 "${pids[@]}" 2>/dev/null || true
    while (($(count_alive))); do sleep 0.02; done
    pids=()
}

count_alive() {
    local pid alive=0
    for pid in "${pids[@]}"; do
        if kill -0 "$pid" 2>/dev/null; then alive=$((alive + 1)); fi
    done
    echo "$alive"
}

# Sets `pids` to that of the started server; fails when there is none.
find_started() {
    [[ -s $home/pid && -s $home/port && -s $home/folder ]] || return 1
    local pid
    pid=$(<"$home/pid")
    # A number that another program has by now does not count.
    [[ $(ps -ww -o args= -p "$pid" 2>/dev/null) == *"-Dcassandra.storagedir=$(<"$home/folder") "* ]] || return 1
    pids=("$pid")
}

start() {
    local port=9042 data=$home/data
    while (($#)); do
        case $1 in
            --port) port=${2:?--port needs a number} ;;
            --data) data=${2:?--data needs a folder} ;;
            *) usage ;;
        esac
        shift 2
    done
    mkdir -p "$home" "$data"
    data=$(cd "$data" && pwd)
    if find_started; then
        local running
        running=$(<"$home/port")
        [[ $running == "$port" ]] || die "it runs on port $running already: infra/cassandra.sh stop"
        say "runs already, pid ${pids[0]}"
        python3 "$here/cql.py" "127.0.0.1:$port" --server-pid "${pids[0]}" "$KEYSPACE" "$TABLE"
    else
        "$here/tools.sh" java >/dev/null
        "$here/tools.sh" cassandra >/dev/null
        ports_are_free "$port" 127.0.0.1 ||
            die "port $port or $((port + 1)) is taken by another program: choose another with --port"
        launch "$home/log" "$data" 127.0.0.1 "$port"
        echo "${pids[0]}" >"$home/pid"
        echo "$port" >"$home/port"
        echo "$data" >"$home/folder"
        if ! python3 "$here/cql.py" "127.0.0.1:$port" --server-pid "${pids[0]}" "$KEYSPACE" "$TABLE"; then
            show_log "$home/log"
            stop_server
            rm -f "$home"/{pid,port,folder}
            die "Cassandra did not start"
        fi
        say "runs on 127.0.0.1:$port, pid ${pids[0]}, table tier_demo.events; stop it with infra/cassandra.sh stop"
    fi
    cat >&2 <<TOML
cassandra: in tier.toml it is

[hot]
contact_points = ["127.0.0.1:$port"]
keyspace = "tier_demo"
table = "events"

TOML
    client_env "$port"
}

run() {
    local nodes=1
    while (($#)); do
        case $1 in
            --nodes) nodes=${2:?--nodes needs a number}; shift 2 ;;
            --) shift; break ;;
            -*) usage ;;
            *) break ;;
        esac
    done
    (($#)) || usage
    [[ $nodes == [1-9] ]] || die "--nodes is one digit from 1, not '$nodes'"

    "$here/tools.sh" java >/dev/null
    "$here/tools.sh" cassandra >/dev/null
    folder=$(mktemp -d "${TMPDIR:-/tmp}/tier-cassandra.XXXXXX")
    trap 'kill_nodes; rm -rf "$folder"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM

    local try port node address addresses=()
    for ((node = 1; node <= nodes; node++)); do addresses+=("127.0.0.$node"); done
    for try in 1 2 3; do
        port=$(free_port "${addresses[@]}")
        for address in "${addresses[@]}"; do
            launch "$folder/$address.log" "$folder/$address" "$address" "$port" "${addresses[@]}"
        done
        ring_is_ready && break
        # Another program may have taken a port first: worth another try if a node has stopped by itself.
        if ((try == 3 || $(count_alive) == nodes)); then die "Cassandra did not start"; fi
        kill_nodes
        rm -rf "${folder:?}"/*
    done

    TIER_CASSANDRA=$(IFS=,; echo "${addresses[*]/%/:$port}")
    TIER_CASSANDRA_PIDS=$(IFS=,; echo "${pids[*]}")
    export TIER_CASSANDRA TIER_CASSANDRA_PIDS
    local status=0
    "$@" || status=$?
    if (($(count_alive) == 0)); then
        say "Cassandra has stopped meanwhile"
        show_log "$folder/${addresses[0]}.log"
        ((status)) || status=1
    fi
    exit "$status"
}

# Waits until every node answers and knows the others. Uses the variables of `run`.
ring_is_ready() {
    local number
    for number in "${!addresses[@]}"; do
        address=${addresses[number]}
        python3 "$here/cql.py" "$address:$port" --peers $((nodes - 1)) --server-pid "${pids[number]}" && continue
        show_log "$folder/$address.log"
        return 1
    done
}

verb=${1:-}
shift || usage
case $verb in
    start) start "$@" ;;
    run) run "$@" ;;
    server) server "$@" ;;
    env)
        find_started || die "it is not running: infra/cassandra.sh start"
        client_env "$(<"$home/port")"
        ;;
    stop)
        find_started || { say "it is not running"; exit 0; }
        stop_server
        rm -f "$home"/{pid,port,folder}
        say "stopped, the data stays in place"
        ;;
    *) usage ;;
esac
