#!/usr/bin/env bash
# Makes a root folder out of Debian's packages and those that they need, which are unpacked and not installed, once, and
# prints it. It is kept in ~/.cache/skymap-scanner/cluster/images.
#
#   debian.sh NAME PACKAGE...      NAME: what the folder's name begins with
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
name="$1" && shift
command -v apt-get dpkg-deb >/dev/null || fail "without a Docker engine, images are made of Debian packages: needs apt-get"

home="$cache/images/$name-$({ cat "${BASH_SOURCE[0]}" && echo "$@"; } | sha256sum | cut -c1-12)"
mkdir -p "$cache/images"
exec 9>"$cache/images/lock"
flock 9
if [ -d "$home" ]; then
  echo "$home"
  exit
fi
part="$cache/images/part"
rm -rf "$part"
trap 'rm -rf "$part"' EXIT
mkdir -p "$part/archives/partial" "$part/root"/{tmp,dev,proc}
cd "$part"
: >status # with no package installed, apt fetches every one that they depend on
apt-get install -qq -y --download-only --no-install-recommends \
  -o Dir::State::status="$part/status" -o Dir::Cache::archives="$part/archives" -o Debug::NoLocking=1 -o APT::Sandbox::User=root \
  "$@" >&2 || fail "apt could not fetch $* (see above); it may need: apt-get update"
for archive in archives/*.deb; do dpkg-deb --extract "$archive" root; done

cd root
rm -rf usr/share/{doc,man,locale,info,lintian}
# What the packages' own scripts would have done.
if [ -e bin/busybox ]; then
  for command in $(bin/busybox --list); do
    [ -e "bin/$command" ] || [ -e "usr/bin/$command" ] || ln -s /bin/busybox "bin/$command"
  done
fi
find usr/share/ca-certificates -name '*.crt' -exec cat {} + >etc/ssl/certs/ca-certificates.crt
printf '%s\n' root:x:0:0:root:/root:/bin/sh nobody:x:65534:65534:nobody:/nonexistent:/bin/false >etc/passwd
printf '%s\n' root:x:0: nogroup:x:65534: >etc/group
chmod 1777 tmp
mv "$part/root" "$home"
echo "$home"
