#!/usr/bin/env bash
# A throw-away Slurm cluster on the loopback of one machine, for tests: root, Debian's packages, no systemd.
#
#   cluster.sh install [none]     apt-get install what is missing ("none": without accounting)
#   cluster.sh up DIR PORT        start munged, mariadbd, slurmdbd, slurmctld, two slurmd; wait for them
#   cluster.sh up DIR PORT none   the same without accounting: sacct does not work
#   cluster.sh down DIR PORT      stop what was started with that DIR, nothing else; running it twice is fine
#   cluster.sh hold DIR PORT ...  up, say "ready", wait for the end of standard input, down, remove DIR
#
# All it writes lies in DIR (short: socket paths have a limit), it takes PORT to PORT+20, and uses a munge key
# and socket of its own: another cluster on the machine, and /etc/slurm, are left alone.
# Clients need SLURM_CONF=DIR/etc/slurm.conf.
set -euo pipefail

D=${2:-} P=${3:-} ACCT=${4:-slurmdbd}
[[ ${1:-} == install ]] && ACCT=${2:-slurmdbd}
NODES=2 CPUS=4 MEMORY=8000          # of each node, pretended, like two GPUs
CONF=$D/etc/slurm.conf
SOCKET=$D/run/munge.sock
export SLURM_CONF=$CONF

say() { echo "cluster.sh: $*" >&2; }
die() { say "$*"; exit 1; }

# alive NAME: is the pid on record under NAME still that program (PROGRAM or PROGRAM.NODE), and not a zombie?
alive() {
    local pid
    pid=$(cat "$D/pids/$1" 2>/dev/null) && [[ -n $pid ]] || return 1
    [[ $(cat "/proc/$pid/stat" 2>/dev/null) == "$pid (${1%%.*}) "[!Z]* ]]
}

# start NAME COMMAND...: a daemon in its foreground mode, in a session of its own that Ctrl-C does not reach
start() {
    local name=$1; shift
    if alive "$name"; then return 0; fi
    setsid "$@" >>"$D/log/$name.out" 2>&1 </dev/null &
    echo $! >"$D/pids/$name"
}

