#!/usr/bin/env bash
# Measures Berth beside xargs, bare processes, HyperQueue, bare SQLite commits and a native policy, and prints
# one table. About five minutes, once it is built; it wants the machine for itself.
#
#   tests/bench/run.sh [PART…]          parts: tasks submissions latency throughput plans containers deep
#   BERTH_BENCH_FULL=1 tests/bench/run.sh    longer, with a million pending jobs
#   BERTH_BENCH_DIR=/on/a/disk               where its files go; /var/tmp where it is not set
#
# Where many files were removed on the same disk in the last five minutes, tasks are slower on ext4: so leave
# some time between two runs.
#
# Needs cargo, a C compiler and python3. HyperQueue comes from PyPI, containers need a Docker Engine; without
# them their lines say so.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Outside the checkout, so that the next run is quick.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/berth/target}"
cargo build --release --quiet -p berth -p berth-bench

venv=$(mktemp -d "${BERTH_BENCH_DIR:-/var/tmp}/bbv.XXXXXX")
child=
clean_up() {
    if [ -n "$child" ]; then
        kill "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    rm -rf "$venv"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

install_hyperqueue() {
    command -v python3 >/dev/null || return 1
    python3 -m venv "$venv/v" && "$venv/v/bin/pip" install --quiet --disable-pip-version-check hyperqueue
}
wanted=" $* "
if [ $# -eq 0 ] || [[ "$wanted" == *" tasks "* ]]; then
    if install_hyperqueue >"$venv/log" 2>&1; then
        export BERTH_BENCH_PYTHON="$venv/v/bin/python"
    else
        echo "hyperqueue could not be installed: $(tail -n 1 "$venv/log")" >&2
    fi
fi
if [ $# -eq 0 ] || [[ "$wanted" == *" containers "* ]]; then
    if engine=$(tests/testbed/docker.sh up 2>"$venv/log"); then
        BERTH_BENCH_ENGINE=$(sed -n 's/^ENGINE=//p' <<<"$engine")
        export BERTH_BENCH_ENGINE
    else
        echo "no Docker Engine: $(tail -n 1 "$venv/log")" >&2
    fi
fi

export BERTH_BENCH_PROGRAM="$CARGO_TARGET_DIR/release/berth" BERTH_BENCH_CHECKOUT="$PWD"
"$CARGO_TARGET_DIR/release/berth-bench" "$@" &
child=$!
code=0
wait "$child" || code=$?
child=
exit "$code"
