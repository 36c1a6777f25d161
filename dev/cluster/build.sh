#!/usr/bin/env bash
# Makes what a native cluster is made of, once, and prints the folder it is in: bin/, where the programs are, and
# images/, what every node needs.
#
# It is kept in ~/.cache/skymap-scanner/cluster/VERSION/RECIPE, RECIPE being a digest of what it is made from. A build
# becomes visible by one rename when it is whole, and only one process builds at a time.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

packages=(containerd runc containernetworking-plugins nftables iptables conntrack iproute2 openssl procps util-linux)

# The tools that are missing; nothing when all are there.
missing() {
  local tool
  for tool in containerd ctr runc nft iptables conntrack ip openssl sysctl unshare nsenter flock; do
    command -v "$tool" >/dev/null || echo "$tool"
  done
  [ -x /usr/lib/cni/ptp ] || echo "the CNI plugins in /usr/lib/cni"
}

if [ -n "$(missing)" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "cluster: installing ${packages[*]} with apt" >&2
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq && apt-get install -qq -y --no-upgrade --no-install-recommends "${packages[@]}"; } >&2 ||
    fail "apt could not install them (see above)"
fi
if [ -n "$(missing)" ]; then
  fail "needed and not found: $(missing | paste -sd , | sed 's/,/, /g')." \
    "On Debian or Ubuntu: sudo apt-get install ${packages[*]}"
fi

recipe="$(cd "$here" && find components build.sh images/oci.py -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-12)"
home="$cache/$version/$recipe"
mkdir -p "$cache/$version"

# Go inherits the lock: should this shell be killed, the next one waits until the orphan has ended too.
exec 9>"$cache/$version/lock"
flock 9
if [ -d "$home" ]; then
  echo "$home"
  exit
fi

found="$(go env GOVERSION 2>/dev/null || true)"
minor="${found#go1.}"
[[ "${minor%%[!0-9]*}" -ge 24 ]] || fail "needs Go 1.24 or later (found: ${found:-none}): https://go.dev/dl"

echo "cluster: building Kubernetes $version (minutes, the first time), into $home" >&2
part="$cache/$version/part"
rm -rf "$part" # a killed build's
trap 'rm -rf "$part"' EXIT
mkdir -p "$part/bin" "$part/images" "$part/pause"

export CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-buildvcs=false -mod=readonly -trimpath"
cd "$here/components"
helm="$(go list -m -f '{{.Version}}' helm.sh/helm/v3)"
kube_minor="${version#v1.}"
kube_minor="${kube_minor%%.*}"

# Go has no versions of the main module's dependencies at hand: what they answer to `version` is set by the linker.
# Kubernetes keeps it in one package, and the name that its client gives in another.
link=(-s -w)
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  for setting in gitVersion="$version" gitMajor=1 gitMinor="$kube_minor" gitTreeState=clean \
    gitCommit="$(printf %040d 0)" buildDate=1970-01-01T00:00:00Z; do
    link+=(-X "$package.$setting")
  done
done
helm_link=(-s -w -X "helm.sh/helm/v3/internal/version.version=$helm")
for package in pkg/lint/rules pkg/chartutil; do # helm judges charts for this Kubernetes
  helm_link+=(-X "helm.sh/helm/v3/$package.k8sVersionMajor=1" -X "helm.sh/helm/v3/$package.k8sVersionMinor=$kube_minor")
done
{
  go build -ldflags "${link[*]}" -o "$part/bin/kubernetes" . &&
    go build -ldflags "-s -w" -o "$part/pause/pause" ./pause &&
    go build -ldflags "${helm_link[*]}" -o "$part/bin/helm" helm.sh/helm/v3/cmd/helm
} >&2 || fail "Kubernetes $version could not be built (see above)"

for name in coredns etcd kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubectl kubelet volumes; do
  ln -s kubernetes "$part/bin/$name"
done
python3 "$here/images/oci.py" "$part/images/pause.tar" localhost/pause:1 "$part/pause" --entrypoint /pause --user 65535 >&2
rm -r "$part/pause"
mv "$part" "$home"
trap - EXIT
echo "$home"
