#!/usr/bin/env bash
# Downloads Pulsar's server from Maven Central once and prints its folder.
#
# It is kept in ~/.cache/skymap-scanner/pulsar/VERSION/RECIPE, RECIPE being a digest of what it is made from. Maven
# compares all files with the checksums of Maven Central; Pulsar itself must also have the SHA-512 in pulsar.sha512.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
java="${JAVA_HOME:+$JAVA_HOME/bin/}java"
javac="${JAVA_HOME:+$JAVA_HOME/bin/}javac"
jar="${JAVA_HOME:+$JAVA_HOME/bin/}jar"
name=pulsar
. "$here/../download.sh"

# Prints the missing tools.
missing() {
  local major
  major="$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' || true)"
  [ "${major:-0}" -ge 17 ] || echo "Java 17 or later (found: ${major:-none})"
  command -v "$javac" "$jar" >/dev/null || echo "a Java compiler (javac, jar)"
  command -v mvn >/dev/null || echo "Maven (mvn)"
  command -v flock >/dev/null || echo "flock (of util-linux)"
}

# Debian and Ubuntu name the Java package by its version; each release has one of these.
install_tools() {
  local jdk
  echo "pulsar: installing Java and Maven with apt" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2
  for jdk in openjdk-17-jdk-headless openjdk-21-jdk-headless default-jdk-headless; do
    if [ -n "$(apt-cache show --no-all-versions "$jdk" 2>/dev/null)" ]; then break; fi
  done
  apt-get install -qq -y --no-install-recommends "$jdk" maven ca-certificates util-linux >&2
}

if [ -n "$(missing)" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  install_tools
fi
if [ -n "$(missing)" ]; then
  fail "missing tools: $(missing | paste -sd ';' | sed 's/;/; /g')." \
    "On Debian or Ubuntu: sudo apt-get install openjdk-17-jdk-headless maven"
fi

version="$(sed -n 's|.*<pulsar.version>\(.*\)</pulsar.version>.*|\1|p' "$here/pom.xml")"
recipe="$(cat "$here/pom.xml" "$here/unused.txt" "$here"/*.java | sha256sum | cut -c1-12)"

download() {
  echo "pulsar: fetching Pulsar $version from Maven Central (250 MB) into $home" >&2
  # Maven's repository is removed with the rest, since nothing else uses it.
  mvn -B -q --strict-checksums -f "$here/pom.xml" generate-resources -Dfolder="$part" \
    -Dmaven.repo.local="$part/repository" >&2 || fail "Maven could not fetch Pulsar $version (see above)"
  archive="pulsar-server-distribution-$version-bin.tar.gz"
  grep -q "  $archive\$" "$here/pulsar.sha512" ||
    fail "$here/pulsar.sha512 has no checksum of $archive: compare the file with Apache's release, and add it"
  (cd "$part" && sha512sum --check --strict --quiet "$here/pulsar.sha512") >&2 ||
    fail "$archive from Maven Central has another SHA-512 than $here/pulsar.sha512 (see above)"
  unpacked="$part/apache-pulsar-$version"
  # unused.txt: what one local broker never loads (functions, stream storage, proxy, tools, the metadata stores etcd and
  # Oxia, native code of other platforms). The jars of Bouncy Castle stay, for TLS.
  tar -xzf "$part/$archive" -C "$part" -X "$here/unused.txt" "apache-pulsar-$version"/{lib,LICENSE,NOTICE}
  # The option is for sun.misc.Signal, the only way to handle a signal.
  "$javac" -XDignore.symbol.file -cp "$unpacked/lib/*" -d "$part/classes" "$here"/*.java >&2 ||
    fail "the Java sources in $here do not compile (see above)"
  "$jar" --create --file "$unpacked/lib/local-pulsar.jar" -C "$part/classes" .
  mv "$unpacked" "$part/whole"
}

once "pulsar/$version/$recipe"

# A rehearsal, on ports that the kernel chooses, writes an archive of the classes that a start loads. Java maps it into
# memory, which halves the time of a start. Without the archive, or with that of another Java, a start only takes longer.
if [ ! -e "$home/classes.jsa" ]; then
  rehearsal="$cache/rehearsal"
  rm -rf "$rehearsal"
  mkdir "$rehearsal"
  if ! SKYMAP_PULSAR_HOME="$home" \
    JDK_JAVA_OPTIONS="-Drehearsal=true -XX:ArchiveClassesAtExit=$rehearsal/classes.jsa -Xlog:disable" \
    "$here/start.sh" --data "$rehearsal/data" --port 0 --web-port 0 --storage-port 0 >"$rehearsal/console" 2>&1; then
    echo "pulsar: starts will be slow, since the rehearsal failed:" >&2
    tail -5 "$rehearsal/console" >&2
    : >"$rehearsal/classes.jsa" # an empty file prevents another attempt at every start
  fi
  mv "$rehearsal/classes.jsa" "$home/classes.jsa"
  rm -rf "$rehearsal"
fi
echo "$home"
