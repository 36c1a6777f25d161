#!/usr/bin/env bash
# Makes what the tests need to start a cluster, where one can be; elsewhere says that they will be left out. In
# continuous integration (the variable CI) nothing is left out: there it fails.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if [ -n "${SKYMAP_TEST_KUBECONFIG:-}" ]; then exit; fi
if ! why="$(engine 2>&1)"; then
  [ -z "${CI:-}" ] || fail "the tests in CI need a cluster: ${why#cluster: }"
  echo "The tests that need a Kubernetes cluster will be left out. ${why#cluster: }, or SKYMAP_TEST_KUBECONFIG" >&2
elif [ "$why" = native ]; then
  "$here/build.sh"
fi
