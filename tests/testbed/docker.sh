#!/usr/bin/env bash
# The Docker engine that tests share, with the test images in it.
#
#   docker.sh up      prints where it answers and what the images are called
#   docker.sh down    stops it, if it was started here
#
# An engine that answers already is used as it is. Otherwise one is started by hand, as on a machine
# where nothing starts services. Tests may run containers in it and have to remove them. Whoever wants to
# stop, fill or break an engine, or needs a Swarm, starts one of their own: engine.sh.
. "$(dirname "$(readlink -f "$0")")/lib.sh"
. "$(dirname "$(readlink -f "$0")")/images.sh"

own=$testbed/shared-engine

up() {
    local host=${DOCKER_HOST:-unix:///var/run/docker.sock}
    case $host in
    unix://*) ;;
    *) die "DOCKER_HOST is $host; the tests need an engine on this machine, by its socket" ;;
    esac
    local socket=${host#unix://}
    need docker docker.io
    if ! answers "$socket"; then
        start "$socket"
    elif ! recall "$own/pid" >/dev/null; then
        say "using the engine that runs here already"
    fi
    load_images "$socket"
    printf 'ENGINE=%s\n' "$socket"
    tell_images
}

start() {
    [ "$(id -u)" = 0 ] || die "no engine answers at $1, and only root can start one"
    need dockerd docker.io
    need iptables iptables
    mkdir -p "$own"
    # The variable keeps it from asking a registry for each task of a Swarm service.
    DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=1 setsid nohup dockerd -H "unix://$1" >>"$own/log" 2>&1 </dev/null 9>&- &
    remember "$own/pid" $!
    until_true 60 answers "$1" || { tail -5 "$own/log" >&2; die "the engine that was started does not answer"; }
    say "started an engine at $1"
}

mkdir -p "$testbed"
case ${1:-} in
up) one_at_a_time docker && up ;;
down) one_at_a_time docker && end "$own/pid" 30 ;;
*) usage ;;
esac
