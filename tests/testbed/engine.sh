#!/usr/bin/env bash
# Engines of a test's own, that it may stop, fill and break. They share nothing with the machine's engine
# or with each other but the kernel: each has its own socket, data, containerd and network namespace.
#
#   engine.sh up NAME [--swarm] [--worker] [--disk SIZE] [--owner PID]
#       --swarm   make it the manager of a Swarm
#       --worker  ... that a second engine has joined, as another node
#       --disk    keep its data on a file system of this size, such as 64m
#       --live-restore   its containers go on while it is away (not for a Swarm)
#       --tls     it listens on port 2376 of its own loopback, too, over TLS, and takes only those whom it knows
#       --pull    ask registries for the images of a Swarm's tasks, as engines do without a setting
#       --owner   take it down at some later "up" when this process has gone
#   engine.sh down NAME        ends it and everything in it, and leaves nothing behind
#   engine.sh down --all       all of them
#
# "up" again starts what has died meanwhile, on the same data. Prints KEY=value: ENGINE and PID, WORKER and
# WORKER_PID (sockets and the daemons' processes), TLS (a folder with certificates) and the names of the images.
. "$(dirname "$(readlink -f "$0")")/lib.sh"
. "$(dirname "$(readlink -f "$0")")/images.sh"

engines=$testbed/engines
# The two nodes' addresses on the wire between them. Each Swarm has a wire of its own.
manager_address=10.77.0.1 worker_address=10.77.0.2

namespace() { printf 'berth-%s\n' "$1"; }

