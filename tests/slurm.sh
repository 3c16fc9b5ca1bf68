#!/usr/bin/env bash
# A Slurm of one node on this machine, in a folder of its own, until this script is told to end.
#
#   tests/slurm.sh FOLDER          says "ready" when jobs can be submitted with SLURM_CONF=FOLDER/slurm.conf
#
# Needs root and Debian's slurm-wlm, which brings munge. No control groups, no database of jobs, no systemd.
set -euo pipefail
folder=$(realpath "$1")
user=$(id -un)
port=$((20000 + RANDOM % 10000))
mkdir -p "$folder"/{state,spool,munge}
chmod 755 "$folder"
trap 'trap - EXIT; kill $(jobs -p) 2>/dev/null; wait' EXIT
trap 'exit 0' INT TERM

dd if=/dev/urandom of="$folder/munge/key" bs=1024 count=1 status=none
chmod 700 "$folder/munge"
chmod 600 "$folder/munge/key"

cat >"$folder/slurm.conf" <<END
ClusterName=one
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=$user
SlurmdUser=$user
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
# A job that goes back into the queue waits for as long as a credential may live.
AuthInfo=socket=$folder/munge/socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=node NodeHostname=$(hostname) NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000 State=UNKNOWN
PartitionName=low Nodes=node Default=YES MaxTime=60 PriorityTier=1
PartitionName=high Nodes=node MaxTime=60 PriorityTier=2
END
export SLURM_CONF="$folder/slurm.conf"

munged --foreground --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
    --pid-file="$folder/munge/pid" --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" \
    >"$folder/munged.log" 2>&1 &
while [ ! -S "$folder/munge/socket" ]; do sleep 0.1; kill -0 $!; done
slurmctld -D -c >"$folder/slurmctld.log" 2>&1 &
slurmd -D -N node >"$folder/slurmd.log" 2>&1 &
until [ "$(sinfo --noheader --partition low --format %T 2>/dev/null)" = idle ]; do
    sleep 0.2
    [ "$(jobs -rp | wc -l)" = 3 ] || exit 1
done
echo ready
wait -n
exit 1
