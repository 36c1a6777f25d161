#!/usr/bin/env bash
# Gives images to a cluster, which has no registry to pull them from.
#
#   load.sh NAME ARCHIVE...     ARCHIVE: of `docker save`, or an OCI archive
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
[ $# -ge 2 ] || fail "say which cluster and which archives: load.sh NAME ARCHIVE..."
name="$1" && shift
check_name "$name"
folder="$cache/running/$name"
[ -e "$folder/kubeconfig" ] || fail "no cluster $name runs here: dev/cluster/up.sh $name"
for archive in "$@"; do
  if [ -e "$folder/kind" ]; then
    kind load image-archive "$archive" --name "$name" >&2
  else # by standard input, for the node may not see the file
    in_node "$folder" ctr -n k8s.io images import - <"$archive" >/dev/null
  fi
done
