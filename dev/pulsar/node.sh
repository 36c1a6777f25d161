#!/usr/bin/env bash
# Runs one node of a replicated Pulsar in the foreground (testing/pulsar/replicated.py starts them all).
#
#   node.sh zookeeper|format|bookie|broker FOLDER
#
# FOLDER holds the node's configuration, `node.conf`, its data and its log (FOLDER/log). `format` prepares ZooKeeper for
# the bookies, with the configuration of one, and ends.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
[ $# -eq 2 ] || { echo "usage: node.sh zookeeper|format|bookie|broker FOLDER" >&2; exit 2; }
role="$1" folder="$2"
home="${SKYMAP_PULSAR_HOME:-$("$here/install.sh")}"
mkdir -p "$folder/log"
cp "$here/log4j2.xml" "$folder/log4j2.xml"
cd "$folder"
. "$here/java.sh"

# BookKeeper's metadata are kept by Pulsar's driver, for which there is one on each side.
drivers=org.apache.pulsar.metadata.bookkeeper.PulsarMetadata
java_options+=(
  -Dbookkeeper.metadata.bookie.drivers="${drivers}BookieDriver"
  -Dbookkeeper.metadata.client.drivers="${drivers}ClientDriver"
)
case "$role" in
  zookeeper)
    memory=(-Xmx64m)
    main=(org.apache.zookeeper.server.quorum.QuorumPeerMain node.conf)
    java_options+=(-Dzookeeper.admin.enableServer=false)
    ;;
  format)
    memory=(-Xmx128m)
    main=(org.apache.bookkeeper.bookie.BookieShell --conf node.conf initnewcluster)
    ;;
  bookie)
    memory=(-Xmx128m -XX:MaxDirectMemorySize=128m)
    main=(org.apache.bookkeeper.server.Main --conf node.conf)
    ;;
  broker)
    memory=(-Xmx256m -XX:MaxDirectMemorySize=192m)
    main=(org.apache.pulsar.PulsarBrokerStarter --broker-conf node.conf)
    ;;
  *)
    echo "node.sh: unknown role $role" >&2
    exit 2
    ;;
esac
exec "$java" "${java_options[@]}" "${memory[@]}" -cp "$home/lib/*" "${main[@]}"
