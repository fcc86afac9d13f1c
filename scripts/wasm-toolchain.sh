#!/usr/bin/env bash
# The compiler and linker for policies: Rust for wasm32-unknown-unknown, leaving finished components.
#
#   wasm-toolchain.sh setup   makes it ready; a second time finds everything there
#   wasm-toolchain.sh env     prints `export …` lines for cargo
#   wasm-toolchain.sh name    prints which compiler and which std, on two lines
#
# The standard library comes from `rustup target add` where that works, else it is built once from the
# Debian packages rustc-web and rust-web-src (root, for the first time). The target has no WASI on purpose: a
# policy has no clock, no files, no network and no randomness of its own.
#
#   BERTH_WASM_CACHE     where it is kept (default: ~/.cache/berth-wasm)
#   BERTH_WASM_DEBIAN=1  does not try rustup
set -euo pipefail

TARGET=wasm32-unknown-unknown
CACHE=${BERTH_WASM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/berth-wasm}
COMPONENT_LD=0.5.31   # only where rustup has not brought one

say() { printf 'wasm-toolchain: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

rustup_tools() {   # the folder in which rustup's toolchain keeps its linkers
    command -v rustup >/dev/null 2>&1 || return 1
    local rustc
    rustc=$(rustup which rustc 2>/dev/null) || return 1
    printf '%s/lib/rustlib/%s/bin\n' "$("$rustc" --print sysroot)" "$("$rustc" -vV | sed -n 's/^host: //p')"
}

install() {
    [ "$(id -u)" = 0 ] || die "Debian packages are missing; run once as root: apt-get install $*"
    say "apt-get install $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y --no-install-recommends "$@" >"$CACHE/apt.log" 2>&1 && return
    apt-get update >>"$CACHE/apt.log" 2>&1 || true
    apt-get install -y --no-install-recommends "$@" >>"$CACHE/apt.log" 2>&1 || {
        tail -n 20 "$CACHE/apt.log" >&2
        die "apt-get install failed: $*"
    }
}

# --- the standard library -----------------------------------------------------------

debian_version() {   # of Debian's rustc, if the source of its std is there too
    [ -x /usr/bin/rustc ] || return 1
    local version
    version=$(/usr/bin/rustc --version | awk '{print $2}')
    [ -d "/usr/src/rustc-$version/library/vendor" ] || return 1
    printf '%s\n' "$version"
}

cut_manifests() {   # $1: a copy of library/. Leaves what std needs, for which the vendored crates suffice
    local crate
    awk '/^members = \[/ {print "members = [\"std\"]"; skip = 1; next} skip {if (/^\]/) skip = 0; next} {print}' \
        "$1/Cargo.toml" >"$1/cut" && mv "$1/cut" "$1/Cargo.toml"
    for crate in std backtrace; do
        awk '/^\[/ {skip = /dev-dependencies/} !skip' "$1/$crate/Cargo.toml" >"$1/cut"
        mv "$1/cut" "$1/$crate/Cargo.toml"
    done
    # As a dynamic library too, cargo would give it no hash in its name.
    sed -i 's/^crate-type = \["dylib", "rlib"\]/crate-type = ["rlib"]/' "$1/std/Cargo.toml"
    sed -i '/^cc = /d; s/^c = \["dep:cc"\]/c = []/' "$1/compiler-builtins/compiler-builtins/Cargo.toml"
}

build_std() {   # $1: a copy of library/, $2: the folder for the output, $3: the version
    ( cd "$1"
      # force-unstable-if-unmarked is what rustc's own build passes for the dependencies of std.
      env -u CARGO_ENCODED_RUSTFLAGS -u CARGO_TARGET_DIR -u CARGO_BUILD_TARGET \
          RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUSTC_WRAPPER= \
          RUSTFLAGS="-Zforce-unstable-if-unmarked -Cembed-bitcode=yes --remap-path-prefix=$1=/rustc/$3/library" \
          CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 CARGO_PROFILE_RELEASE_DEBUG=0 \
          cargo build --release --offline --target $TARGET --target-dir "$2" -p std -p panic_abort \
              --config 'source.crates-io.replace-with="vendored"' \
              --config "source.vendored.directory=\"$1/vendor\"" >"$CACHE/std.log" 2>&1
    ) || { tail -n 30 "$CACHE/std.log" >&2; die "the standard library did not build; see $CACHE/std.log"; }
}

setup_debian() {
    local version root work host
    version=$(debian_version) || { install rustc-web rust-web-src; version=$(debian_version); } \
        || die "rustc-web and rust-web-src are of different versions"
    command -v cargo >/dev/null 2>&1 || install cargo-web
    root=$CACHE/sysroot-$version
    host=$(/usr/bin/rustc -vV | sed -n 's/^host: //p')
    if [ ! -e "$root/complete" ]; then
        say "building the standard library $version for $TARGET, once"
        work=$(mktemp -d "$CACHE/work.XXXXXX")
        cp -r "/usr/src/rustc-$version/library" "$work/library"
        cut_manifests "$work/library"
        build_std "$work/library" "$work/target" "$version"
        rm -rf "$root"
        mkdir -p "$root/lib/rustlib/$TARGET/lib"
        cp "$work/target/$TARGET/release/deps/"*.rlib "$root/lib/rustlib/$TARGET/lib/"
        # Build scripts and macros still need the host's own.
        ln -s "$(/usr/bin/rustc --print sysroot)/lib/rustlib/$host" "$root/lib/rustlib/$host"
        rm -rf "$work"
        touch "$root/complete"
    fi
    printf '#!/bin/sh\nexec /usr/bin/rustc --sysroot "%s" "$@"\n' "$root" >"$CACHE/bin/rustc"
    chmod +x "$CACHE/bin/rustc"
    echo debian >"$CACHE/std"
}

# --- the linker ---------------------------------------------------------------------

wasm_ld() {
    local tools
    if tools=$(rustup_tools) && [ -x "$tools/gcc-ld/wasm-ld" ]; then
        printf '%s/gcc-ld/wasm-ld\n' "$tools"
        return
    fi
    command -v wasm-ld-22 || command -v wasm-ld-19
}

component_ld() {
    local tools
    if tools=$(rustup_tools) && [ -x "$tools/wasm-component-ld" ]; then
        printf '%s/wasm-component-ld\n' "$tools"
    elif [ -x "$CACHE/bin/wasm-component-ld" ]; then
        printf '%s/bin/wasm-component-ld\n' "$CACHE"
    else
        return 1
    fi
}

setup_linker() {
    wasm_ld >/dev/null || install lld-22 || install lld-19
    component_ld >/dev/null || {
        say "cargo install wasm-component-ld $COMPONENT_LD"
        env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS -u CARGO_BUILD_TARGET \
            cargo install --quiet --locked --root "$CACHE" "wasm-component-ld@$COMPONENT_LD"
    }
    # What rustc passes comes first: wasm-component-ld knows its `-flavor wasm` only there.
    printf '#!/bin/sh\nexec "%s" "$@" --wasm-ld-path "%s"\n' "$(component_ld)" "$(wasm_ld)" >"$CACHE/bin/guest-ld"
    chmod +x "$CACHE/bin/guest-ld"
}

# --- commands -----------------------------------------------------------------------

setup() {
    mkdir -p "$CACHE/bin"
    if [ -z "${BERTH_WASM_DEBIAN:-}" ] && command -v rustup >/dev/null 2>&1 &&
        rustup target add $TARGET >"$CACHE/rustup.log" 2>&1; then
        rm -f "$CACHE/bin/rustc"
        echo rustup >"$CACHE/std"
    else
        setup_debian
    fi
    setup_linker
}

compiler() {   # the one that is used; without a wrapper, cargo finds its own
    if [ -x "$CACHE/bin/rustc" ]; then echo "$CACHE/bin/rustc"; else rustup which rustc; fi
}

flags() {   # no path of this machine in the output, so that the bytes are the same everywhere
    local root cargo_home sources
    root=$(cd "$(dirname "$0")/.." && pwd -P)
    cargo_home=${CARGO_HOME:-$HOME/.cargo}
    # Of several that fit, the last one counts.
    printf -- '--remap-path-prefix=%s=/berth --remap-path-prefix=%s=/cargo' "$root" "$cargo_home"
    for sources in "$cargo_home"/registry/src/*/; do
        [ ! -d "$sources" ] || printf -- ' --remap-path-prefix=%s=/crates' "${sources%/}"
    done
}

case "${1:-}" in
    setup) setup ;;
    env)
        [ -x "$CACHE/bin/guest-ld" ] || die "run '$0 setup' first"
        [ ! -x "$CACHE/bin/rustc" ] || echo "export RUSTC='$CACHE/bin/rustc'"
        echo "export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER='$CACHE/bin/guest-ld'"
        echo "export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS='$(flags)'"
        ;;
    name)
        "$(compiler)" --version
        cat "$CACHE/std"
        ;;
    *) sed -n '2,/^set /p' "$0" | sed '/^set /d; s/^# \{0,1\}//'; exit 2 ;;
esac
