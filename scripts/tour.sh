#!/usr/bin/env bash
# Runs the README's tour as a reader would paste it, in an empty folder with an empty home.
#
#   tour.sh FOLDER    the folder that `berth` is in
set -euo pipefail
berth=$(cd "${1:?the folder that berth is in}" && pwd)
readme=$(cd "$(dirname "$0")/.." && pwd)/README.md
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
awk '/^<!-- tour -->/ {tour=1} tour && /^```$/ {exit} tour && !/^```|^<!--/ {print}' "$readme" > "$place/tour.sh"
[ -s "$place/tour.sh" ] || { echo "the README has no tour"; exit 1; }
mkdir "$place/home" "$place/here"
cd "$place/here"
env -u BERTH_SERVER HOME="$place/home" XDG_STATE_HOME="$place/home/state" PATH="$berth:$PATH" \
    timeout 300 bash -euo pipefail "$place/tour.sh" | tee "$place/out" || {
    echo "the tour failed; the server's words were:"
    cat serve.log 2>/dev/null || true
    exit 1
}
expect() { grep -qF -- "$1" "$place/out" || { echo "the tour did not print: $1"; exit 1; }; }
expect hello
expect "exit code 3"
expect "I am job"
expect "task 33 of 30 to 36"
expect "waits for job"
echo "the tour holds"
