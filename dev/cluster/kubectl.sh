#!/usr/bin/env bash
# kubectl on a cluster of up.sh, in the version that belongs to it.
#
#   kubectl.sh NAME WORD...
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
name="$1" && shift
folder="$cache/running/$name"
kubectl=kubectl
if [ ! -e "$folder/kind" ]; then kubectl="$("$here/build.sh")/bin/kubectl"; fi
exec "$kubectl" --kubeconfig "$folder/kubeconfig" "$@"
