#!/usr/bin/env bash
# A Grid Engine cell of a test's own, with everything on this machine's loopback: one host, the queues
# all.q and short.q, the parallel environment smp, and memory and a resource "gpu" that jobs use up.
#
#   sge.sh up NAME [--owner PID] [--slots N]   starts it; again: starts what has died, on the same spool
#       --owner   take it down at some later "up" when this process has gone
#       --slots   how many slots all.q has (64); short.q has one
#   sge.sh stop NAME                           ends the master and keeps the cell; jobs go on
#   sge.sh down NAME                           ends it with its jobs and leaves nothing behind
#   sge.sh down --all                          all of them
#
# Prints SGE_ROOT, SGE_CELL, SGE_QMASTER_PORT, SGE_EXECD_PORT, BINARIES and MASTER (the master's process). The cell that
# the packages may have made is left alone. Every account may submit jobs, root excepted.
. "$(dirname "$(readlink -f "$0")")/lib.sh"

cells=$testbed/cells
binaries=/usr/lib/gridengine
host=$(hostname)

taken() (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null

# ports DIR: two that are free, and that nobody else is given meanwhile.
ports() {
    local dir=$1 port=16444 master=
    [ ! -s "$dir/ports" ] || return 0
    while :; do
        if ! taken $port && ! grep -qsw $port "$cells"/*/ports; then
            if [ -z "$master" ]; then master=$port; else break; fi
        fi
        port=$((port + 1))
    done
    echo "$master $port" >"$dir/ports"
}

packages() {
    # Without these answers the packages ask, or make a cell under /var/lib.
    [ -e $binaries/sge_qmaster ] || printf '%s\n' 'gridengine-common shared/gridengineconfig boolean false' \
        'gridengine-common shared/gridenginecell string default' \
        'gridengine-common shared/gridenginemaster string localhost' | debconf-set-selections
    need $binaries/sge_qmaster gridengine-master
    need $binaries/sge_execd gridengine-exec
    need $binaries/qsub gridengine-client
    need cc gcc
}

# shim DIR: the daemons know no address to listen at. This one, for them alone, makes "any" mean loopback.
shim() {
    cat >"$1/loopback.c" <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
/* What they start is not to have it. */
__attribute__((constructor)) static void alone(void) { unsetenv("LD_PRELOAD"); }
int bind(int fd, const struct sockaddr *address, socklen_t size) {
    int (*real)(int, const struct sockaddr *, socklen_t) =
        (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "bind");
    struct sockaddr_in inner;
    if (address && address->sa_family == AF_INET && size >= sizeof inner) {
        inner = *(const struct sockaddr_in *)address;
        if (inner.sin_addr.s_addr == htonl(INADDR_ANY)) inner.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return real(fd, (struct sockaddr *)&inner, sizeof inner);
    }
    return real(fd, address, size);
}
END
    cc -shared -fPIC -O1 -o "$1/loopback.so" "$1/loopback.c" -ldl
}

# in_cell DIR COMMAND...
in_cell() {
    local dir=$1 master exec
    shift
    read -r master exec <"$dir/ports"
    env SGE_ROOT="$dir/top" SGE_CELL=test SGE_QMASTER_PORT="$master" SGE_EXECD_PORT="$exec" \
        timeout -k 1 "${patience:-20}" "$@" 9>&-
}

as_admin() {
    local dir=$1
    shift
    in_cell "$dir" setpriv --reuid sgeadmin --regid sgeadmin --clear-groups "$@"
}

# make_cell DIR: the files of a cell that has never run.
make_cell() {
    local dir=$1 common=$1/top/test/common
    mkdir -p "$common" "$dir/spool/qmaster/job_scripts" "$dir/spool/execd" "$dir/spool/db"
    local part
    for part in util bin lib utilbin; do ln -sfn "/var/lib/gridengine/$part" "$dir/top/$part"; done
    # Names are compared at every connection. All of this machine's are one, whatever /etc/hosts says.
    printf 'localhost %s\n' "$host" >"$common/host_aliases"
    echo localhost >"$common/act_qmaster"
    printf '%s\n' 'admin_user sgeadmin' 'default_domain none' 'ignore_fqdn true' 'spooling_method berkeleydb' \
        'spooling_lib libspoolb' "spooling_params $dir/spool/db" 'binary_path /usr/sbin' \
        "qmaster_spool_dir $dir/spool/qmaster" 'security_mode none' 'listener_threads 2' 'worker_threads 2' \
        'scheduler_threads 1' >"$common/bootstrap"
    # Accounts are told at once, and no mail leaves.
    sed -e "s@^execd_spool_dir .*@execd_spool_dir $dir/spool/execd@" -e 's@^min_uid .*@min_uid 1@' \
        -e 's@^min_gid .*@min_gid 1@' -e 's@^mailer .*@mailer /bin/true@' \
        -e 's@^load_report_time .*@load_report_time 00:00:05@' \
        -e 's@^reporting_params .*@reporting_params accounting=true reporting=false flush_time=00:00:01 accounting_flush_time=00:00:00 joblog=false sharelog=00:00:00@' \
        -e 's@^execd_params .*@execd_params ENABLE_ADDGRP_KILL=true@' \
        /usr/share/gridengine/default-configuration >"$dir/configuration"
    chown -R sgeadmin:sgeadmin "$dir/top" "$dir/spool"
    as_admin "$dir" $binaries/spoolinit berkeleydb libspoolb "$dir/spool/db" init
    as_admin "$dir" $binaries/spooldefaults configuration "$dir/configuration"
    as_admin "$dir" $binaries/spooldefaults complexes /usr/share/gridengine/util/resources/centry
    as_admin "$dir" $binaries/spooldefaults usersets /usr/share/gridengine/util/resources/usersets
    as_admin "$dir" $binaries/spooldefaults managers sgeadmin
}

queue() { # name slots
    printf '%s\n' "qname $1" 'hostlist @allhosts' 'seq_no 0' 'load_thresholds NONE' 'suspend_thresholds NONE' 'nsuspend 1' \
        'suspend_interval 00:05:00' 'priority 0' 'min_cpu_interval 00:05:00' 'processors UNDEFINED' \
        'qtype BATCH INTERACTIVE' 'ckpt_list NONE' 'pe_list smp' 'rerun FALSE' "slots $2" 'tmpdir /tmp' 'shell /bin/sh' \
        'prolog NONE' 'epilog NONE' 'shell_start_mode unix_behavior' 'starter_method NONE' 'suspend_method NONE' \
        'resume_method NONE' 'terminate_method NONE' 'notify 00:00:05' 'owner_list NONE' 'user_lists NONE' \
        'xuser_lists NONE' 'subordinate_list NONE' 'complex_values NONE' 'projects NONE' 'xprojects NONE' \
        'calendar NONE' 'initial_state default'
    local limit
    for limit in rt cpu fsize data stack core rss vmem; do printf '%s INFINITY\n' "s_$limit" "h_$limit"; done
}

# settle_cell DIR SLOTS: what a site's administrator would set up.
settle_cell() {
    local dir=$1 slots=$2 memory
    q() { as_admin "$dir" $binaries/qconf "$@" >>"$dir/qconf.log" 2>&1; }
    in_cell "$dir" $binaries/qconf -ssconf | sed -E -e 's@^schedule_interval .*@schedule_interval 0:0:1@' \
        -e 's@^flush_(submit|finish)_sec .*@flush_\1_sec 1@' -e 's@^schedd_job_info .*@schedd_job_info true@' \
        -e 's@^load_formula .*@load_formula slots@' -e 's@^job_load_adjustments .*@job_load_adjustments NONE@' \
        -e 's@^load_adjustment_decay_time .*@load_adjustment_decay_time 0:0:0@' >"$dir/scheduler"
    q -Msconf "$dir/scheduler"
    # A default of 0 would be enforced, and end every job that asks for no memory.
    memory=$(awk '/^MemTotal/ { printf "%d", $2 / 1024 }' /proc/meminfo)
    in_cell "$dir" $binaries/qconf -sc | awk -v each="$((memory / (slots + 1)))M" '
        /^#/ { next }
        $1 == "h_vmem" { $6 = "YES"; $7 = each }
        { print }
        END { print "gpu gpu INT <= YES YES 0 0" }' >"$dir/complexes"
    q -Mc "$dir/complexes"
    q -mattr exechost complex_values "h_vmem=${memory}M,gpu=1" localhost
    printf '%s\n' 'group_name @allhosts' 'hostlist localhost' >"$dir/group"
    q -Ahgrp "$dir/group"
    printf '%s\n' 'pe_name smp' "slots $slots" 'user_lists NONE' 'xuser_lists NONE' 'start_proc_args NONE' \
        'stop_proc_args NONE' 'allocation_rule $pe_slots' 'control_slaves FALSE' 'job_is_first_task TRUE' \
        'urgency_slots min' 'accounting_summary FALSE' 'qsort_args NONE' >"$dir/pe"
    q -Ap "$dir/pe"
    printf '%s\n' 'name genomics' 'oticket 0' 'fshare 0' 'acl NONE' 'xacl NONE' >"$dir/project"
    q -Aprj "$dir/project"
    queue all.q "$slots" >"$dir/all.q"
    queue short.q 1 >"$dir/short.q"
    q -Aq "$dir/all.q"
    q -Aq "$dir/short.q"
}

start() { # DIR NAME PROGRAM
    recall "$1/$2.pid" >/dev/null && return
    local master exec
    read -r master exec <"$1/ports"
    # SGE_ND: it stays what was started, and does not go into the background.
    SGE_ND=true SGE_ROOT=$1/top SGE_CELL=test SGE_QMASTER_PORT=$master SGE_EXECD_PORT=$exec LD_PRELOAD=$1/loopback.so \
        setsid nohup "$3" >/dev/null 2>>"$1/$2.log" </dev/null 9>&- &
    remember "$1/$2.pid" $!
}

up() {
    local name=$1 dir=$cells/$1 owner= slots=64 master exec
    shift
    while [ $# -gt 0 ]; do
        case $1 in
        --owner) owner=$2 && shift 2 ;;
        --slots) slots=$2 && shift 2 ;;
        *) usage ;;
        esac
    done
    [ "$(id -u)" = 0 ] || die "only root can start it"
    [ -z "$owner" ] || sweep
    packages
    mkdir -p "$dir"
    # Its daemons are another user's.
    chmod 755 "$testbed" "$cells" "$dir"
    [ -z "$owner" ] || remember "$dir/owner" "$owner"
    (one_at_a_time ports && ports "$dir")
    [ -e "$dir/made" ] || {
        rm -rf "$dir/top" "$dir/spool"
        make_cell "$dir" >"$dir/make.log" 2>&1 || { tail -3 "$dir/make.log" >&2; die "the cell cannot be made"; }
        shim "$dir"
        touch "$dir/made"
    }
    start "$dir" qmaster $binaries/sge_qmaster
    patience=5 until_true 30 in_cell "$dir" $binaries/qconf -sh || { tail -3 "$dir/qmaster.log" >&2; die "the master does not answer"; }
    if [ ! -e "$dir/settled" ]; then
        as_admin "$dir" $binaries/qconf -ah localhost >>"$dir/qconf.log" 2>&1 || true
        as_admin "$dir" $binaries/qconf -as localhost >>"$dir/qconf.log" 2>&1
        as_admin "$dir" $binaries/qconf -am root >>"$dir/qconf.log" 2>&1 || true
    fi
    start "$dir" execd $binaries/sge_execd
    registered() { in_cell "$dir" $binaries/qconf -sel | grep -qx localhost; }
    until_true 30 registered || { tail -3 "$dir/execd.log" >&2; die "the host does not come up"; }
    if [ ! -e "$dir/settled" ]; then
        settle_cell "$dir" "$slots" || { tail -3 "$dir/qconf.log" >&2; die "the cell cannot be set up"; }
        touch "$dir/settled"
    fi
    # Its queues take jobs from the host's first report on.
    usable() { in_cell "$dir" $binaries/qstat -f | awk '/^all\.q@/ && NF == 5 { ok = 1 } END { exit !ok }'; }
    until_true 60 usable || { in_cell "$dir" $binaries/qstat -f >&2; die "all.q does not become usable"; }
    read -r master exec <"$dir/ports"
    printf '%s\n' "SGE_ROOT=$dir/top" SGE_CELL=test "SGE_QMASTER_PORT=$master" "SGE_EXECD_PORT=$exec" \
        "BINARIES=$binaries" "MASTER=$(recall "$dir/qmaster.pid")"
}

