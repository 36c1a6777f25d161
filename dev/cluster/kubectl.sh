#!/usr/bin/env bash
# Runs kubectl on a cluster of up.sh, in the version of that cluster.
#
#   kubectl.sh NAME WORD...
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
name="$1" && shift
folder="$cache/running/$name"
kubectl=kubectl
if [ ! -e "$folder/kind" ]; then kubectl="$("$here/build.sh")/bin/kubectl"; fi
exec "$kubectl" --kubeconfig "$folder/kubeconfig" "$@"
