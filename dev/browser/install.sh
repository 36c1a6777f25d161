#!/usr/bin/env bash
# Prints the path of a Chromium or Chrome for the tests of pages; as root on Debian or Ubuntu it installs Chromium first.
#
#   install.sh [--check]   with --check it installs nothing, and fails if there is none
#
# SKYMAP_BROWSER names another one. The package gets its security updates from the distribution, so no version is pinned.
set -euo pipefail

found() {
  local name
  for name in ${SKYMAP_BROWSER:-chromium chromium-browser google-chrome}; do
    if command -v "$name"; then return; fi
  done
  return 1
}

if ! found >/dev/null && [ "${1:-}" != --check ] && [ -z "${SKYMAP_BROWSER:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "browser: installing Chromium with apt" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2
  apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >&2
fi
found || {
  echo "browser: there is no ${SKYMAP_BROWSER:-Chromium or Chrome}. On Debian: sudo apt-get install chromium" >&2
  exit 1
}
