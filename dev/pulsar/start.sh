#!/usr/bin/env bash
# Runs a local Pulsar in the foreground, in one Java process, and downloads it first if it is missing. Ctrl-C stops it.
#
#   start.sh [--data FOLDER] [--address 127.0.0.1] [--port 6650] [--web-port 8080] [--storage-port 3181] [--conf FILE]
#
# FOLDER holds the data between starts (default: ~/.cache/skymap-scanner/pulsar/data) and the log (FOLDER/log).
# ADDRESS is the address of this machine that clients use. Whoever reaches it needs no password.
# FILE holds lines key=value of Pulsar's standalone.conf, which override ours.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
data="${XDG_CACHE_HOME:-${HOME:?set HOME or XDG_CACHE_HOME}/.cache}/skymap-scanner/pulsar/data"
address=127.0.0.1 port=6650 web_port=8080 storage_port=3181 conf=/dev/null

fail() {
  echo "pulsar: $2" >&2
  exit "$1"
}

while [ $# -gt 0 ]; do
  [ $# -gt 1 ] || fail 2 "$1 needs a value"
  case "$1" in
    --data) data="$2" ;;
    --address) address="$2" ;;
    --port) port="$2" ;;
    --web-port) web_port="$2" ;;
    --storage-port) storage_port="$2" ;;
    --conf) conf="$(realpath -e "$2")" || exit 2 ;;
    *) fail 2 "unknown option $1; there are --data, --address, --port, --web-port, --storage-port, --conf" ;;
  esac
  shift 2
done

home="${SKYMAP_PULSAR_HOME:-$("$here/install.sh")}" # set by install.sh during its rehearsal
umask 077 # the configuration may contain secrets
mkdir -p "$data/log"
cd "$data"
data="$PWD"

# Whether a name holds more than letters, digits and ._/@+=~- of ASCII.
unusual() {
  local LC_ALL=C
  [[ "$1" == *[^A-Za-z0-9._/@+=~-]* ]]
}

# Pulsar pastes the folder into URLs, lists and patterns, where a blank, a comma or a dollar sign has a meaning. On Linux
# the current folder has a second name. Java reads letters beyond ASCII as the locale says.
folder="$data"
if unusual "$data"; then
  folder=/proc/self/cwd
  if [ ! -e "$folder" ] || ! iconv -f UTF-8 -t UTF-8 <<<"$data" >/dev/null 2>&1; then
    fail 1 "Pulsar cannot use the folder $data: by --data, give one whose name is of letters, digits and ._/@+=~- of ASCII"
  fi
  export LC_ALL=C.UTF-8
fi

# Java inherits the lock and holds it until it exits.
exec 9>"$data/lock"
flock -n 9 || fail 1 "another Pulsar is running on $data; stop it, or give another folder by --data"
for number in "$port" "$web_port" "$storage_port"; do
  if (: <"/dev/tcp/$address/$number") 2>/dev/null; then
    fail 1 "port $number is taken; is a Pulsar already running? Other ports: --port, --web-port, --storage-port"
  fi
done

addresses="bindAddress=$address
brokerServicePort=$port
webServicePort=$web_port"
"$here/merge.sh" "$here/../../helm/skymap-scanner/files/standalone.conf" "$here/local.conf" <(echo "$addresses") "$conf" \
  >standalone.conf
cp "$here/log4j2.xml" log4j2.xml

cat <<END
Pulsar is starting. Ctrl-C stops it; the data stay in $data
  broker  pulsar://$address:$port
  admin   http://$address:$web_port
  log     $data/log/pulsar.log
END

. "$here/java.sh"
# Memory for a laptop: 256 MB of heap and as much outside of it.
exec "$java" "${java_options[@]}" \
  -Xms256m -Xmx256m -XX:MaxDirectMemorySize=256m \
  -cp "$home/lib/*" LocalPulsar "$folder/metadata" \
  --config "$folder/standalone.conf" --metadata-dir "$folder/metadata" \
  --bookkeeper-dir "$folder/bookkeeper" --bookkeeper-port "$storage_port" \
  --advertised-address "$address" --no-functions-worker --no-stream-storage
