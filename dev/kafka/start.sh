#!/usr/bin/env bash
# Runs a Kafka of one node (KRaft) in the foreground, and downloads it first if it is missing.
#
#   start.sh FOLDER
#
# FOLDER holds its configuration, server.properties, which names the folder of its data (testing/kafka/server.py).
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
[ $# -eq 1 ] || { echo "usage: start.sh FOLDER" >&2; exit 2; }
java="${JAVA_HOME:+$JAVA_HOME/bin/}java"
home="$("$here/install.sh")"
cd "$1"
if [ ! -e formatted ]; then
  "$java" -cp "$home/*" kafka.tools.StorageTool format --cluster-id c2t5bWFwLXNjYW5uZXItMQ --config server.properties
  touch formatted
fi
exec "$java" -Xmx256m -XX:+ExitOnOutOfMemoryError -Djava.net.preferIPv4Stack=true -cp "$home/*" kafka.Kafka server.properties
