# To be sourced: sets TIER_BIN to the last build in CARGO_TARGET_DIR, where it is not set.
if [[ -z ${TIER_BIN:-} ]]; then
    target=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tier/target}
    TIER_BIN=$(ls -t "$target"/{release,debug}/tier 2>/dev/null | head -n 1 || true)
    [[ -n $TIER_BIN ]] || {
        echo "$(basename "$0"): no binary in $target: cargo build --release, or set TIER_BIN" >&2
        exit 1
    }
fi