# certificates DIR: an authority with the engine's certificate and a client's, and a stranger's of both kinds.
certificates() {
    local dir=$1 authority
    [ ! -s "$dir/stranger.pem" ] || return 0
    mkdir -p "$dir"
    printf '%s\n' '[req]' 'distinguished_name = name' '[name]' >"$dir/request.cnf"
    # request FILE NAME: a new key, and a request for a certificate with that name.
    request() {
        openssl req -config "$dir/request.cnf" -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" \
            -keyout "$dir/$1-key.pem" -out "$dir/$1.csr" 2>/dev/null
    }
    # sign FILE EXTENSIONS OPTION...: makes a certificate of the request.
    sign() {
        local file=$1 extensions=$2
        shift 2
        openssl x509 -req -in "$dir/$file.csr" -out "$dir/$file.pem" -days 30 \
            -extfile <(printf '%b' "$extensions") "$@" 2>/dev/null
    }
    by() { printf '%s\n' -CA "$dir/$1.pem" -CAkey "$dir/$1-key.pem" -CAcreateserial; }
    for authority in ca other-ca; do
        request $authority "$authority of tests"
        sign $authority 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n' \
            -signkey "$dir/$authority-key.pem"
    done
    request server engine
    # shellcheck disable=SC2046
    sign server 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' $(by ca)
    request client berth
    # shellcheck disable=SC2046
    sign client 'extendedKeyUsage=clientAuth\n' $(by ca)
    request stranger stranger
    # shellcheck disable=SC2046
    sign stranger 'extendedKeyUsage=clientAuth\n' $(by other-ca)
    chmod 600 "$dir"/*-key.pem
}

# start NAME: the daemon, if it is not there.
start() {
    local name=$1 dir=$engines/$1 ns
    ns=$(namespace "$name")
    mkdir -p "$dir"
    ip netns list | grep -qw "^$ns" || { ip netns add "$ns" && ip -n "$ns" link set lo up; }
    if ! recall "$dir/pid" >/dev/null; then
        # A daemon that was killed leaves these. It would wait for a containerd that is a zombie now.
        rm -f "$dir/docker.pid" "$dir/docker.sock" "$dir/exec/containerd/containerd.pid"
        echo "{\"live-restore\": ${live:-false}}" >"$dir/daemon.json"
        local more=()
        [ ! -d "$dir/tls" ] || more=(-H tcp://127.0.0.1:2376 --tlsverify --tlscacert "$dir/tls/ca.pem"
            --tlscert "$dir/tls/server.pem" --tlskey "$dir/tls/server-key.pem")
        # Not "ip netns exec": it would hide the control groups. The host's name is the node's in a Swarm.
        DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=${offline:-1} setsid nohup nsenter --net="/run/netns/$ns" unshare --uts \
            sh -c 'hostname "$1"; shift; exec "$@"' sh "$name" \
            dockerd --config-file "$dir/daemon.json" --data-root "$dir/data" --exec-root "$dir/exec" \
            --pidfile "$dir/docker.pid" -H "unix://$dir/docker.sock" --insecure-registry 10.77.0.0/24 "${more[@]}" \
            >>"$dir/log" 2>&1 </dev/null 9>&- &
        remember "$dir/pid" $!
    fi
    until_true 60 answers "$dir/docker.sock" || { tail -5 "$dir/log" >&2; die "engine $name does not answer"; }
    load_images "$dir/docker.sock"
}

limit_disk() {
    local data=$engines/$1/data
    mkdir -p "$data"
    mountpoint -q "$data" || mount -t tmpfs -o "size=$2,mode=711" berth-testbed "$data"
}

# wire MANAGER WORKER: one cable from namespace to namespace.
wire() {
    local one two
    one=$(namespace "$1") two=$(namespace "$2")
    ip -n "$one" link show wire >/dev/null 2>&1 && return
    ip link add wire netns "$one" type veth peer name wire netns "$two"
    ip -n "$one" addr add $manager_address/24 dev wire
    ip -n "$two" addr add $worker_address/24 dev wire
    ip -n "$one" link set wire up
    ip -n "$two" link set wire up
    # Without a way out, looking up names fails at once instead of waiting.
    ip -n "$two" route add default via $manager_address
}

swarm_state() { engine "$engines/$1/docker.sock" info -f '{{.Swarm.LocalNodeState}}'; }

make_swarm() {
    [ "$(swarm_state "$1")" = active ] && return
    engine "$engines/$1/docker.sock" swarm init --advertise-addr "$2" >/dev/null
}

join() {
    local manager=$engines/$1/docker.sock worker=$engines/$2/docker.sock token
    if [ "$(swarm_state "$2")" != active ]; then
        token=$(engine "$manager" swarm join-token -q worker)
        engine "$worker" swarm join --token "$token" --advertise-addr $worker_address $manager_address:2377 >/dev/null
    fi
    node=$(engine "$worker" info -f '{{.Swarm.NodeID}}')
    ready() { [ "$(engine "$manager" node inspect -f '{{.Status.State}}' "$node")" = ready ]; }
    until_true 60 ready || die "node $2 does not become ready"
}

up() {
    local name=$1 swarm='' worker='' disk='' owner='' tls=''
    shift
    # The name is a host's, and its worker is called after it.
    [[ $name =~ ^[a-z0-9][a-z0-9-]{0,39}$ && $name != *-w ]] || die "an engine cannot be called $name"
    while [ $# -gt 0 ]; do
        case $1 in
        --swarm) swarm=1 ;;
        --worker) worker=1 swarm=1 ;;
        --disk) disk=$2 && shift ;;
        --live-restore) live=true ;;
        --tls) tls=1 ;;
        --pull) offline=0 ;;
        --owner) owner=$2 && shift ;;
        *) usage ;;
        esac
        shift
    done
    [ "$(id -u)" = 0 ] || die "only root can start engines"
    need docker docker.io
    need dockerd docker.io
    need iptables iptables
    need ip iproute2
    mkdir -p "$engines/$name"
    [ -z "$owner" ] || remember "$engines/$name/owner" "$owner"
    [ -z "$disk" ] || limit_disk "$name" "$disk"
    if [ -n "$tls" ]; then
        need openssl openssl
        certificates "$engines/$name/tls"
    fi
    start "$name"
    local address=127.0.0.1
    if [ -n "$worker" ]; then
        address=$manager_address
        mkdir -p "$engines/$name-w"
        start "$name-w"
        wire "$name" "$name-w"
    fi
    [ -z "$swarm" ] || make_swarm "$name" $address
    [ -z "$worker" ] || join "$name" "$name-w"
    printf 'ENGINE=%s\nPID=%s\n' "$engines/$name/docker.sock" "$(recall "$engines/$name/pid")"
    [ -z "$worker" ] || printf 'WORKER=%s\nWORKER_PID=%s\n' "$engines/$name-w/docker.sock" "$(recall "$engines/$name-w/pid")"
    [ -z "$tls" ] || printf 'TLS=%s\n' "$engines/$name/tls"
    tell_images
}

# Shims and containers outlive a daemon. Whatever lives in our namespace, and its children, is ours.
end_processes() {
    local ns pid
    ns=$(namespace "$1")
    for pid in $(ip netns pids "$ns" 2>/dev/null); do
        # shellcheck disable=SC2046
        kill -KILL $(cat "/proc/$pid/task/$pid/children" 2>/dev/null) "$pid" 2>/dev/null || true
    done
}

remove() {
    local name=$1 dir=$engines/$1 ns point running
    [ -d "$dir" ] || return 0
    ns=$(namespace "$name")
    if recall "$dir/pid" >/dev/null; then
        kill -CONT "$(recall "$dir/pid")" || true
        running=$(engine "$dir/docker.sock" ps -q 2>/dev/null) || running=
        # shellcheck disable=SC2086
        [ -z "$running" ] || engine "$dir/docker.sock" kill $running >/dev/null 2>&1 || true
        end "$dir/pid" 20
    fi
    end_processes "$name"
    if [ -e "/run/netns/$ns" ]; then ip netns del "$ns" || true; fi
    awk -v dir="$dir/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | sort -r | while read -r point; do
        umount -l "$point" || true
    done
    rm -rf "$dir" || { sleep 1 && rm -rf "$dir"; }
}

down() {
    # The worker first: without its manager it would wait.
    one_at_a_time "engine-$1"
    local lock=
    # A name with an owner is not used again; others may be waiting for this lock now.
    [ ! -s "$engines/$1/owner" ] || lock=$testbed/locks/engine-$1
    remove "$1-w"
    remove "$1"
    [ -z "$lock" ] || rm -f "$lock"
}

# Tests that were killed could not take theirs down.
sweep() {
    local dir
    for dir in "$engines"/*/; do
        [ -s "$dir/owner" ] || continue
        recall "$dir/owner" >/dev/null || "$0" down "$(basename "$dir")"
    done
}

mkdir -p "$engines" "$testbed/locks"
case ${1:-}:${2:-} in
up:?*)
    shift
    [ "$(id -u)" != 0 ] || sweep
    one_at_a_time "engine-$1"
    up "$@"
    ;;
down:--all)
    for dir in "$engines"/*/; do
        [ ! -d "$dir" ] || [[ $dir = *-w/ ]] || "$0" down "$(basename "$dir")"
    done
    ;;
down:?*) down "$2" ;;
*) usage ;;
esac
