#!/usr/bin/env bash
# Makes the lowest layer of our images, once, and prints its folder: Python, a shell and what they need, out of Debian's
# packages, which are unpacked and not installed. It is kept in ~/.cache/skymap-scanner/cluster/images.
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
command -v apt-get dpkg-deb >/dev/null || fail "without a Docker engine, images are made of Debian packages: needs apt-get"

# libstdc++6 is for the compiled parts of Python packages, busybox for the shell and its commands.
packages=(python3-minimal libpython3-stdlib libstdc++6 busybox ca-certificates netbase tzdata)
home="$cache/images/python-$(sha256sum "${BASH_SOURCE[0]}" | cut -c1-12)"
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
mkdir -p "$part/archives/partial" "$part/root/tmp"
cd "$part"
: >status # with no package installed, apt fetches every one that they depend on
apt-get install -qq -y --download-only --no-install-recommends \
  -o Dir::State::status="$part/status" -o Dir::Cache::archives="$part/archives" -o Debug::NoLocking=1 -o APT::Sandbox::User=root \
  "${packages[@]}" >&2 || fail "apt could not fetch Python's packages (see above); it may need: apt-get update"
for archive in archives/*.deb; do dpkg-deb --extract "$archive" root; done

cd root
rm -rf usr/share/{doc,man,locale,info,lintian}
ln -sf python3 usr/bin/python
# What the packages' own scripts would have done.
for command in $(bin/busybox --list); do
  [ -e "bin/$command" ] || [ -e "usr/bin/$command" ] || ln -s /bin/busybox "bin/$command"
done
find usr/share/ca-certificates -name '*.crt' -exec cat {} + >etc/ssl/certs/ca-certificates.crt
printf '%s\n' root:x:0:0:root:/root:/bin/sh nobody:x:65534:65534:nobody:/nonexistent:/bin/false >etc/passwd
printf '%s\n' root:x:0: nogroup:x:65534: >etc/group
chmod 1777 tmp
mv "$part/root" "$home"
echo "$home"
