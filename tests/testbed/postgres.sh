#!/usr/bin/env bash
# PostgreSQL of a test's own, on this machine's loopback.
#
#   postgres.sh up NAME [--owner PID] [--quick]   starts it; again: starts what has died, on the same data and port
#       --owner   take it down at some later "up" when this process has gone
#       --quick   what it says is stored may be lost when the machine stops, which no test lets it do
#   postgres.sh database NAME DATABASE            makes an empty database in it, which belongs to "berth"
#   postgres.sh drop NAME DATABASE                removes one, whoever uses it
#   postgres.sh stop NAME                         ends the server at once, as a crash does, and keeps the data
#   postgres.sh down NAME                         ends it and leaves nothing behind
#   postgres.sh down --all                        all of them
#
# Prints PORT, PASSWORD_FILE (of the role "berth", which every connection over the network needs), CA, OTHER_CA,
# SOCKET (a folder; over it the role "postgres" needs no password) and PID.
. "$(dirname "$(readlink -f "$0")")/lib.sh"

servers=$testbed/postgres

# ports DIR: one that is free, and that nobody else is given meanwhile.
ports() {
    local dir=$1 port=15432
    [ ! -s "$dir/port" ] || return 0
    while taken $port || grep -qsx $port "$servers"/*/port; do port=$((port + 1)); done
    echo $port >"$dir/port"
}

# programs: the folder with the newest version's.
programs() { find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -1; }

as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups -- "$@" 9>&-; }

sql() { # DIR, then arguments of psql
    local dir=$1
    shift
    psql -qAt -X -v ON_ERROR_STOP=1 -h "$dir/run" -p "$(cat "$dir/port")" -U postgres -d postgres "$@"
}

make() {
    local dir=$1 bin=$2
    certificates "$dir"
    secret "$dir/password"
    install -d -m 700 -o postgres -g postgres "$dir/data" "$dir/run"
    install -m 600 -o postgres -g postgres "$dir/server-key.pem" "$dir/run/server-key.pem"
    # From a folder that the other user can enter.
    (cd / && as_postgres "$bin/initdb" -D "$dir/data" -U postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 \
        --no-sync) >"$dir/initdb.log" 2>&1 || { tail -3 "$dir/initdb.log" >&2; die "initdb failed"; }
    printf '%s\n' 'local all all trust' 'host all all 127.0.0.1/32 scram-sha-256' >"$dir/data/pg_hba.conf"
}

start() {
    local dir=$1 bin=$2 port
    port=$(cat "$dir/port")
    local settings=(-c listen_addresses=127.0.0.1 -c port="$port" -c unix_socket_directories="$dir/run"
        -c max_connections=300 -c ssl=on -c ssl_cert_file="$dir/server.pem" -c ssl_key_file="$dir/run/server-key.pem")
    [ ! -e "$dir/quick" ] || settings+=(-c fsync=off -c full_page_writes=off)
    rm -f "$dir/data/postmaster.pid"
    # A process of its own that becomes the server, so that its number is known.
    (cd / && exec setsid nohup setpriv --reuid=postgres --regid=postgres --init-groups -- \
        "$bin/postgres" -D "$dir/data" "${settings[@]}") >>"$dir/log" 2>&1 </dev/null 9>&- &
    remember "$dir/pid" $!
    until_true 60 sql "$dir" -c 'select 1' || { tail -3 "$dir/log" >&2; die "PostgreSQL does not answer"; }
}

up() {
    local name=$1 dir=$servers/$1 bin
    shift
    [ "$(id -u)" = 0 ] || die "only root can start it"
    sweep
    need psql postgresql
    need openssl openssl
    bin=$(programs)
    [ -x "$bin/postgres" ] || die "the server's programs are not in /usr/lib/postgresql"
    mkdir -p "$dir"
    # The server's user has to come through.
    chmod 711 "$testbed" "$servers" "$dir"
    while [ $# -gt 0 ]; do
        case $1 in
        --owner) remember "$dir/owner" "$2" && shift 2 ;;
        --quick) touch "$dir/quick" && shift ;;
        *) usage ;;
        esac
    done
    (one_at_a_time ports && ports "$dir")
    [ -d "$dir/data" ] || make "$dir" "$bin"
    recall "$dir/pid" >/dev/null || start "$dir" "$bin"
    if [ ! -e "$dir/filled" ]; then
        sql "$dir" -c "create role berth login password '$(cat "$dir/password")'"
        touch "$dir/filled"
    fi
    printf '%s\n' "PORT=$(cat "$dir/port")" "PASSWORD_FILE=$dir/password" "CA=$dir/ca.pem" \
        "OTHER_CA=$dir/other-ca.pem" "SOCKET=$dir/run" "PID=$(recall "$dir/pid")"
}

# Its children notice that it has gone, and go too.
stop() {
    local pid
    pid=$(recall "$servers/$1/pid") || return 0
    kill -QUIT "$pid" 2>/dev/null || true
    kill -CONT "$pid" 2>/dev/null || true
    end "$servers/$1/pid" 10
}

down() {
    stop "$1"
    rm -rf "${servers:?}/$1"
}

# sweep: takes down those whose owner has gone.
sweep() {
    local dir
    for dir in "$servers"/*/; do
        if [ -s "$dir/owner" ] && ! recall "$dir/owner" >/dev/null; then down "$(basename "$dir")"; fi
    done
}

mkdir -p "$servers"
case ${1:-}:${2:-} in
up:?*)
    shift
    one_at_a_time "postgres-$1"
    up "$@"
    ;;
database:?*) sql "$servers/$2" -c "create database \"$3\" owner berth" ;;
drop:?*) sql "$servers/$2" -c "drop database if exists \"$3\" with (force)" ;;
stop:?*) one_at_a_time "postgres-$2" && stop "$2" ;;
down:--all)
    for dir in "$servers"/*/; do
        [ ! -d "$dir" ] || "$0" down "$(basename "$dir")"
    done
    ;;
down:?*) one_at_a_time "postgres-$2" && down "$2" ;;
*) usage ;;
esac
