#!/usr/bin/env bash
# Ends a cluster of up.sh and removes all that it was; nothing happens where none is.
#
#   down.sh [NAME]      default: skymap
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
name="${1-skymap}"
check_name "$name"
folder="$cache/running/$name"
if [ -d "$folder" ]; then
  guard="$(cat "$folder/guard.pid" 2>/dev/null || true)"
  # In a session of its own, so that its `tail` ends with it. It may be the one who calls us.
  if [ -n "$guard" ] && grep -qsz "guard.sh" "/proc/$guard/cmdline"; then kill -- -"$guard" || true; fi
  if [ -e "$folder/kind" ]; then
    kind delete cluster --name "$name" --kubeconfig "$folder/kubeconfig" >&2
  else
    "$here/node/down.sh" "$name" "$folder"
  fi
  rm -rf "$folder"
fi
echo "# The cluster $name is gone. In a shell that used it:"
echo "unset KUBECONFIG"
