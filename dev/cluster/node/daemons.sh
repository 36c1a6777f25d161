#!/usr/bin/env bash
# Starts the daemons of a cluster from inside its node; returns when the node is ready.
#
#   daemons.sh NODE NODE_IP SERVICES       SERVICES: the address range of Services
set -euo pipefail
node="$1" node_ip="$2" services="$3"
keys=/run/cluster/certificates
export PATH="/run/programs/bin:$PATH" KUBECONFIG="$keys/admin.kubeconfig" KUBECACHEDIR=/run/kubectl

for controller in /sys/fs/cgroup/*; do echo $$ >"$controller/$node/system/cgroup.procs"; done

start() { setsid "$@" >"/run/cluster/logs/$1.log" 2>&1 </dev/null & }

# SECONDS COMMAND...: repeats the command until it succeeds; after SECONDS prints it with its last output and exits.
eventually() {
  local end=$((SECONDS + $1)) said
  shift
  until said="$("$@" 2>&1)"; do
    if [ "$SECONDS" -ge "$end" ]; then
      printf 'cluster: not in time: %s\n%s\n' "$*" "$said" >&2
      exit 1
    fi
    sleep 0.1
  done
}

# Its data are removed with the cluster, so they need not reach the disk.
start etcd --data-dir /run/cluster/etcd --unsafe-no-fsync --log-level warn
start containerd --config /run/cluster/config/containerd.toml
start kube-apiserver --advertise-address "$node_ip" --secure-port 6443 --service-cluster-ip-range "$services" \
  --etcd-servers http://127.0.0.1:2379 --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
  --allow-privileged --client-ca-file "$keys/authority.crt" \
  --tls-cert-file "$keys/apiserver.crt" --tls-private-key-file "$keys/apiserver.key" \
  --kubelet-client-certificate "$keys/apiserver-client.crt" --kubelet-client-key "$keys/apiserver-client.key" \
  --kubelet-certificate-authority "$keys/authority.crt" --kubelet-preferred-address-types InternalIP \
  --service-account-issuer https://kubernetes.default.svc.cluster.local \
  --service-account-key-file "$keys/accounts.pub" --service-account-signing-key-file "$keys/accounts.key"

eventually 60 ctr version
for archive in /run/programs/images/*.tar; do ctr -n k8s.io images import "$archive" >/dev/null; done

eventually 120 kubectl get --raw /readyz
start kube-controller-manager --kubeconfig "$keys/controller-manager.kubeconfig" --leader-elect=false \
  --use-service-account-credentials --service-account-private-key-file "$keys/accounts.key" \
  --root-ca-file "$keys/authority.crt" \
  --cluster-signing-cert-file "$keys/authority.crt" --cluster-signing-key-file "$keys/authority.key" \
  --flex-volume-plugin-dir /run/volume-plugins \
  --kube-api-qps 1000 --kube-api-burst 1000
start kube-scheduler --kubeconfig "$keys/scheduler.kubeconfig" --leader-elect=false \
  --kube-api-qps 1000 --kube-api-burst 1000
start kubelet --config /run/cluster/config/kubelet.yaml --kubeconfig "$keys/kubelet.kubeconfig" \
  --hostname-override "$node" --node-ip "$node_ip"
start kube-proxy --config /run/cluster/config/proxy.yaml
kubectl apply -f /run/node/base.yaml >/dev/null
start coredns -conf /run/cluster/config/Corefile
start volumes --kubeconfig "$keys/admin.kubeconfig" --folder /run/cluster/volumes --node "$node"

eventually 60 kubectl get serviceaccount default
eventually 60 kubectl get node "$node"
kubectl wait --for condition=Ready "node/$node" --timeout 60s >/dev/null
