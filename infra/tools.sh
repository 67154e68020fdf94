#!/usr/bin/env bash
# Installs what the tests and a local setup need, outside the checkout. Quick when it is already there.
#
#   infra/tools.sh            everything
#   infra/tools.sh minio      the MinIO server, built with Go (a few minutes the first time); prints its path
#   infra/tools.sh mc         the MinIO client, built with Go; prints its path
#   infra/tools.sh readers    a Python venv with DuckDB, Polars and pyarrow; prints the path of its python
#   infra/tools.sh delta-readers  a Python venv with deltalake, Polars and DuckDB with its delta extension; prints the
#                             path of its python
#   infra/tools.sh catalog-peers  a Python venv with deltalake and DuckLake, for infra/bench/catalog.sh. Not part of
#                             everything.
#   infra/tools.sh datafusion-cli  DataFusion's own program, built with cargo (15 minutes), for infra/bench/query.sh; prints
#                             its path. Not part of everything.
#   infra/tools.sh moto       a Python venv with moto, which refuses as S3 Glacier does; prints the path of its python
#   infra/tools.sh cassandra  Apache Cassandra, fetched with Maven (66 MB); prints the folder of its jars
#   infra/tools.sh cqlsh      a Python venv with cqlsh, which asks Cassandra; prints the path of its python, and
#                             PYTHON -m cqlshlib 127.0.0.1 9042  starts it. Not part of everything.
#   infra/tools.sh spark, jdk  Python venvs with PySpark, and with Java 25 for Trino, for infra/delta_engines.sh. Not part
#                             of everything.
#   infra/tools.sh java       installs nothing: prints the path of Java 17, which Cassandra needs
#
# They go to $TIER_TOOLS_DIR, by default ~/.cache/tier/tools. Names carry the version, so a new pin installs beside the
# old one. An install is built in a temporary folder and renamed when complete: a killed one is never taken for finished.
set -euo pipefail

MINIO_VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
MC_VERSION=v0.0.0-20250313080218-cf909e1063a9
DATAFUSION_CLI_VERSION=55.2.0
CASSANDRA_VERSION=5.0.9
MAVEN_DEPENDENCY_PLUGIN_VERSION=3.8.1

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${TIER_TOOLS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tier/tools}
building=

say() { echo "tools: $*" >&2; }
die() { say "$*"; exit 1; }
trap 'if [[ -n $building ]]; then chmod -R u+w "$building"; rm -rf "$building"; fi' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

new_building_folder() {
    mkdir -p "$tools"
    building=$(mktemp -d "$tools/.building.XXXXXX")
}

install_go_program() { # NAME VERSION
    local name=$1-$2
    if [[ ! -x $tools/$name ]]; then
        command -v go >/dev/null || die "$1 is built with Go, which is not on PATH: install it from https://go.dev/dl"
        say "building $1 $2, this takes a few minutes"
        new_building_folder
        GOBIN=$building CGO_ENABLED=0 nice go install -trimpath -ldflags='-s -w' \
            "github.com/minio/$1@$2" >&2 || die "go install of $1 failed, see above"
        mv -f "$building/$1" "$tools/$name"
        rmdir "$building"
        building=
    fi
    echo "$tools/$name"
}

install_datafusion_cli() {
    local name=datafusion-cli-$DATAFUSION_CLI_VERSION
    if [[ ! -x $tools/$name ]]; then
        command -v cargo >/dev/null || die "datafusion-cli is built with cargo: install Rust from https://rustup.rs"
        say "building $name, this takes a quarter of an hour"
        new_building_folder
        CARGO_TARGET_DIR=$building/target nice cargo install --locked --quiet --root "$building" \
            "datafusion-cli@$DATAFUSION_CLI_VERSION" >&2 || die "cargo install of $name failed, see above"
        mv -f "$building/bin/datafusion-cli" "$tools/$name"
        rm -rf "$building"
        building=
    fi
    echo "$tools/$name"
}

