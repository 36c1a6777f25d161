#!/usr/bin/env bash
# From nothing to a finished SkymapScan of the demo event: a cluster, our images and Pulsar's, the chart, a scan, its map.
#
#   demo.sh [NAME] [FOLDER]     NAME: of the cluster (default: skymap); FOLDER: for the results (default: cluster-demo-output)
#
# Each step finds done what is done already, so that it may be broken off and started again. The cluster stays.
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
pulsar="${image%:*}" # localhost/pulsar where the official image cannot be had

say "helm install: the operator, and a Pulsar for trials"
# One node has room for one worker of a whole processor; half of one lets two run.
"$helm" upgrade --install skymap-scanner helm/skymap-scanner --namespace skymap-scanner --create-namespace \
  --set pulsar.image.repository="$pulsar" --set settings.workerResources.requests.cpu=500m --wait --timeout 5m >/dev/null

say "skymap-scanner submit demo"
"$scanner" submit demo --levels 4:0 32:8 256:12 --set workers.targetSeconds=300 --wait

say "skymap-scanner fetch demo"
"$scanner" fetch demo -o "$output"

say "Done. The cluster goes on; to look around, or to end it:
    export KUBECONFIG=$KUBECONFIG
    ${SKYMAP_KUBECTL:-kubectl} describe skymapscan demo
    make cluster-down"
