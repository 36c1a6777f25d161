#!/usr/bin/env bash
# Runs helm: the installed one, or the one built for a native local cluster. Without either it exits with 127, unless
# the variable CI is set; then it builds helm.
#
#   helm.sh WORD...
. "$(dirname "${BASH_SOURCE[0]}")/../dev/cluster/common.sh"
helm="$(command -v helm || true)"
if [ -z "$helm" ]; then
  # Any build will do; prefer the newest.
  helm="$(find "$cache/$version" -path '*/bin/helm' -printf '%T@ %p\n' 2>/dev/null | sort -rn | sed -n '1s/^[^ ]* //p' || true)"
fi
if [ -z "$helm" ] && [ -n "${CI:-}" ]; then helm="$("$here/build.sh")/bin/helm"; fi
if [ -z "$helm" ]; then
  echo "helm is not installed: https://helm.sh/docs/intro/install, or make cluster" >&2
  exit 127
fi
exec "$helm" "$@"
