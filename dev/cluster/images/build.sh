#!/usr/bin/env bash
# Builds an image of this project and prints its name and its archive, for pods and for load.sh.
#
#   build.sh worker|operator|pulsar [ARCHIVE]
#
# Uses the Dockerfile where a Docker engine runs. Elsewhere it combines Debian packages and Python wheels in the same
# layout, as root. ~/.cache/skymap-scanner/cluster/images keeps the archive until one of its sources changes.
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
shopt -s inherit_errexit
root="$(cd "$here/../.." && pwd)"
images="$cache/images"
python="${PYTHON:-$root/.venv/bin/python}" # with pip and what builds the wheel
kind="${1:-}"
tag="$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/pyproject.toml")"
docker=""
if command -v docker >/dev/null && docker info >/dev/null 2>&1; then docker=docker; fi

cd "$root"
sources=(dev/cluster/images)
case "$kind" in
  worker) sources+=(pyproject.toml requirements/{scanner,plots,pulsar,kafka,page,build}.txt README.md LICENSE worker_image api) ;;
  operator) sources+=(pyproject.toml requirements/{operator,build}.txt README.md LICENSE api operator) ;;
  pulsar) sources+=(dev/download.sh dev/pulsar helm/skymap-scanner/files/standalone.conf) ;;
  *) fail "usage: build.sh worker|operator|pulsar [ARCHIVE]" ;;
esac
name="docker.io/skymap-scanner/$kind:$tag"
if [ "$kind" = pulsar ]; then
  tag="$(sed -n 's|.*<pulsar.version>\(.*\)</pulsar.version>.*|\1|p' dev/pulsar/pom.xml)"
  name="$([ -n "$docker" ] && echo docker.io/apachepulsar || echo localhost)/pulsar:$tag"
fi

by_docker() {
  if [ "$kind" = pulsar ]; then
    docker pull --quiet "$name" >&2
  else
    docker build --file "$([ "$kind" = worker ] && echo worker_image || echo operator)/Dockerfile" --tag "$name" --build-arg VERSION="$tag" "$root" >&2
  fi
  docker save --output "$1" "$name"
}

by_hand() {
  [ "$(id -u)" = 0 ] || fail "without a running Docker engine, images are built in mount namespaces: needs root"
  [ -x "$python" ] || fail "needs a Python with pip: make install, or PYTHON=FILE"
  if [ "$kind" = pulsar ]; then
    . "$here/images/pulsar-image.sh"
  else
    . "$here/images/python-image.sh"
  fi
  local into=()
  mapfile -t into < <(layers)
  wait $! # fails if layers has failed
  "$python" "$here/images/oci.py" "$1" "$name" "${into[@]}" "${process[@]}"
}

mkdir -p "$images"
key="$(find "${sources[@]}" -type f ! -path '*/__pycache__/*' | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum | cut -c1-12)"
kept="$images/$kind-$tag-$key${docker:+-docker}.tar"
exec 8>"$images/build.lock"
flock 8
if [ ! -e "$kept" ]; then
  part="$images/build"
  rm -rf "$part" # of a killed build
  trap 'rm -rf "$part"' EXIT
  mkdir "$part"
  if [ -n "$docker" ]; then by_docker "$part/image.tar"; else by_hand "$part/image.tar"; fi
  mv "$part/image.tar" "$kept"
  # Keep the last three: another process may be about to load one.
  find "$images" -maxdepth 1 -name "$kind-*.tar" -printf '%T@ %p\n' | sort -rn | tail -n +4 | cut -d' ' -f2- | xargs -r -d '\n' rm
fi
if [ -n "${2:-}" ]; then
  cp "$kept" "$2"
  kept="$(realpath "$2")"
fi
echo "$name $kept"