# wait_for SECONDS WHAT COMMAND...
wait_for() {
    local tries=$(($1 * 10)) what=$2; shift 2
    while ! "$@" >/dev/null 2>&1; do
        ((tries--)) || { tail -n 5 "$D"/log/* >&2; die "waited in vain for $what"; }
        sleep 0.1
    done
}

stop() {
    local name=$1 pid tries=100
    if alive "$name"; then
        pid=$(<"$D/pids/$name")
        kill -TERM "$pid" 2>/dev/null || true
        while alive "$name" && ((tries--)); do sleep 0.1; done
        if alive "$name"; then say "$name ignored SIGTERM"; kill -KILL "$pid" 2>/dev/null || true; fi
    fi
    rm -f "$D/pids/$name"
}

install_packages() {
    local wanted=(slurm-wlm munge) missing=() package
    [[ $ACCT == slurmdbd ]] && wanted+=(slurmdbd mariadb-server)
    for package in "${wanted[@]}"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
            missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    # Their installation starts services: not on a machine where somebody would keep them.
    [[ ! -d /run/systemd/system ]] || die "not installed: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    local get=(apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120)
    "${get[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
        { "${get[@]}" update && "${get[@]}" install -y --no-install-recommends "${missing[@]}"; } >&2
}

write_configuration() {
    local host i; host=$(hostname -s)
    cat >"$CONF" <<END
ClusterName=hm
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$P
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# cred_expire: a requeued job waits this long before it may start again (default 120 s)
AuthInfo=socket=$SOCKET,cred_expire=5
CommunicationParameters=NoCtldInAddrAny
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool/%n
SlurmctldPidFile=$D/run/slurmctld.pid
SlurmdPidFile=$D/run/slurmd.%n.pid
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd.%n.log
MailProg=/bin/true
# no cgroups: a container has no right to make any
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=$((MEMORY / CPUS))
GresTypes=gpu
# believe CPUs and RealMemory below, not the hardware
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,preempt_send_user_signal
# a job in urgent takes the place of one in main, which is told, has GraceTime seconds left, and is requeued
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=5
InactiveLimit=0
MinJobAge=300
SlurmctldTimeout=30
SlurmdTimeout=30
ReturnToService=2
PartitionName=main Nodes=hm[1-$NODES] Default=YES MaxTime=1-0 DefaultTime=30 PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes=hm[1-$NODES] MaxTime=1-0 DefaultTime=30 PriorityTier=10 PreemptMode=OFF
END
    for ((i = 1; i <= NODES; i++)); do
        echo "NodeName=hm$i NodeHostname=$host NodeAddr=127.0.0.1 Port=$((P + 10 + i))" \
            "CPUs=$CPUS RealMemory=$MEMORY Gres=gpu:2"
    done >>"$CONF"
    printf 'Name=gpu File=%s\n' /dev/null /dev/zero >"$D/etc/gres.conf"   # jobs are given GPUs and find none
    if [[ $ACCT != slurmdbd ]]; then
        echo "AccountingStorageType=accounting_storage/none" >>"$CONF"
        return
    fi
    cat >>"$CONF" <<END
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((P + 1))
AccountingStoragePass=$SOCKET
END
    # slurmdbd refuses a file that others can read
    install -m 600 /dev/stdin "$D/etc/slurmdbd.conf" <<END
AuthType=auth/munge
AuthInfo=socket=$SOCKET
DbdHost=$host
DbdAddr=127.0.0.1
DbdPort=$((P + 1))
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((P + 2))
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
LogFile=$D/log/slurmdbd.log
PidFile=$D/run/slurmdbd.pid
END
}

sql() { mariadb --no-defaults -uroot -S "$D/run/db.sock" "$@"; }

start_accounting() {
    if [[ ! -d $D/db/mysql ]]; then
        mariadb-install-db --no-defaults --datadir="$D/db" --user=root --skip-test-db \
            --auth-root-authentication-method=normal >"$D/log/install-db.out" 2>&1 ||
            { cat "$D/log/install-db.out" >&2; die "mariadb-install-db failed"; }
    fi
    start mariadbd mariadbd --no-defaults --user=root --datadir="$D/db" --socket="$D/run/db.sock" \
        --pid-file="$D/run/db.pid" --bind-address=127.0.0.1 --port=$((P + 2)) --performance-schema=0 \
        --innodb-buffer-pool-size=64M --innodb-log-file-size=32M --innodb-flush-log-at-trx-commit=0 \
        --innodb-lock-wait-timeout=900 --skip-log-bin
    wait_for 40 mariadbd sql -e "select 1"
    sql -e "create database if not exists slurm;
            create user if not exists slurm@'127.0.0.1' identified by 'slurm';
            create user if not exists slurm@localhost identified by 'slurm';
            grant all on slurm.* to slurm@'127.0.0.1'; grant all on slurm.* to slurm@localhost;"
    start slurmdbd slurmdbd -D
    wait_for 40 slurmdbd sacctmgr -n list cluster
}

nodes_ready() { (($(sinfo -h -N -p main -o %t | grep -cx idle) == NODES)); }

up() {
    local i
    mkdir -p "$D"/{etc,run,log,pids,state,db} "$D"/spool/hm{1,2}
    write_configuration
    [[ -s $D/etc/munge.key ]] || (umask 077 && head -c 128 /dev/urandom >"$D/etc/munge.key")
    # --force: munged would rather not live below /tmp
    start munged munged --foreground --force --key-file="$D/etc/munge.key" --socket="$SOCKET" \
        --seed-file="$D/run/munge.seed" --pid-file="$D/run/munged.pid" --log-file="$D/log/munged.log"
    wait_for 10 munged munge --socket="$SOCKET" -n
    [[ $ACCT != slurmdbd ]] || start_accounting
    start slurmctld slurmctld -D
    wait_for 30 slurmctld scontrol ping
    for ((i = 1; i <= NODES; i++)); do start "slurmd.hm$i" slurmd -D -N "hm$i"; done
    wait_for 30 nodes nodes_ready
}

down() {
    local name tries=100
    if alive slurmctld; then   # end its jobs first, so that none outlives its slurmd
        scancel --quiet --user=root 2>/dev/null || true
        while [[ -n $(squeue -h 2>/dev/null) ]] && ((tries--)); do sleep 0.1; done
    fi
    for name in slurmd.hm{1,2} slurmctld slurmdbd mariadbd munged; do stop "$name"; done
}

hold() {
    trap 'trap "" TERM INT; down; rm -rf "$D"' EXIT
    trap 'exit 0' TERM INT
    up
    echo ready
    exec 3<&0
    cat <&3 >/dev/null &        # in the background, because a trap waits for what runs in front
    wait $!
}

case ${1:-} in
    install) install_packages ;;
    up | down | hold) [[ -n $D && -n $P ]] || die "usage: $0 $1 DIR PORT [none]"; "$1" ;;
    *) die "usage: $0 install [none] | up DIR PORT [none] | down DIR PORT | hold DIR PORT [none]" ;;
esac
