#!/usr/bin/env bash
# Checks the chart: its definition of SkymapScan is current, and `helm lint` accepts it with each set of values in ci/.
# Without helm the second check is skipped with a message, but never in CI. With promtool it also tests the alerts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
chart=skymap-scanner
if ! cmp ../crds/skymapscans.yaml "$chart/files/skymapscans.yaml"; then
  echo "The chart's definition of SkymapScan is not the one in crds/: make generate" >&2
  exit 1
fi
if command -v promtool >/dev/null; then
  promtool check rules "$chart/files/alerts.yaml" >/dev/null
  promtool test rules alerts-test.yaml >/dev/null
else
  echo "The alerts are not tested: promtool, which comes with Prometheus, is not installed." >&2
fi
code=0
./helm.sh version --short >/dev/null || code=$?
if [ "$code" = 127 ] && [ -z "${CI:-}" ]; then
  echo "The chart is not checked: see above." >&2
  exit
fi
for values in "$chart"/ci/*.yaml; do
  ./helm.sh lint --strict --quiet "$chart" --values "$values"
done
