#!/usr/bin/env bash
# Scans the demo event on a new cluster: starts it, builds and loads the images, installs the chart, submits, fetches
# the map.
#
#   demo.sh [NAME] [FOLDER]
#
# NAME is that of the cluster (default: skymap), FOLDER receives the results (default: cluster-demo-output).
#
# Each step skips what exists, so the script may be interrupted and started again. The cluster keeps running.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
name="${1:-skymap}" output="$(realpath -m "${2:-cluster-demo-output}")"
cd "$here/../.."
scanner=.venv/bin/skymap-scanner
began=$SECONDS

say() {
  printf '\n[%d:%02d] %s\n' $(((SECONDS - began) / 60)) $(((SECONDS - began) % 60)) "$*"
}

say "A Kubernetes cluster of one node"
"$here/up.sh" "$name"
export KUBECONFIG="$cache/running/$name/kubeconfig"
helm=helm
if [ ! -e "$cache/running/$name/kind" ]; then
  tools="$("$here/build.sh")/bin"
  helm="$tools/helm"
  export SKYMAP_KUBECTL="$tools/kubectl"
fi

say "The images: worker, operator, Pulsar"
for image in worker operator pulsar; do
  built="$("$here/images/build.sh" "$image")"
  read -r image archive <<<"$built"
  echo "$image"
  "$here/load.sh" "$name" "$archive"
done
pulsar="${image%:*}" # localhost/pulsar where the official image cannot be pulled

say "helm install: the operator, and a Pulsar for evaluation"
# One node has room for one worker that requests a whole core; with half a core two run.
"$helm" upgrade --install skymap-scanner helm/skymap-scanner --namespace skymap-scanner --create-namespace \
  --set pulsar.image.repository="$pulsar" --set settings.workerResources.requests.cpu=500m --wait --timeout 5m >/dev/null

say "skymap-scanner submit demo"
"$scanner" submit demo --namespace skymap-scanner --set workers.targetSeconds=300 --wait

say "skymap-scanner fetch demo"
"$scanner" fetch demo --namespace skymap-scanner -o "$output"

say "Done. The cluster keeps running. To look around, or to stop it:
    export KUBECONFIG=$KUBECONFIG
    ${SKYMAP_KUBECTL:-kubectl} describe --namespace skymap-scanner skymapscan demo
    make cluster-down"
