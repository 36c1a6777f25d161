#!/usr/bin/env bash
# Stops a native cluster with all its processes and mounts; keeps FOLDER.
#
#   down.sh NAME FOLDER
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
name="$1" folder="$2"

# COMMAND...: repeats the command until it fails, for 10 s at most.
while_true() {
  local _
  for _ in $(seq 200); do
    "$@" || return 0
    sleep 0.05
  done
  fail "cannot stop the cluster $name: still true after 10 s: $*"
}
# The process id may belong to another process by now: only one that runs init.sh is ours.
runs() { grep -qsz "node/init.sh" "/proc/$1/cmdline"; }
remove_groups() {
  find /sys/fs/cgroup/*/"$name" -depth -type d -exec rmdir {} \; 2>/dev/null
  compgen -G "/sys/fs/cgroup/*/$name" >/dev/null
}
# The kernel removes the link with the node, but only after the last open connection has timed out. By then another
# cluster may have a link of this name.
remove_link() {
  [ "$(cat "/sys/class/net/$device/ifindex" 2>/dev/null)" = "$index" ] || return 1
  ip link delete "$device" 2>/dev/null || true
}

for file in unshare.pid init.pid; do
  pid="$(cat "$folder/$file" 2>/dev/null || true)"
  [ -n "$pid" ] || continue
  if runs "$pid"; then kill -KILL "$pid" || true; fi
  while_true runs "$pid"
done
if [ -e "$folder/device" ]; then
  read -r device index <"$folder/device"
  while_true remove_link
fi
while_true remove_groups
