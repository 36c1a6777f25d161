#!/usr/bin/env bash
# Downloads Kafka's server from Maven Central once and prints its folder.
#
# It is kept in ~/.cache/skymap-scanner/kafka/VERSION. Each file must have the SHA-512 in kafka.sha512.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
name=kafka
. "$here/../download.sh"

version="$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' "$here/pom.xml")"

download() {
  command -v mvn >/dev/null || fail "Maven is missing. On Debian or Ubuntu: sudo apt-get install maven"
  echo "kafka: fetching Kafka $version from Maven Central (45 MB) into $home" >&2
  # Maven's repository is removed with the rest, since nothing else uses it.
  mvn -B -q --strict-checksums -f "$here/pom.xml" generate-resources -Dfolder="$part/whole" \
    -Dmaven.repo.local="$part/repository" >&2 || fail "Maven could not fetch Kafka $version (see above)"
  (cd "$part/whole" && sha512sum --check --strict --quiet "$here/kafka.sha512") >&2 ||
    fail "a file has another SHA-512 than in $here/kafka.sha512 (see above)"
  [ "$(ls "$part/whole" | wc -l)" = "$(wc -l <"$here/kafka.sha512")" ] || fail "Maven fetched files without a SHA-512"
}

once "kafka/$version"
echo "$home"
