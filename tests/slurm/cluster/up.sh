#!/usr/bin/env bash
# A SLURM of this machine alone, for the tests: munge, slurmctld, NODES times slurmd and, with DBD=1, accounts in a
# MariaDB. All of it listens on loopback, lies in one folder and runs as root, until down.sh.
#
#   NODES=4 CPUS=2 GPUS=2 MEM=4000 DBD=1 ENFORCE=linux tests/slurm/cluster/up.sh
#
# Each node has CPUS cores, GPUS GPUs, which are device files alone, and MEM megabytes. ENFORCE=linux kills a job that
# takes more memory than it asked for, ENFORCE=none does not. Debian: slurm-wlm slurmdbd munge mariadb-server.
set -euo pipefail
folder=${S:-${TMPDIR:-/tmp}/medsynth-slurm}
nodes=${NODES:-4} cpus=${CPUS:-2} gpus=${GPUS:-2} memory=${MEM:-4000} accounts=${DBD:-1} enforce=${ENFORCE:-linux}
host=$(hostname -s)
config=/etc/slurm/slurm.conf # where a job finds it: the plugin's job steps take SLURM_CONF out of their environment

fail() {
	echo "up.sh: $*" >&2
	exit 1
}
start() { # name, command: in the background, noted for down.sh
	setsid "${@:2}" > "$folder/log/$1" 2>&1 &
	echo "$!" > "$folder/pids/$(printf %03d "$(find "$folder/pids" -type f | wc -l)")"
}
wait_for() { # command: until it succeeds, for a minute
	for _ in $(seq 300); do
		"$@" > /dev/null 2>&1 && return
		sleep 0.2
	done
	fail "waited a minute for: $* ($folder/log)"
}
idle() { [ "$(sinfo --noheader --states=idle --format=%D)" = "$nodes" ]; }
sql() { mariadb --no-defaults --socket="$folder/sql.sock" --user=root --execute="$1"; }

case $enforce in
	linux) gather=jobacct_gather/linux$'\nJobAcctGatherFrequency=1\nJobAcctGatherParams=OverMemoryKill' ;;
	none) gather=jobacct_gather/none ;;
	*) fail "ENFORCE is $enforce, expected linux or none" ;;
esac
[ "$(id -u)" = 0 ] || fail "needs root"
[ ! -e "$folder/pids" ] || fail "$folder is there already: down.sh first"
[ ! -e "$config" ] || fail "$config is there already, of another SLURM"
clean_up() { # where it did not come up
	[ "$?" = 0 ] || { tail --lines=3 "$folder"/log/*; "$(dirname "$0")/down.sh"; }
}
trap clean_up EXIT
umask 022
mkdir -p "$folder"/{pids,log,state,sql,munge,devices} /etc/slurm
chmod 711 "$folder/munge"

# --- munge: who asks
(umask 077 && head --bytes=1024 /dev/urandom > "$folder/munge/key")
start munged munged --foreground --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
	--pid-file="$folder/munge/pid" --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
wait_for test -S "$folder/munge/socket"

# --- the nodes
storage=AccountingStorageType=accounting_storage/none
if [ "$accounts" = 1 ]; then
	storage="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=16819
AccountingStoragePass=$folder/munge/socket
AccountingStorageTRES=gres/gpu"
fi
cat > "$folder/slurm.conf" << CONF
ClusterName=medsynth
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket,cred_expire=30
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool.%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.%n.pid
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=$gather
$storage
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
SchedulerParameters=batch_sched_delay=0,bf_interval=1,sched_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=200
GresTypes=gpu
NodeName=n[1-$nodes] NodeHostname=$host NodeAddr=127.0.0.1 Port=[17001-$((17000 + nodes))] CPUs=$cpus RealMemory=$memory Gres=gpu:$gpus
PartitionName=all Nodes=ALL Default=YES MaxTime=60 DefaultTime=10
CONF
for node in $(seq "$nodes"); do
	for gpu in $(seq 0 $((gpus - 1))); do mknod "$folder/devices/n$node.$gpu" c 1 3; done
	echo "NodeName=n$node Name=gpu File=$folder/devices/n$node.[0-$((gpus - 1))]"
done > "$folder/gres.conf"
# slurmd asks for a cgroup plugin though nothing here uses one; this one wants neither a mount nor systemd.
echo CgroupPlugin=cgroup/v1 > "$folder/cgroup.conf"
ln -sfn "$folder/slurm.conf" "$config"
export SLURM_CONF=$folder/slurm.conf # of the daemons; gres.conf and slurmdbd.conf are looked for beside it

# --- accounts, for sacct
if [ "$accounts" = 1 ]; then
	mariadb-install-db --no-defaults --user=root --datadir="$folder/sql" --auth-root-authentication-method=normal \
		> "$folder/log/mariadb-install" 2>&1
	start mariadbd mariadbd --no-defaults --user=root --datadir="$folder/sql" --socket="$folder/sql.sock" \
		--bind-address=127.0.0.1 --port=13306 --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900
	wait_for sql "select 1"
	sql "create database slurm; create user slurm@'127.0.0.1', slurm@localhost; grant all on slurm.* to slurm@'127.0.0.1', slurm@localhost"
	(umask 077 && cat > "$folder/slurmdbd.conf") << CONF
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
DbdHost=$host
DbdAddr=127.0.0.1
DbdPort=16819
CommunicationParameters=NoInAddrAny
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=13306
StorageUser=slurm
StorageLoc=slurm
PidFile=$folder/slurmdbd.pid
CONF
	start slurmdbd slurmdbd -D
	wait_for timeout 5 sacctmgr --noheader list cluster
	sacctmgr --immediate add cluster medsynth > "$folder/log/sacctmgr"
	sacctmgr --immediate add account tests >> "$folder/log/sacctmgr"
	sacctmgr --immediate add user root account=tests >> "$folder/log/sacctmgr"
fi

start slurmctld slurmctld -D
for node in $(seq "$nodes"); do
	mkdir "$folder/spool.n$node"
	start "slurmd.n$node" slurmd -D -N "n$node"
done
wait_for idle
sinfo
