#!/usr/bin/env bash
# A private registry: it gives images only to those who know its password.
#
#   registry.sh up NAME [--engine ENGINE]    on this machine's loopback, or beside one of engine.sh's engines
#   registry.sh down NAME
#   registry.sh down --all
#
# Prints REGISTRY (host:port), USERNAME, PASSWORD_FILE and IMAGE. IMAGE is the plain test image; the engine itself
# no longer has it under that name, so that whoever wants it has to ask the registry.
. "$(dirname "$(readlink -f "$0")")/lib.sh"
. "$(dirname "$(readlink -f "$0")")/images.sh"

registries=$testbed/registries

# where DIR COMMAND...: runs a command where the registry's address means something, in place of this shell.
where() {
    local dir=$1
    shift
    if [ -s "$dir/namespace" ]; then exec nsenter --net="$(cat "$dir/namespace")" "$@"; else exec "$@"; fi
}

taken() (where "$1" bash -c "exec 3<>/dev/tcp/${2/:/\/}" 2>/dev/null)

# status DIR ADDRESS PASSWORD: what it says to someone with that password.
status() (
    where "$1" bash -c 'exec 3<>"/dev/tcp/${1/:/\/}" && printf "GET /v2/ HTTP/1.0\r\nAuthorization: Basic %s\r\n\r\n" "$2" >&3 &&
        read -r _ code _ <&3 && echo "$code"' bash "$2" "$(printf 'berth:%s' "$3" | base64 -w0)" 2>/dev/null
)

address_of() {
    local dir=$1 engine=$2 port=5000
    if [ -z "$engine" ]; then
        while taken "$dir" 127.0.0.1:$port; do port=$((port + 1)); done
        printf '127.0.0.1:%s\n' $port
    elif ip -n "berth-$engine" addr show wire 2>/dev/null | grep -q 10.77.0.1; then
        # Both nodes of its Swarm reach it here.
        echo 10.77.0.1:5000
    else
        echo 127.0.0.1:5000
    fi
}

up() {
    local name=$1 engine='' dir=$registries/$1 socket address password
    [ "${2:-}" != --engine ] || engine=$3
    [ "$(id -u)" = 0 ] || die "only root can start it where engines reach it"
    need docker-registry docker-registry
    need htpasswd apache2-utils
    mkdir -p "$dir"
    chmod 700 "$dir"
    [ -z "$engine" ] || echo "/run/netns/berth-$engine" >"$dir/namespace"
    socket=$testbed/engines/$engine/docker.sock
    [ -n "$engine" ] || socket=$("$(dirname "$0")/docker.sh" up | sed -n 's/^ENGINE=//p')
    if ! recall "$dir/pid" >/dev/null; then
        address=$(address_of "$dir" "$engine")
        password=$(tr -d - </proc/sys/kernel/random/uuid)
        printf %s "$password" >"$dir/password"
        htpasswd -iBc "$dir/htpasswd" berth <"$dir/password" 2>/dev/null
        echo "$address" >"$dir/address"
        cat >"$dir/config.yml" <<END
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: $dir/data}, delete: {enabled: true}}
http: {addr: "$address"}
auth: {htpasswd: {realm: berth, path: $dir/htpasswd}}
END
        where "$dir" setsid nohup docker-registry serve "$dir/config.yml" >>"$dir/log" 2>&1 </dev/null 9>&- &
        remember "$dir/pid" $!
        lets_in() { [ "$(status "$dir" "$address" "$password")" = 200 ]; }
        until_true 30 lets_in || { tail -3 "$dir/log" >&2; die "the registry does not answer"; }
        fill "$dir" "$socket" "$address"
    fi
    address=$(cat "$dir/address")
    printf '%s\n' "REGISTRY=$address" USERNAME=berth "PASSWORD_FILE=$dir/password" "IMAGE=$address/berth/plain:1"
}

# fill DIR SOCKET ADDRESS: puts the image into it, without leaving the password with the client.
fill() {
    local dir=$1 socket=$2 image=$3/berth/plain:1
    (
        export DOCKER_CONFIG=$dir/client DOCKER_HOST=unix://$socket
        # It warns of what it does with the password, which is thrown away below.
        docker login -u berth --password-stdin "$3" <"$dir/password" >/dev/null 2>&1 || die "cannot log in to $3"
        docker tag "$image_plain" "$image"
        docker push -q "$image" >/dev/null
        docker rmi "$image" >/dev/null
    ) 9>&-
    rm -rf "$dir/client"
}

case ${1:-}:${2:-} in
up:?*)
    shift
    one_at_a_time "registry-$1"
    up "$@"
    ;;
down:--all)
    for dir in "$registries"/*/; do
        [ ! -d "$dir" ] || "$0" down "$(basename "$dir")"
    done
    ;;
down:?*)
    one_at_a_time "registry-$2"
    end "$registries/$2/pid" 5
    rm -rf "${registries:?}/$2"
    ;;
*) usage ;;
esac
