#!/usr/bin/env bash
# Creates a cluster's authority, certificates, service-account key and kubeconfigs in FOLDER/certificates.
#
#   certificates.sh FOLDER NODE NODE_IP API_SERVICE_IP
set -euo pipefail
node="$2" node_ip="$3" service_ip="$4"
umask 077
mkdir "$1/certificates"
cd "$1/certificates"

make_key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }

# NAME SUBJECT [ALTERNATIVE-NAMES]: with names it is also a server's certificate.
certify() {
  make_key "$1"
  openssl req -new -key "$1.key" -subj "$2" |
    openssl x509 -req -CA authority.crt -CAkey authority.key -set_serial "0x$(openssl rand -hex 8)" -days 3650 -out "$1.crt" \
      -extfile <(
        echo "keyUsage=critical,digitalSignature"
        echo "extendedKeyUsage=${3:+serverAuth,}clientAuth"
        [ -z "${3:-}" ] || echo "subjectAltName=$3"
      ) 2>/dev/null
}

# NAME SUBJECT [ALTERNATIVE-NAMES]: a certificate, and a kubeconfig with it for the machine and the node.
admit() {
  certify "$@"
  cat >"$1.kubeconfig" <<END
apiVersion: v1
kind: Config
clusters:
- name: $node
  cluster:
    server: https://$node_ip:6443
    certificate-authority-data: $(base64 -w0 authority.crt)
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w0 "$1.crt")
    client-key-data: $(base64 -w0 "$1.key")
contexts:
- name: $node
  context: {cluster: $node, user: $1}
current-context: $node
END
}

make_key authority
openssl req -x509 -new -key authority.key -subj "/CN=$node" -days 3650 -out authority.crt
make_key accounts
openssl pkey -in accounts.key -pubout -out accounts.pub
api=kubernetes.default
certify apiserver /CN=kube-apiserver \
  "DNS:localhost,DNS:kubernetes,DNS:$api,DNS:$api.svc,DNS:$api.svc.cluster.local,IP:127.0.0.1,IP:$node_ip,IP:$service_ip"
certify apiserver-client /O=system:masters/CN=apiserver-client
admit kubelet "/O=system:nodes/CN=system:node:$node" "DNS:$node,IP:127.0.0.1,IP:$node_ip"
admit controller-manager /CN=system:kube-controller-manager
admit scheduler /CN=system:kube-scheduler
admit proxy /CN=system:kube-proxy
admit coredns /CN=system:coredns
admit admin /O=system:masters/CN=admin
