#!/usr/bin/env bash
# Starts a one-node Kubernetes cluster and prints how to reach it. A running cluster is left as it is.
#
#   up.sh [NAME] [--until PID]      NAME: default skymap; PID: the cluster stops when this process ends
#
# Uses kind where a Docker engine runs, else the native cluster, as root. ~/.cache/skymap-scanner/cluster/running/NAME
# holds kubeconfig, and host: the address of this machine for the pods.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
name=skymap until=""
while [ $# -gt 0 ]; do
  case "$1" in
    --until) until="${2:?--until needs the id of a process}" && shift 2 ;;
    -*) fail "unknown option $1; there is --until" ;;
    *) name="$1" && shift ;;
  esac
done
check_name "$name"
engine="$(engine)"
folder="$cache/running/$name"

ready() {
  echo "# Kubernetes is up; dev/cluster/down.sh${name:+ $name} stops it. To reach it:"
  echo "export KUBECONFIG=$folder/kubeconfig"
}
if [ -e "$folder/kubeconfig" ] && "$here/kubectl.sh" "$name" get --raw /readyz >/dev/null 2>&1; then
  ready
  exit
fi
"$here/down.sh" "$name" >/dev/null # the remains of a cluster that died
trap '[ $? = 0 ] || "$here/down.sh" "$name" >/dev/null' EXIT
mkdir -p "$folder"
if [ -n "$until" ]; then # first, since the process may end while the cluster starts
  setsid "$here/node/guard.sh" "$until" "$name" </dev/null >/dev/null 2>&1 &
  echo $! >"$folder/guard.pid"
fi
if [ "$engine" = kind ]; then
  touch "$folder/kind"
  kind create cluster --name "$name" --kubeconfig "$folder/kubeconfig" --wait 120s >&2
  docker network inspect kind --format '{{range .IPAM.Config}}{{println .Gateway}}{{end}}' | grep -m1 -F . >"$folder/host"
else
  "$here/node/up.sh" "$name" "$folder"
fi
[ -z "$until" ] || [ -d "/proc/$until" ] || fail "the cluster was to stop with process $until, which has ended"
ready
