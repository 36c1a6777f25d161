#!/usr/bin/env bash
# Builds what the tests need to start a cluster. On a machine that cannot run one, prints that these tests will be
# skipped; with the variable CI set it fails instead.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if [ -n "${SKYMAP_TEST_KUBECONFIG:-}" ]; then exit; fi
if ! why="$(engine 2>&1)"; then
  [ -z "${CI:-}" ] || fail "no test is skipped in CI: ${why#cluster: }"
  echo "The tests that need a Kubernetes cluster will be skipped: ${why#cluster: }." \
    "SKYMAP_TEST_KUBECONFIG=FILE names an existing one." >&2
elif [ "$why" = native ]; then
  "$here/build.sh" >/dev/null
fi
