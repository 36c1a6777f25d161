#!/usr/bin/env bash
# Stops a cluster of up.sh and removes everything of it. Without a cluster it does nothing.
#
#   down.sh [NAME]      default: skymap
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
name="${1-skymap}"
check_name "$name"
folder="$cache/running/$name"
if [ -d "$folder" ]; then
  guard="$(cat "$folder/guard.pid" 2>/dev/null || true)"
  # Kill its session, which includes its `tail`. The guard itself may be our caller.
  if [ -n "$guard" ] && grep -qsz "guard.sh" "/proc/$guard/cmdline"; then kill -- -"$guard" || true; fi
  if [ -e "$folder/kind" ]; then
    kind delete cluster --name "$name" --kubeconfig "$folder/kubeconfig" >&2
  else
    "$here/node/down.sh" "$name" "$folder"
  fi
  rm -rf "$folder"
fi
echo "# The cluster $name has stopped. In a shell that used it:"
echo "unset KUBECONFIG"
