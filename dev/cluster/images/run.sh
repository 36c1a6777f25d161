#!/usr/bin/env bash
# Runs a command as root in the image that the layers form; the files that it writes become a layer.
#
#   run.sh OUT LAYER... -- COMMAND WORD...      OUT: the folder for the new layer, which may be one of the layers
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
[ "$(id -u)" = 0 ] || fail "without a Docker engine, images are built in a mount namespace: needs root"
out="$(realpath -m "$1")" layers="" && shift
while [ "$1" != -- ]; do
  layers="$(realpath -e "$1")${layers:+:$layers}" # overlayfs expects the uppermost first
  shift
done
shift
stage="$(mktemp -d)"
trap 'rmdir "$stage"' EXIT
mkdir -p "$out"
# In memory, since the layers may be on an overlay themselves, which cannot hold the upper folder of another.
STAGE="$stage" LAYERS="$layers" OUT="$out" unshare --mount --propagation private bash -euc '
  mount -t tmpfs -o mode=755 tmpfs "$STAGE"
  mkdir "$STAGE"/{new,work,root}
  mount -t overlay -o "lowerdir=$LAYERS,upperdir=$STAGE/new,workdir=$STAGE/work" overlay "$STAGE/root"
  mount --rbind /dev "$STAGE/root/dev"
  mount -t proc proc "$STAGE/root/proc"
  env -i PATH="$PATH" HOME=/tmp PYTHONDONTWRITEBYTECODE=1 ${VARIABLES:-} chroot "$STAGE/root" "$@" >&2
  rm -rf "$STAGE"/new/tmp
  cp -a "$STAGE/new/." "$OUT"
' run "$@"
