#!/usr/bin/env bash
# A directory of a test's own: OpenLDAP on this machine's loopback, with people and groups in it.
#
#   ldap.sh up NAME [--owner PID]   starts it; again: starts what has died, on the same data and port
#       --owner   take it down at some later "up" when this process has gone
#   ldap.sh stop NAME               ends the server and keeps the data
#   ldap.sh down NAME               ends it and leaves nothing behind
#   ldap.sh down --all              all of them
#
# Prints PLAIN and SECURE (addresses for ldap:// and ldaps://; the first takes StartTLS), BASE, ADMIN,
# ADMIN_PASSWORD_FILE, READER, READER_PASSWORD_FILE (an entry that may read), CA, OTHER_CA and PID. Nobody reads
# without an entry of their own. People: ann (the account nobody, 65534), lea (21001) and max (21002).
. "$(dirname "$(readlink -f "$0")")/lib.sh"

directories=$testbed/directories
base=dc=berth,dc=test

# ports DIR: two that are free, and that nobody else is given meanwhile.
ports() {
    local dir=$1 port=13389 plain=
    [ ! -s "$dir/ports" ] || return 0
    while :; do
        if ! taken $port && ! grep -qsw $port "$directories"/*/ports; then
            if [ -z "$plain" ]; then plain=$port; else break; fi
        fi
        port=$((port + 1))
    done
    echo "$plain $port" >"$dir/ports"
}

configuration() {
    local dir=$1
    cat <<END
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb.la
moduleload memberof.la
pidfile $dir/slapd.pid
argsfile $dir/slapd.args
TLSCACertificateFile $dir/ca.pem
TLSCertificateFile $dir/server.pem
TLSCertificateKeyFile $dir/server-key.pem
sizelimit unlimited
database mdb
maxsize 67108864
suffix "$base"
rootdn "cn=admin,$base"
rootpw $(slappasswd -h '{SSHA}' -T "$dir/admin-password")
directory $dir/data
index objectClass,uid,uidNumber,gidNumber,memberUid,member eq
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to * by users read by anonymous auth by * none
END
}

person() { # name number group
    printf '%s\n' "dn: uid=$1,ou=people,$base" 'objectClass: inetOrgPerson' 'objectClass: posixAccount' "uid: $1" \
        "cn: $1" "sn: $1" "mail: $1@berth.test" "uidNumber: $2" "gidNumber: $3" "homeDirectory: /home/$1" ''
}

people() {
    printf '%s\n' "dn: $base" 'objectClass: dcObject' 'objectClass: organization' 'o: tests' 'dc: berth' ''
    for unit in people groups elsewhere; do
        printf '%s\n' "dn: ou=$unit,$base" 'objectClass: organizationalUnit' "ou: $unit" ''
    done
    printf '%s\n' "dn: cn=reader,$base" 'objectClass: organizationalRole' 'objectClass: simpleSecurityObject' \
        'cn: reader' "userPassword: $(slappasswd -h '{SSHA}' -T "$1/reader-password")" ''
    person ann 65534 65534
    person lea 21001 21000
    person max 21002 21000
    printf '%s\n' "dn: cn=lab,ou=groups,$base" 'objectClass: posixGroup' 'cn: lab' 'gidNumber: 21000' ''
    printf '%s\n' "dn: cn=genomes,ou=groups,$base" 'objectClass: posixGroup' 'cn: genomes' 'gidNumber: 21010' \
        'memberUid: lea' 'memberUid: max' 'memberUid: ann' ''
    printf '%s\n' "dn: cn=admins,ou=groups,$base" 'objectClass: groupOfNames' 'cn: admins' \
        "member: uid=lea,ou=people,$base" ''
    # Another server, which does not exist.
    printf '%s\n' "dn: ou=far,ou=people,$base" 'objectClass: referral' 'objectClass: extensibleObject' 'ou: far' \
        'ref: ldap://127.0.0.1:1/ou=far,dc=berth,dc=test' ''
}

up() {
    local name=$1 dir=$directories/$1 plain secure
    [ "$(id -u)" = 0 ] || die "only root can start it"
    [ "${2:-}" != --owner ] || sweep
    need slapd slapd
    need ldapadd ldap-utils
    need openssl openssl
    mkdir -p "$dir"
    chmod 700 "$dir"
    [ "${2:-}" != --owner ] || remember "$dir/owner" "$3"
    (one_at_a_time ports && ports "$dir")
    read -r plain secure <"$dir/ports"
    certificates "$dir"
    if [ ! -d "$dir/data" ]; then
        mkdir -p "$dir/data"
        secret "$dir/admin-password"
        secret "$dir/reader-password"
        configuration "$dir" >"$dir/slapd.conf"
    fi
    if ! recall "$dir/pid" >/dev/null; then
        setsid nohup slapd -d 0 -f "$dir/slapd.conf" -h "ldap://127.0.0.1:$plain ldaps://127.0.0.1:$secure" \
            >>"$dir/log" 2>&1 </dev/null 9>&- &
        remember "$dir/pid" $!
        as_admin() { ldapwhoami -x -H "ldap://127.0.0.1:$plain" -D "cn=admin,$base" -y "$dir/admin-password"; }
        until_true 30 as_admin || { tail -3 "$dir/log" >&2; die "the directory does not answer"; }
    fi
    if [ ! -e "$dir/filled" ]; then
        people "$dir" | ldapadd -x -M -H "ldap://127.0.0.1:$plain" -D "cn=admin,$base" -y "$dir/admin-password" >/dev/null
        touch "$dir/filled"
    fi
    printf '%s\n' "PLAIN=ldap://127.0.0.1:$plain" "SECURE=ldaps://127.0.0.1:$secure" "BASE=$base" \
        "ADMIN=cn=admin,$base" "ADMIN_PASSWORD_FILE=$dir/admin-password" "READER=cn=reader,$base" \
        "READER_PASSWORD_FILE=$dir/reader-password" "CA=$dir/ca.pem" "OTHER_CA=$dir/other-ca.pem" \
        "PID=$(recall "$dir/pid")"
}

down() {
    end "$directories/$1/pid" 5
    rm -rf "${directories:?}/$1"
}

# sweep: takes down those whose owner has gone.
sweep() {
    local dir
    for dir in "$directories"/*/; do
        if [ -s "$dir/owner" ] && ! recall "$dir/owner" >/dev/null; then down "$(basename "$dir")"; fi
    done
}

mkdir -p "$directories"
case ${1:-}:${2:-} in
up:?*)
    shift
    one_at_a_time "ldap-$1"
    up "$@"
    ;;
stop:?*) one_at_a_time "ldap-$2" && end "$directories/$2/pid" 5 ;;
down:--all)
    for dir in "$directories"/*/; do
        [ ! -d "$dir" ] || "$0" down "$(basename "$dir")"
    done
    ;;
down:?*) one_at_a_time "ldap-$2" && down "$2" ;;
*) usage ;;
esac
