# Sets root, the project; to be sourced.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Builds `tier` and these examples for release and sets TIER_BENCH_BIN to a folder with them, unless it is set already.
build() { # EXAMPLE…
    [[ -z ${TIER_BENCH_BIN:-} ]] || return 0
    export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tier/target}
    (cd "$root" && cargo build --release --bin tier "${@/#/--example=}")
    export TIER_BENCH_BIN=${XDG_CACHE_HOME:-$HOME/.cache}/tier/bench-bin
    mkdir -p "$TIER_BENCH_BIN"
    ln -sf "$CARGO_TARGET_DIR/release/tier" "${@/#/$CARGO_TARGET_DIR/release/examples/}" "$TIER_BENCH_BIN"
}
