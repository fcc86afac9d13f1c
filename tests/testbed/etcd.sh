#!/usr/bin/env bash
# etcd of a test's own: one member, on this machine's loopback.
#
#   etcd.sh up NAME [--owner PID] [--secure]   starts it; again: starts what has died, on the same data and ports
#       --owner    take it down at some later "up" when this process has gone
#       --secure   over TLS only, and only for the user "berth", who may do everything below "berth/"
#   etcd.sh stop NAME                          ends the server and keeps the data
#   etcd.sh down NAME                          ends it and leaves nothing behind
#   etcd.sh down --all                         all of them
#
# Prints ENDPOINT, PID, PASSWORD_FILE, CA and OTHER_CA.
. "$(dirname "$(readlink -f "$0")")/lib.sh"

servers=$testbed/etcd

# ports DIR: two that are free, and that nobody else is given meanwhile.
ports() {
    local dir=$1 port=12379 client=
    [ ! -s "$dir/ports" ] || return 0
    while :; do
        if ! taken $port && ! grep -qsw $port "$servers"/*/ports; then
            if [ -z "$client" ]; then client=$port; else break; fi
        fi
        port=$((port + 1))
    done
    echo "$client $port" >"$dir/ports"
}

scheme() { if [ -e "$1/secure" ]; then echo https; else echo http; fi; }

ask() { # DIR, then arguments of etcdctl
    local dir=$1 port
    shift
    read -r port _ <"$dir/ports"
    ETCDCTL_API=3 timeout 10 etcdctl --endpoints "$(scheme "$dir")://127.0.0.1:$port" --cacert "$dir/ca.pem" "$@" 9>&-
}

start() {
    local dir=$1 client peer options=()
    read -r client peer <"$dir/ports"
    [ ! -e "$dir/secure" ] || options=(--cert-file "$dir/server.pem" --key-file "$dir/server-key.pem")
    local url
    url=$(scheme "$dir")://127.0.0.1:$client
    setsid nohup etcd --name testbed --data-dir "$dir/data" --listen-client-urls "$url" --advertise-client-urls "$url" \
        --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
        --initial-cluster "testbed=http://127.0.0.1:$peer" --initial-cluster-state new --logger zap --log-level warn \
        "${options[@]}" >>"$dir/log" 2>&1 </dev/null 9>&- &
    remember "$dir/pid" $!
    # Healthy or not for whom, it answers.
    until_true 30 bash -c "exec 3<>/dev/tcp/127.0.0.1/$client" || { tail -3 "$dir/log" >&2; die "etcd does not answer"; }
    [ -e "$dir/filled" ] || until_true 30 ask "$dir" endpoint health || die "etcd does not become healthy"
}

close_doors() {
    local dir=$1 password
    password=$(cat "$dir/password")
    ask "$dir" user add "root:$password" && ask "$dir" user grant-role root root
    ask "$dir" role add berth && ask "$dir" role grant-permission berth --prefix=true readwrite berth/
    ask "$dir" user add "berth:$password" && ask "$dir" user grant-role berth berth
    ask "$dir" auth enable
}

up() {
    local name=$1 dir=$servers/$1
    shift
    mkdir -p "$dir"
    chmod 700 "$dir"
    while [ $# -gt 0 ]; do
        case $1 in
        --owner) sweep && remember "$dir/owner" "$2" && shift 2 ;;
        --secure) touch "$dir/secure" && shift ;;
        *) usage ;;
        esac
    done
    need etcd etcd-server
    need etcdctl etcd-client
    need openssl openssl
    certificates "$dir"
    [ -s "$dir/password" ] || secret "$dir/password"
    (one_at_a_time ports && ports "$dir")
    recall "$dir/pid" >/dev/null || start "$dir"
    if [ ! -e "$dir/filled" ]; then
        [ ! -e "$dir/secure" ] || close_doors "$dir" >/dev/null || die "etcd's users cannot be made"
        touch "$dir/filled"
    fi
    local client
    read -r client _ <"$dir/ports"
    printf '%s\n' "ENDPOINT=$(scheme "$dir")://127.0.0.1:$client" "PID=$(recall "$dir/pid")" \
        "PASSWORD_FILE=$dir/password" "CA=$dir/ca.pem" "OTHER_CA=$dir/other-ca.pem"
}

down() {
    end "$servers/$1/pid" 5
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
    one_at_a_time "etcd-$1"
    up "$@"
    ;;
stop:?*) one_at_a_time "etcd-$2" && end "$servers/$2/pid" 5 ;;
down:--all)
    for dir in "$servers"/*/; do
        [ ! -d "$dir" ] || "$0" down "$(basename "$dir")"
    done
    ;;
down:?*) one_at_a_time "etcd-$2" && down "$2" ;;
*) usage ;;
esac
