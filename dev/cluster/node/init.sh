#!/usr/bin/env bash
# The first process of a node, in its own mount, network, UTS, IPC and PID namespaces: its mounts and processes are
# visible nowhere else and end with it.
#
#   init.sh FOLDER PROGRAMS NODE
#
# Inside the node, /run/cluster is FOLDER with the cluster's state, /run/programs the output of build.sh, and /run/node
# the folder of this script.
set -euo pipefail
folder="$1" programs="$2" node="$3"
scripts="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

mount --make-rshared / # the kubelet's mounts must reach the pods
mount -t tmpfs -o mode=755,size=512m tmpfs /run
mkdir -p /run/cluster /run/programs /run/node /run/lock /run/netns
mount --bind "$folder" /run/cluster
mount --bind "$programs" /run/programs
mount --bind "$scripts" /run/node
# Kubelet, CNI plugins and containers' logs use fixed folders of the machine: hide those.
mount -t tmpfs -o mode=755 tmpfs /var/lib
mount -t tmpfs -o mode=755 tmpfs /var/log
mkdir -p /run/cluster/kubelet /run/cluster/volumes /var/lib/kubelet /var/lib/cni
mount --bind /run/cluster/kubelet /var/lib/kubelet

mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
for controller in cpu cpuacct cpuset memory devices freezer blkio pids; do
  mkdir "/sys/fs/cgroup/$controller"
  mount -t cgroup -o "$controller" "$controller" "/sys/fs/cgroup/$controller"
done
mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd systemd /sys/fs/cgroup/systemd
mount --make-rshared /

hostname "$node"
ip link set lo up
sysctl -qw net.ipv4.ip_forward=1
# The first named network namespace makes /run/netns a shared mount. If containerd did that, the namespaces of pods
# could not be removed (EBUSY).
ip netns add first
ip netns delete first
# The kubelet requires these settings of the whole machine. Show it files with the values; the machine keeps its own.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1; do
  file="/run/sysctl/${setting%=*}"
  mkdir -p "$(dirname "$file")"
  echo "${setting#*=}" >"$file"
  mount --bind "$file" "/proc/sys/${setting%=*}"
done

# The whole cluster is in one control group, NODE: the daemons in NODE/system, the pods in NODE/kubepods.
for controller in /sys/fs/cgroup/*; do
  mkdir -p "$controller/$node/system"
  if [ -e "$controller/cpuset.cpus" ]; then # a new group has no cores and no memory nodes
    for group in "$node" "$node/system"; do
      for what in cpus mems; do cat "$controller/cpuset.$what" >"$controller/$group/cpuset.$what"; done
    done
  fi
  echo $$ >"$controller/$node/system/cgroup.procs"
done

touch /run/cluster/initialized
# Wait, and reap orphans, as every first process must.
while :; do
  sleep 3600 &
  wait $! || true
done
