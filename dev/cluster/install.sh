#!/usr/bin/env bash
# Makes what the tests need to start a cluster, where one can be; elsewhere says that they will be left out. In
# continuous integration (the variable CI) nothing is left out: there it fails.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if [ -n "${SKYMAP_TEST_KUBECONFIG:-}" ]; then exit; fi
if ! why="$(engine 2>&1)"; then
  [ -z "${CI:-}" ] || fail "nothing is left out in CI, and to start a cluster ${why#cluster: }"
  echo "The tests that need a Kubernetes cluster will be left out: to start one ${why#cluster: }." \
    "SKYMAP_TEST_KUBECONFIG=FILE names one that is there." >&2
elif [ "$why" = native ]; then
  "$here/build.sh" >/dev/null
fi
