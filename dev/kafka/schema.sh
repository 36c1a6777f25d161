#!/usr/bin/env bash
# Downloads GCN's schemas from npm once and prints their folder, which tests validate notices against.
#
# The package @nasa-gcn/schema states no licence, so no copy is in this repository. It is kept in
# ~/.cache/skymap-scanner/gcn-schema/VERSION, and must have the SHA-512 below, which is npm's `dist.integrity`.
set -euo pipefail
name=gcn-schema
. "$(dirname "${BASH_SOURCE[0]}")/../download.sh"

version=7.2.3
sha512=d2321a7ea616542727fcab365f6b2c0ae59292da41a1a7487b0cd63fc6470b39
sha512+=7cfefccfdbee54381952cdbced588478721366244d409144cdfec9079fe9f6a1

download() {
  command -v npm >/dev/null || fail "npm is missing. On Debian or Ubuntu: sudo apt-get install npm"
  echo "gcn-schema: fetching @nasa-gcn/schema $version from npm into $home" >&2
  archive="$(cd "$part" && npm pack --silent "@nasa-gcn/schema@$version")" || fail "npm could not fetch it (see above)"
  (cd "$part" && sha512sum --check --strict --quiet <<<"$sha512  $archive") >&2 || fail "$archive has another SHA-512"
  tar -xzf "$part/$archive" -C "$part"
  mv "$part/package" "$part/whole"
}

once "gcn-schema/$version"
echo "$home"
