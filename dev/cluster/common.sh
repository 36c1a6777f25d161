# Shared by the scripts of this folder, which source it. Prints nothing.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cache="${XDG_CACHE_HOME:-${HOME:?set HOME or XDG_CACHE_HOME}/.cache}/skymap-scanner/cluster"
# The version of Kubernetes is that in go.mod.
version="$(sed -n 's|^[[:space:]]*k8s.io/kubernetes \(v[0-9.]*\)$|\1|p' "$here/components/go.mod")"
PATH="$PATH:/usr/sbin:/sbin"

fail() {
  echo "cluster: $*" >&2
  exit 1
}

# The cluster's name is also the name of its node, its control groups and its folder.
check_name() {
  [[ "$1" =~ ^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$ ]] ||
    fail "'$1' is not a valid cluster name: at most 40 of a-z, 0-9 and -, with no - at either end"
}

# Prints the engine for clusters on this machine, "kind" or "native". Fails and says what is missing if there is
# neither.
engine() {
  if command -v kind >/dev/null && docker info >/dev/null 2>&1; then
    command -v kubectl >/dev/null || fail "kind is installed but kubectl is not: install kubectl"
    echo kind
  elif [ "$(uname -s)" != Linux ] || [ "$(id -u)" != 0 ]; then
    fail "needs kind and a running Docker engine, or root on Linux"
  elif ! grep -qs '^cgroup .*\bmemory\b' /proc/self/mounts; then
    fail "without kind and a running Docker engine a cluster needs control groups of version 1," \
      "but this machine has version 2: install kind (https://kind.sigs.k8s.io)"
  else
    echo native
  fi
}

# Runs a command inside the node of the native cluster in folder $1.
in_node() {
  local pid
  pid="$(cat "$1/init.pid")"
  shift
  nsenter --target "$pid" --mount --net --uts --ipc --pid -- "$@"
}
