#!/usr/bin/env bash
# Starts a native cluster: a node in its own namespaces, connected to this machine by a veth pair.
#
#   up.sh NAME FOLDER       FOLDER: empty; receives the state, FOLDER/kubeconfig and FOLDER/host
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
name="$1" folder="$2"
programs="$("$here/build.sh")"

# One cluster starts at a time, so that no two choose the same number.
mkdir -p "$cache"
exec 9>"$cache/up.lock"
flock 9

# Up to 16 clusters share one address range. Each has a sixteenth for its link, its pods and its Services.
range="${SKYMAP_CLUSTER_NETWORK:-10.99}"
[[ "$range" =~ ^[0-9]{1,3}[.][0-9]{1,3}$ ]] || fail "SKYMAP_CLUSTER_NETWORK must be like 10.123; it is: $range"
number=0
while [ -e "/sys/class/net/skymap-$number" ]; do number=$((number + 1)); done
[ "$number" -lt 16 ] || fail "16 clusters are running: stop one with dev/cluster/down.sh NAME"
device="skymap-$number"
link="$range.$((16 * number))"
pods="$range.$((16 * number + 1)).0/24"
services="$range.$((16 * number + 8)).0/21"
service_ip="$range.$((16 * number + 8)).1"
node_ip="$link.1" host_ip="$link.254"
if ip route show root "$range.0.0/16" | grep -v -e ' dev skymap-' -e '^unreachable ' >&2; then
  fail "this machine has networks inside $range.0.0/16 (see above): set SKYMAP_CLUSTER_NETWORK, as to 10.123"
fi
# Packets to a node that is dead or removed must fail at once, and not leave this machine by the default route.
ip route replace unreachable "$range.0.0/16" metric 4000

mkdir -p "$folder/logs" "$folder/config/cni"
for template in "$here"/node/config/*; do
  sed -e "s|@NODE@|$name|g; s|@NODE_IP@|$node_ip|g; s|@PODS@|$pods|g" "$template" >"$folder/config/${template##*/}"
done
mv "$folder/config/cni.conflist" "$folder/config/cni/pods.conflist"

# --kill-child: when `unshare` ends, the node's first process ends, and with it everything in its namespaces.
setsid unshare --mount --net --uts --ipc --pid --fork --propagation private --mount-proc --kill-child=KILL \
  "$here/node/init.sh" "$folder" "$programs" "$name" >"$folder/logs/node.log" 2>&1 </dev/null 9>&- &
unshare="$!"
echo "$unshare" >"$folder/unshare.pid"
"$here/node/certificates.sh" "$folder" "$name" "$node_ip" "$service_ip"
for _ in $(seq 200); do
  [ ! -e "$folder/initialized" ] || break
  sleep 0.05
done
[ -e "$folder/initialized" ] || fail "the node did not start: $(cat "$folder/logs/node.log")"
tr -d ' ' <"/proc/$unshare/task/$unshare/children" >"$folder/init.pid"

ip link add "$device" type veth peer name eth0 netns "$(cat "$folder/init.pid")"
echo "$device $(cat "/sys/class/net/$device/ifindex")" >"$folder/device"
ip address add "$host_ip/24" dev "$device"
ip link set "$device" up
# No default route: nothing leaves the node. Packets to a Service still need a route before kube-proxy's rules rewrite
# their destination.
in_node "$folder" sh -c "ip address add $node_ip/24 dev eth0 && ip link set eth0 up && ip route add $services dev eth0"
for net in "$pods" "$services"; do ip route replace "$net" via "$node_ip" dev "$device"; done

in_node "$folder" /run/node/daemons.sh "$name" "$node_ip" "$services" 9>&- ||
  fail "the cluster did not become ready; the end of its logs: $(tail -n 3 "$folder"/logs/*.log)"
cp "$folder/certificates/admin.kubeconfig" "$folder/kubeconfig"
echo "$host_ip" >"$folder/host"
