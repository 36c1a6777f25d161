#!/usr/bin/env bash
# The steps of .github/workflows/release.yml that also run on a developer's machine.
#
#   release.sh check vX.Y.Z    the tag, pyproject.toml, Chart.yaml and CHANGELOG.md agree on the version
#   release.sh build FOLDER    wheel and sdist, and CycloneDX SBOMs of the wheel and both images; needs make install
#   release.sh notes vX.Y.Z    prints the changes of that version
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
  echo "release: $*" >&2
  exit 1
}

# FILE LINE: fails if the file lacks the line.
expect() { grep -qxF "$2" "$1" || fail "$1 has no line $2"; }

notes() {
  awk -v heading="## [$1]" 'index($0, heading) == 1 {found = 1; next} /^## / {found = 0} found' CHANGELOG.md
}

case "${1:-} ${2:-}" in
  "check v"*)
    version="${2#v}"
    expect pyproject.toml "version = \"$version\""
    expect helm/skymap-scanner/Chart.yaml "version: $version"
    expect helm/skymap-scanner/Chart.yaml "appVersion: $version"
    [ -n "$(notes "$version")" ] || fail "CHANGELOG.md has no section [$version]"
    ;;
  "build "?*)
    [ -e .venv/.installed ] || fail "needs make install"
    .venv/bin/python -P -m build --no-isolation --outdir "$2"
    .venv/bin/python -m dev.supply.sbom "$2"
    ;;
  "notes v"*) notes "${2#v}" ;;
  *) sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
esac
