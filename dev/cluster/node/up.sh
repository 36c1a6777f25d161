#!/usr/bin/env bash
# Starts a native cluster: a node in namespaces of its own, linked to this machine by a pair of virtual interfaces.
#
#   up.sh NAME FOLDER       FOLDER is empty; it is to hold the state, FOLDER/kubeconfig and FOLDER/host
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
name="$1" folder="$2"
programs="$("$here/build.sh")"

# One cluster starts at a time, so that each finds numbers that no other has taken.
mkdir -p "$cache"
exec 9>"$cache/up.lock"
flock 9

# Up to 16 clusters share one range of addresses, each has a sixteenth: its link, its pods, its Services.
range="${SKYMAP_CLUSTER_NETWORK:-10.99}"
[[ "$range" =~ ^[0-9]{1,3}[.][0-9]{1,3}$ ]] || fail "SKYMAP_CLUSTER_NETWORK is two numbers, as 10.123; it is: $range"
number=0
while [ -e "/sys/class/net/skymap-$number" ]; do number=$((number + 1)); done
[ "$number" -lt 16 ] || fail "16 clusters run already: stop one by dev/cluster/down.sh NAME"
device="skymap-$number"
link="$range.$((16 * number))"
pods="$range.$((16 * number + 1)).0/24"
services="$range.$((16 * number + 8)).0/21"
service_ip="$range.$((16 * number + 8)).1"
node_ip="$link.1" host_ip="$link.254"
if ip route show root "$range.0.0/16" | grep -v -e ' dev skymap-' -e '^unreachable ' >&2; then
  fail "this machine has networks inside $range.0.0/16 (see above): set SKYMAP_CLUSTER_NETWORK to another, as 10.123"
fi
# Should a node be dead, or gone, nothing that is meant for it leaves this machine by the default route: it fails at once.
ip route replace unreachable "$range.0.0/16" metric 4000

mkdir -p "$folder/logs" "$folder/config/cni"
for template in "$here"/node/config/*; do
  sed -e "s|@NODE@|$name|g; s|@NODE_IP@|$node_ip|g; s|@PODS@|$pods|g" "$template" >"$folder/config/${template##*/}"
done
mv "$folder/config/cni.conflist" "$folder/config/cni/pods.conflist"

# --kill-child: whoever ends `unshare` ends the node's first process, and the kernel then everything in its namespaces.
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
# No default route: nothing leaves the node. Yet what it sends to a Service needs some route, before kube-proxy's rules
# give it another destination.
in_node "$folder" sh -c "ip address add $node_ip/24 dev eth0 && ip link set eth0 up && ip route add $services dev eth0"
for net in "$pods" "$services"; do ip route replace "$net" via "$node_ip" dev "$device"; done

in_node "$folder" /run/node/daemons.sh "$name" "$node_ip" "$services" 9>&- ||
  fail "the cluster did not become ready; its daemons' last words: $(tail -n 3 "$folder"/logs/*.log)"
cp "$folder/certificates/admin.kubeconfig" "$folder/kubeconfig"
echo "$host_ip" >"$folder/host"
