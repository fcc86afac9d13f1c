# shellcheck shell=bash
# What the scripts beside this file share. Sourced, never run.
#
# Whatever a script prints on standard output is KEY=value, for tests to read; words for people go to
# standard error. Everything that is kept lies in one folder, $testbed.
set -euo pipefail
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
umask 022

testbed=${BERTH_TESTBED:-${TMPDIR:-/tmp}/berth-testbed}

# The images, made here from this machine's own programs. No registry is ever asked for them.
image_plain=berth-test/plain:1     # busybox as sh, and a user called "someone"
image_bash=berth-test/bash:1       # the same with bash
image_bare=berth-test/bare:1       # a few programs and no shell

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }
usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }

# one_at_a_time WHAT: the rest of this script has WHAT for itself, whoever else wants it now.
one_at_a_time() {
    mkdir -p "$testbed/locks"
    exec 9>"$testbed/locks/$1"
    flock -w 300 9 || die "another test has been busy with $1 for five minutes"
}

# need PROGRAM PACKAGE: installs the Debian package where the program is missing.
need() {
    command -v "$1" >/dev/null && return
    [ "$(id -u)" = 0 ] || die "$1 is missing and only root can install $2"
    command -v apt-get >/dev/null || die "$1 is missing; please install it (in Debian: $2)"
    say "installing $2"
    # In a subshell, because the caller may hold a lock of its own.
    (
        exec 8>"$testbed/locks/apt" && flock 8
        command -v "$1" >/dev/null && exit
        # Packaged services must not start by themselves.
        guard=
        if [ ! -e /usr/sbin/policy-rc.d ]; then
            guard=/usr/sbin/policy-rc.d
            printf '#!/bin/sh\nexit 101\n' >$guard
            chmod 755 $guard
        fi
        export DEBIAN_FRONTEND=noninteractive
        install=(apt-get -qy -o DPkg::Lock::Timeout=300 install --no-install-recommends "$2")
        log=$testbed/apt.log
        "${install[@]}" >"$log" 2>&1 8>&- 9>&- </dev/null ||
            { apt-get -q update >>"$log" 2>&1 && "${install[@]}" >>"$log" 2>&1; } 8>&- 9>&- </dev/null ||
            failed=1
        [ -z "$guard" ] || rm -f "$guard"
        [ -z "${failed:-}" ] || { tail -5 "$log" >&2; exit 1; }
    ) || die "$2 cannot be installed"
}

# A process is known by its number and its start together. Prints its start; nothing when it is gone,
# or a zombie that nobody has collected yet.
start_of() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    # The name before the last bracket may hold anything.
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    [ "$1" = Z ] || printf '%s\n' "${20}"
}

# remember FILE PID
remember() { printf '%s %s\n' "$2" "$(start_of "$2")" >"$1"; }

# recall FILE: the process's number, if that very process is still there.
recall() {
    local pid start
    [ -s "$1" ] || return 1
    read -r pid start <"$1"
    [ -n "$start" ] && [ "$(start_of "$pid")" = "$start" ] && printf '%s\n' "$pid"
}

# until_true SECONDS COMMAND...
until_true() {
    local tries=$(($1 * 10))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1
    done
}

# end FILE SECONDS: ends a remembered process, by force when it takes longer.
end() {
    local pid
    pid=$(recall "$1") || { rm -f "$1"; return 0; }
    kill -TERM "$pid" 2>/dev/null || true
    # One that a test has stopped hears nothing.
    kill -CONT "$pid" 2>/dev/null || true
    until_true "$2" eval "! recall '$1'" || { say "process $pid does not end; killing it"; kill -KILL "$pid" || true; }
    until_true 5 eval "! recall '$1'" || true
    rm -f "$1"
}

# engine SOCKET ARGUMENT...: the docker client, on that engine, never for ever.
engine() {
    local socket=$1
    shift
    DOCKER_CONFIG=$testbed/client DOCKER_HOST=unix://$socket timeout -k 5 120 docker "$@" 9>&-
}

answers() { DOCKER_CONFIG=$testbed/client timeout -k 1 10 docker -H "unix://$1" version 9>&- >/dev/null 2>&1; }

# taken PORT: whether somebody listens there.
taken() (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null

# secret FILE: a new one, for nobody else to read.
secret() { tr -d '\n-' </proc/sys/kernel/random/uuid >"$1" && chmod 600 "$1"; }

# certificates DIR: an authority, the server's certificate, and an authority that has nothing to do with it.
certificates() {
    local dir=$1 authority
    [ ! -s "$dir/server.pem" ] || return 0
    printf '%s\n' '[req]' 'distinguished_name = name' '[name]' >"$dir/request.cnf"
    for authority in ca other-ca; do
        openssl req -config "$dir/request.cnf" -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
            -subj "/CN=$authority of tests" -days 30 -addext basicConstraints=critical,CA:TRUE \
            -addext keyUsage=critical,keyCertSign -keyout "$dir/$authority-key.pem" -out "$dir/$authority.pem" 2>/dev/null
    done
    openssl req -config "$dir/request.cnf" -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server \
        -keyout "$dir/server-key.pem" -out "$dir/server.csr" 2>/dev/null
    openssl x509 -req -in "$dir/server.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca-key.pem" -CAcreateserial -days 30 \
        -extfile <(printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n') \
        -out "$dir/server.pem" 2>/dev/null
    chmod 600 "$dir"/*-key.pem
}
