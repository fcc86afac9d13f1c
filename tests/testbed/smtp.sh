#!/usr/bin/env bash
# A mail server of a test's own on this machine's loopback: it takes mail for anybody and brings it nowhere.
#
#   smtp.sh up NAME [--owner PID] [--tls start-tls|tls] [--login]
#                           starts it; again: starts it anew on the same port, with the mail it had
#       --owner   take it down at some later "up" when this process has gone
#       --tls     encrypted after a first word, or from the beginning
#       --login   only for those who log in
#   smtp.sh stop NAME       ends the server and keeps the mail
#   smtp.sh down NAME       ends it and leaves nothing behind
#   smtp.sh down --all      all of them
#
# Prints PORT, PID, MAILS (a folder with one JSON file for each mail), ANSWER (a file: "rcpt 451 later" there is what it
# answers then instead of taking mail), USER, PASSWORD_FILE, CA and OTHER_CA.
. "$(dirname "$(readlink -f "$0")")/lib.sh"

here=$(dirname "$(readlink -f "$0")")
servers=$testbed/mail

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
    openssl req -config "$dir/request.cnf" -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=mail \
        -keyout "$dir/server-key.pem" -out "$dir/server.csr" 2>/dev/null
    openssl x509 -req -in "$dir/server.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca-key.pem" -CAcreateserial -days 30 \
        -extfile <(printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n') \
        -out "$dir/server.pem" 2>/dev/null
    chmod 600 "$dir"/*-key.pem
}

up() {
    local name=$1 dir=$servers/$1 options=()
    shift
    while [ $# -gt 0 ]; do
        case $1 in
        --owner)
            sweep
            mkdir -p "$dir"
            remember "$dir/owner" "$2"
            shift 2
            ;;
        --tls)
            options+=(--tls "$2")
            shift 2
            ;;
        --login)
            options+=(--login)
            shift
            ;;
        *) usage ;;
        esac
    done
    # Which brings Debian's own Python, whatever else is called python3 here.
    need aiosmtpd python3-aiosmtpd
    need openssl openssl
    mkdir -p "$dir/mails"
    chmod 700 "$dir"
    certificates "$dir"
    if [ ! -s "$dir/password" ]; then
        tr -d '\n-' </proc/sys/kernel/random/uuid >"$dir/password"
        chmod 600 "$dir/password"
        printf '%s\n' "${options[*]:-}" >"$dir/options"
    fi
    if ! recall "$dir/pid" >/dev/null; then
        rm -f "$dir/ready"
        # As it was started first.
        # shellcheck disable=SC2046
        setsid nohup /usr/bin/python3 "$here/smtp.py" "$dir" $(cat "$dir/options") >>"$dir/log" 2>&1 </dev/null 9>&- &
        remember "$dir/pid" $!
        until_true 30 test -e "$dir/ready" || { tail -3 "$dir/log" >&2; die "the mail server does not answer"; }
    fi
    printf '%s\n' "PORT=$(cat "$dir/port")" "PID=$(recall "$dir/pid")" "MAILS=$dir/mails" "ANSWER=$dir/answer" \
        USER=berth "PASSWORD_FILE=$dir/password" "CA=$dir/ca.pem" "OTHER_CA=$dir/other-ca.pem"
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
    one_at_a_time "mail-$1"
    up "$@"
    ;;
stop:?*) one_at_a_time "mail-$2" && end "$servers/$2/pid" 5 ;;
down:--all)
    for dir in "$servers"/*/; do
        [ ! -d "$dir" ] || "$0" down "$(basename "$dir")"
    done
    ;;
down:?*) one_at_a_time "mail-$2" && down "$2" ;;
*) usage ;;
esac
