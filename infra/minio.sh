#!/usr/bin/env bash
# A local MinIO, so that `tier` can be tried and tested against a real S3 store.
#
#   infra/minio.sh start [--port 9000] [--bucket events] [--data DIR]
#       starts it, makes the bucket, prints the variables to export:  eval "$(infra/minio.sh start)"
#   infra/minio.sh env      prints them again
#   infra/minio.sh stop     stops it; the data stays
#   infra/minio.sh run [--tls] [--bucket events] CMD…
#       runs CMD against a private server with an empty bucket on a free port, gone afterwards; exits with CMD's status.
#       --tls: https with a new certificate, whose CA is in AWS_CA_BUNDLE
#
# MinIO is installed when it is missing (infra/tools.sh) and listens on 127.0.0.1 only. The started server keeps its log,
# pid and data in $TIER_MINIO_DIR, by default ~/.local/share/tier/minio.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home=${TIER_MINIO_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/tier/minio}
pid=

say() { echo "minio: $*" >&2; }
die() { say "$*"; exit 1; }
usage() { sed -n '/^#!/d; /^$/q; s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

command -v python3 >/dev/null || die "this script needs Python 3.10 or newer: install python3"

# The variables of the server at PORT, as shell lines; those that would overrule them are unset.
client_env() { # SCHEME PORT
    echo "unset AWS_ENDPOINT_URL_S3 AWS_PROFILE AWS_SESSION_TOKEN"
    echo "export AWS_ENDPOINT_URL=$1://127.0.0.1:$2"
    echo "export AWS_ACCESS_KEY_ID=tieradmin"
    echo "export AWS_SECRET_ACCESS_KEY=tiersecret123"
    echo "export AWS_REGION=us-east-1"
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

port_is_free() { # PORT
    python3 - "$1" 2>/dev/null <<'PY'
import socket, sys
with socket.socket() as s:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", int(sys.argv[1])))
PY
}

# A CA and a certificate for 127.0.0.1 signed by it, in the names that MinIO looks for.
make_certificates() { # FOLDER
    command -v openssl >/dev/null || die "--tls needs openssl: install it"
    mkdir -p "$1"
    (
        cd "$1"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
            -subj "/CN=tier test CA" -addext "basicConstraints=critical,CA:true" \
            -addext "keyUsage=critical,keyCertSign" -keyout ca.key -out ca.crt
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
            -subj "/CN=127.0.0.1" -keyout private.key -out server.csr
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -set_serial 1 -days 2 -out public.crt \
            -extfile <(printf '%s\n' "subjectAltName=IP:127.0.0.1" "basicConstraints=CA:false" "extendedKeyUsage=serverAuth")
    ) >"$1/openssl.log" 2>&1 || die "openssl failed: $(cat "$1/openssl.log")"
}

# Starts the server in the background and sets `pid`. Its variables are exported already.
launch() { # FOLDER DATA PORT
    mkdir -p "$1/certs" "$2"
    # CI_CD lets the data lie on the root disk. The certificate folder is named always, or ~/.minio would be used.
    MINIO_ROOT_USER=$AWS_ACCESS_KEY_ID MINIO_ROOT_PASSWORD=$AWS_SECRET_ACCESS_KEY \
        MINIO_CI_CD=1 MINIO_BROWSER=off MINIO_UPDATE=off \
        nohup "$server" server --quiet --certs-dir "$1/certs" --address "127.0.0.1:$3" "$2" </dev/null >"$1/log" 2>&1 &
    pid=$!
}

show_log() { # FOLDER
    [[ -s $1/log ]] || { say "its log is empty"; return 0; }
    say "the end of its log ($1/log):"
    tail -n 20 "$1/log" >&2
}

stop_server() {
    [[ -n $pid ]] || return 0
    kill "$pid" 2>/dev/null || return 0
    for _ in {1..100}; do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    say "process $pid does not stop, killing it"
    kill -9 "$pid" 2>/dev/null || true
}

# Sets `pid` to that of the started server; fails when there is none.
find_started() {
    [[ -s $home/pid ]] || return 1
    pid=$(<"$home/pid")
    # A number that another program has by now does not count.
    [[ $(ps -o args= -p "$pid" 2>/dev/null) == *"$home/certs"* ]] || { pid=; return 1; }
}

start() {
    local port=9000 bucket=events data=$home/data
    while (($#)); do
        case $1 in
            --port) port=${2:?--port needs a number} ;;
            --bucket) bucket=${2:?--bucket needs a name} ;;
            --data) data=${2:?--data needs a folder} ;;
            *) usage ;;
        esac
        shift 2
    done
    mkdir -p "$home"
    if find_started; then
        local running
        running=$(<"$home/port")
        [[ $running == "$port" ]] || die "it runs on port $running already: infra/minio.sh stop"
        say "runs already, pid $pid"
        eval "$(client_env http "$port")"
        python3 "$here/make_bucket.py" "$bucket"
    else
        server=$("$here/tools.sh" minio)
        port_is_free "$port" || die "port $port is taken by another program: choose another with --port"
        eval "$(client_env http "$port")"
        launch "$home" "$data" "$port"
        echo "$pid" >"$home/pid"
        echo "$port" >"$home/port"
        if ! python3 "$here/make_bucket.py" "$bucket" --server-pid "$pid"; then
            show_log "$home"
            stop_server
            rm -f "$home/pid" "$home/port"
            die "MinIO did not start"
        fi
        say "runs on 127.0.0.1:$port, pid $pid, bucket $bucket; stop it with infra/minio.sh stop"
    fi
    client_env http "$port"
}

run() {
    local scheme=http bucket=events
    while (($#)); do
        case $1 in
            --tls) scheme=https; shift ;;
            --bucket) bucket=${2:?--bucket needs a name}; shift 2 ;;
            --) shift; break ;;
            -*) usage ;;
            *) break ;;
        esac
    done
    (($#)) || usage

    server=$("$here/tools.sh" minio)
    folder=$(mktemp -d "${TMPDIR:-/tmp}/tier-minio.XXXXXX")
    trap 'stop_server; rm -rf "$folder"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    if [[ $scheme == https ]]; then
        make_certificates "$folder/certs"
        export AWS_CA_BUNDLE=$folder/certs/ca.crt
    fi

    local try port
    for try in 1 2 3; do
        port=$(free_port)
        eval "$(client_env "$scheme" "$port")"
        launch "$folder" "$folder/data" "$port"
        python3 "$here/make_bucket.py" "$bucket" --server-pid "$pid" && break
        show_log "$folder"
        # Another program may have taken the port first: worth another try if the server has stopped by itself.
        if ((try == 3)) || kill -0 "$pid" 2>/dev/null; then die "MinIO did not start"; fi
    done

    export NO_PROXY=127.0.0.1${NO_PROXY:+,$NO_PROXY}
    local status=0
    "$@" || status=$?
    if ! kill -0 "$pid" 2>/dev/null; then
        say "MinIO has stopped meanwhile"
        show_log "$folder"
        ((status)) || status=1
    fi
    exit "$status"
}

verb=${1:-}
shift || usage
case $verb in
    start) start "$@" ;;
    run) run "$@" ;;
    env)
        find_started || die "it is not running: infra/minio.sh start"
        client_env http "$(<"$home/port")"
        ;;
    stop)
        find_started || { say "it is not running"; exit 0; }
        stop_server
        rm -f "$home/pid" "$home/port"
        say "stopped, the data stays in place"
        ;;
    *) usage ;;
esac
