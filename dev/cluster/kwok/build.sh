#!/usr/bin/env bash
# Makes kwok, which plays nodes and kubelets for as many pods as one likes, once, and prints the program.
#
# A module of its own: kwok does not compile against the libraries of the cluster's Kubernetes. go.mod is the one place
# that says which kwok. The result is kept in ~/.cache/skymap-scanner/cluster/kwok, which may be deleted at any time.
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

module="$here/kwok"
recipe="$(cd "$module" && cat go.mod go.sum build.sh | sha256sum | cut -c1-12)"
program="$cache/kwok/kwok-$recipe"
mkdir -p "$cache/kwok"
exec 9>"$cache/kwok/lock" # Go inherits it: should this shell be killed, the next one waits until the orphan has ended
flock 9
if [ ! -x "$program" ]; then
  command -v go >/dev/null || fail "needs Go 1.24 or later: https://go.dev/dl"
  echo "cluster: building kwok (2 minutes, the first time), into $program" >&2
  export CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-buildvcs=false -mod=readonly -trimpath"
  go -C "$module" build -ldflags "-s -w" -o "$program.part" sigs.k8s.io/kwok/cmd/kwok >&2 ||
    fail "kwok could not be built (see above)"
  mv "$program.part" "$program" # whole, or not there
fi
echo "$program"
