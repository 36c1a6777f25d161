#!/usr/bin/env bash
# Loads images into a cluster, which has no registry to pull them from.
#
#   load.sh NAME ARCHIVE...     ARCHIVE: an output of `docker save`, or an OCI archive
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
[ $# -ge 2 ] || fail "usage: load.sh NAME ARCHIVE..."
name="$1" && shift
check_name "$name"
folder="$cache/running/$name"
[ -e "$folder/kubeconfig" ] || fail "no cluster $name runs here: dev/cluster/up.sh $name"
for archive in "$@"; do
  if [ -e "$folder/kind" ]; then
    kind load image-archive "$archive" --name "$name" >&2
  else # by standard input, since the node may not see the file
    in_node "$folder" ctr -n k8s.io images import - <"$archive" >/dev/null
  fi
done