down() {
    local dir=$cells/$1 process
    # Running jobs first: their host's daemon has to live to end them.
    if [ -e "$dir/settled" ] && recall "$dir/qmaster.pid" >/dev/null && recall "$dir/execd.pid" >/dev/null; then
        patience=5 as_admin "$dir" $binaries/qdel -u '*' >/dev/null 2>&1 || true
        idle() { [ -z "$(patience=5 in_cell "$dir" $binaries/qstat -u '*' -s rs 2>/dev/null)" ]; }
        until_true 8 idle || true
    fi
    end "$dir/execd.pid" 5
    end "$dir/qmaster.pid" 10
    # What would not end: only processes that have this very cell in their environment.
    for process in "$dir"/spool/execd/*/active_jobs/*/pid "$dir"/spool/execd/*/active_jobs/*/job_pid; do
        [ -s "$process" ] || continue
        process=$(cat "$process")
        ! grep -qzsx "SGE_ROOT=$dir/top" "/proc/$process/environ" || kill -KILL "$process" 2>/dev/null || true
    done
    rm -rf "${dir:?}"
}

# sweep: takes down those whose owner has gone.
sweep() {
    local dir
    for dir in "$cells"/*/; do
        if [ -s "$dir/owner" ] && ! recall "$dir/owner" >/dev/null; then down "$(basename "$dir")"; fi
    done
}

mkdir -p "$cells"
case ${1:-}:${2:-} in
up:?*)
    shift
    one_at_a_time "sge-$1"
    up "$@"
    ;;
stop:?*) one_at_a_time "sge-$2" && end "$cells/$2/qmaster.pid" 10 ;;
down:--all)
    for dir in "$cells"/*/; do
        [ ! -d "$dir" ] || "$0" down "$(basename "$dir")"
    done
    ;;
down:?*) one_at_a_time "sge-$2" && down "$2" ;;
*) usage ;;
esac
