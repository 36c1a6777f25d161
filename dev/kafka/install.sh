#!/usr/bin/env bash
# Downloads Kafka's server from Maven Central once and prints its folder.
#
# It is kept in ~/.cache/skymap-scanner/kafka/VERSION. A download becomes visible by one rename when it is whole, and only
# one process downloads at a time. Each file must have the SHA-512 in kafka.sha512.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

fail() {
  echo "kafka: $*" >&2
  exit 1
}

version="$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' "$here/pom.xml")"
cache="${XDG_CACHE_HOME:-${HOME:?set HOME or XDG_CACHE_HOME}/.cache}/skymap-scanner/kafka"
home="$cache/$version"
mkdir -p "$cache"

# Maven inherits the lock: if this shell is killed, the next one waits until Maven has ended too.
exec 9>"$cache/lock"
flock 9
if [ ! -d "$home" ]; then
  command -v mvn >/dev/null || fail "Maven is missing. On Debian or Ubuntu: sudo apt-get install maven"
  echo "kafka: fetching Kafka $version from Maven Central (45 MB) into $home" >&2
  part="$cache/part"
  rm -rf "$part" # of a killed download
  trap 'rm -rf "$part"' EXIT
  # Maven's repository is removed with the rest, since nothing else uses it.
  mvn -B -q --strict-checksums -f "$here/pom.xml" generate-resources -Dfolder="$part/lib" \
    -Dmaven.repo.local="$part/repository" >&2 || fail "Maven could not fetch Kafka $version (see above)"
  (cd "$part/lib" && sha512sum --check --strict --quiet "$here/kafka.sha512") >&2 ||
    fail "a file has another SHA-512 than in $here/kafka.sha512 (see above)"
  [ "$(ls "$part/lib" | wc -l)" = "$(wc -l <"$here/kafka.sha512")" ] || fail "Maven fetched files without a SHA-512"
  mv "$part/lib" "$home"
fi
echo "$home"