install_venv() { # NAME REQUIREMENTS PROGRAM
    command -v python3 >/dev/null || die "$1 need Python 3.10 or newer: install python3"
    python3 -c 'import ensurepip, venv' 2>/dev/null ||
        die "this python3 cannot make a venv: install its venv module (Debian: apt-get install python3-venv)"
    local name
    name=$(python3 - "$1" "$here/$2" <<'PY'
import hashlib, sys
pins = hashlib.sha256(open(sys.argv[2], "rb").read()).hexdigest()[:12]
print(f"{sys.argv[1]}-py{sys.version_info.major}.{sys.version_info.minor}-{pins}")
PY
    )
    if [[ ! -x $tools/$name/bin/$3 ]]; then
        say "installing what $2 names into a venv"
        new_building_folder
        python3 -m venv "$building/$name"
        "$building/$name/bin/python" -m pip install --quiet --disable-pip-version-check \
            --requirement "$here/$2" >&2 || die "pip install of $2 failed, see above"
        # Fails when a second install has finished meanwhile; then that one is used.
        mv "$building/$name" "$tools/" 2>/dev/null || [[ -x $tools/$name/bin/$3 ]] || die "rename $tools/$name: failed"
        rm -rf "$building"
        building=
    fi
    echo "$tools/$name/bin/$3"
}

# Cassandra 5.0 runs on 17 and not on what came after it.
find_java() {
    local java
    for java in "${JAVA_HOME:+$JAVA_HOME/bin/java}" "$(command -v java)" /usr/lib/jvm/java-17-*/bin/java; do
        [[ -x $java && $("$java" -version 2>&1) == *'version "17.'* ]] || continue
        echo "$java"
        return
    done
    die "Cassandra needs Java 17: install it (Debian: apt-get install openjdk-17-jre-headless) and set JAVA_HOME"
}

install_cassandra() {
    local name=cassandra-$CASSANDRA_VERSION
    if [[ ! -d $tools/$name ]]; then
        find_java >/dev/null
        command -v mvn >/dev/null || die "Cassandra is fetched with Maven, which is not on PATH: install maven"
        say "fetching Cassandra $CASSANDRA_VERSION"
        new_building_folder
        cat >"$building/pom.xml" <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tier</groupId>
  <artifactId>cassandra</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.cassandra</groupId>
      <artifactId>cassandra-all</artifactId>
      <version>$CASSANDRA_VERSION</version>
    </dependency>
  </dependencies>
</project>
XML
        nice mvn --quiet --batch-mode --strict-checksums -Dstyle.color=never --file "$building/pom.xml" \
            "org.apache.maven.plugins:maven-dependency-plugin:$MAVEN_DEPENDENCY_PLUGIN_VERSION:copy-dependencies" \
            -DincludeScope=runtime -DoutputDirectory="$building/$name" >&2 || die "Maven failed, see above"
        # As for a venv: a second install may have finished meanwhile.
        mv "$building/$name" "$tools/" 2>/dev/null || [[ -d $tools/$name ]] || die "rename $tools/$name: failed"
        rm -rf "$building"
        building=
    fi
    echo "$tools/$name"
}

install_minio() { install_go_program minio "$MINIO_VERSION"; }
install_mc() { install_go_program mc "$MC_VERSION"; }
install_readers() { install_venv readers requirements.txt python; }
install_delta_readers() { install_venv delta-readers requirements-delta.txt python; }
# Their python, not moto_server or cqlsh: scripts of a venv name the folder that it was built in.
install_moto() { install_venv moto requirements-moto.txt python; }
install_cqlsh() { install_venv cqlsh requirements-cqlsh.txt python; }
install_catalog_peers() { install_venv catalog-peers requirements-peers.txt python; }
install_spark() { install_venv spark requirements-spark.txt python; }
install_jdk() { install_venv jdk requirements-trino.txt python; }

case ${1:-all} in
    minio) install_minio ;;
    mc) install_mc ;;
    readers) install_readers ;;
    delta-readers) install_delta_readers ;;
    catalog-peers) install_catalog_peers ;;
    datafusion-cli) install_datafusion_cli ;;
    moto) install_moto ;;
    cassandra) install_cassandra ;;
    cqlsh) install_cqlsh ;;
    spark) install_spark ;;
    jdk) install_jdk ;;
    java) find_java ;;
    all)
        install_minio
        install_mc
        install_readers
        install_delta_readers
        install_moto
        install_cassandra
        ;;
    *) die "unknown part '$1': use minio, mc, readers, delta-readers, catalog-peers, datafusion-cli, moto, cassandra, cqlsh, spark, jdk, java, or no argument for all" ;;
esac
