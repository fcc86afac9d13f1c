#!/usr/bin/env bash
# The policies that ship with Berth, and the bad ones that its tests need, as components.
#
#   guests.sh build   builds them into plugins/dist and tests/guests/dist, and writes the manifests there
#   guests.sh check   fails when one's sources are not those that it was built from; and, where the
#                     compiler is the one that it was built with, when building it again gives other bytes
#
# CARGO_TARGET_DIR says where cargo puts what is in between. The toolchain: see wasm-toolchain.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

TARGET=wasm32-unknown-unknown
OUT=${CARGO_TARGET_DIR:-$PWD/target}

toolchain() { scripts/wasm-toolchain.sh "$@"; }
ledger() { cargo run --quiet --locked -p berth-dist -- "$@"; }

compile() {   # all guests in one go; lines of `package artifact destination` on standard input
    local packages=() package rest exports
    while read -r package rest; do packages+=(-p "$package"); done
    cargo fetch --quiet --locked   # the flags name the folders that this makes
    exports=$(toolchain env)
    ( eval "$exports"
      # They would stand in for the target's own flags.
      unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET
      cargo build --locked --profile guest --target $TARGET --target-dir "$OUT" "${packages[@]}" )
}

build() {
    local guests package artifact destination
    toolchain setup
    guests=$(ledger list)
    compile <<<"$guests"
    rm -f plugins/dist/*.wasm tests/guests/dist/*.wasm
    while read -r package artifact destination; do
        mkdir -p "$(dirname "$destination")"
        cp "$OUT/$TARGET/guest/$artifact" "$destination"
    done <<<"$guests"
    mapfile -t names < <(toolchain name)
    ledger write "${names[@]}"
}

check() {
    local guests package artifact destination differ=0
    ledger check
    toolchain setup
    mapfile -t names < <(toolchain name)
    if ! ledger same-toolchain "${names[@]}"; then
        echo "guests: built with another compiler than ${names[*]}; bytes not compared"
        return
    fi
    guests=$(ledger list)
    compile <<<"$guests"
    while read -r package artifact destination; do
        cmp "$OUT/$TARGET/guest/$artifact" "$destination" || differ=1
    done <<<"$guests"
    [ $differ = 0 ] || { echo "guests: other bytes; run scripts/guests.sh build" >&2; exit 1; }
    echo "guests: the same bytes"
}

case "${1:-}" in
    build | check) "$1" ;;
    *) sed -n '2,/^set /p' "$0" | sed '/^set /d; s/^# \{0,1\}//'; exit 2 ;;
esac
