#!/usr/bin/env bash
# Installs what reads our files and is no Python package; prints the folder of d3-geo and Aladin Lite.
#
#   install.sh [--check]   with --check it installs nothing, and fails if something is missing
#
# STILTS and fitsverify are packages of Debian and Ubuntu; as root it installs them. The others come from npm, with the
# SHA-512 in package-lock.json, and are kept in ~/.cache/skymap-scanner/readers/DIGEST-OF-THAT-FILE.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
name=readers
check="${1:-}"
. "$here/../download.sh"

missing() {
  local tool
  for tool in stilts fitsverify node npm; do
    command -v "$tool" >/dev/null || echo "$tool"
  done
}

if [ -n "$(missing)" ] && [ "$check" != --check ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  tools="$(missing | sed 's/^node$/nodejs/')"
  echo "readers: installing ${tools//$'\n'/ } with apt" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2
  # shellcheck disable=SC2086 # one word for each
  apt-get install -qq -y --no-install-recommends $tools >&2
fi
if [ -n "$(missing)" ]; then
  fail "missing: $(missing | paste -sd ' '). On Debian or Ubuntu: sudo apt-get install stilts fitsverify nodejs npm," \
    "and then: make readers"
fi

download() {
  [ "$check" != --check ] || fail "d3-geo and Aladin Lite are missing: make readers"
  echo "readers: fetching d3-geo and Aladin Lite from npm (3 MB) into $home" >&2
  mkdir "$part/whole"
  cp "$here/package.json" "$here/package-lock.json" "$part/whole"
  (cd "$part/whole" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >&2 || fail "npm could not (see above)"
}

once "readers/$(sha256sum <"$here/package-lock.json" | cut -c1-12)"
echo "$home"
