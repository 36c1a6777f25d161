#!/usr/bin/env bash
# Makes an image of this project as an OCI archive: Python, our dependencies as constraints.txt pins them, our wheel.
#
#   wheel.sh ARCHIVE NAME:TAG [--extras pulsar,plots] [-- OCI-OPTION...]
#
# OCI-OPTION: of oci.py, as --entrypoint skymap-scanner. The dependencies are kept in ~/.cache/skymap-scanner/cluster/images
# until they change, so that after a change to our source an image takes seconds.
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
[ $# -ge 2 ] || fail "say where to and which: wheel.sh ARCHIVE NAME:TAG [--extras NAMES] [-- OCI-OPTION...]"
archive="$(realpath -m "$1")" name="$2" extras=""
shift 2
while [ $# -gt 0 ]; do
  case "$1" in
    --extras) extras="[${2:?--extras needs their names}]" && shift 2 ;;
    --) shift && break ;;
    *) fail "unknown option $1; there are --extras and --" ;;
  esac
done
root="$here/.."
python="${PYTHON:-$root/.venv/bin/python}"
base="$("$here/images/python.sh")"
release="$(basename "$(echo "$base"/usr/lib/python3.*)")" # as python3.11: the image's, whatever ours is
pip=("$python" -m pip --quiet --disable-pip-version-check)
# Wheels only: compilers know this machine's Python, not the image's.
into=(install --only-binary :all: --python-version "${release#python}" --implementation cp --no-compile)

key="$(cat "$root/pyproject.toml" "$root/constraints.txt" "${BASH_SOURCE[0]}" | sha256sum | cut -c1-12)"
kind="$cache/images/dependencies-$release${extras//[^a-z]/-}"
dependencies="$kind-$key"
exec 9>"$cache/images/lock"
flock 9
part="$cache/images/part"
rm -rf "$part"
mkdir -p "$part/wheel"
trap 'rm -rf "$part"' EXIT
"${pip[@]}" wheel --no-deps --wheel-dir "$part/wheel" "$root" >&2
wheel="$(echo "$part"/wheel/*.whl)"
if [ ! -d "$dependencies" ]; then
  "${pip[@]}" "${into[@]}" -c "$root/constraints.txt" --target "$part/dependencies" "$wheel$extras" >&2
  # What is ours is a layer of its own.
  rm -rf "$part"/dependencies/{skymap_scanner*,skymap_operator*,bin/skymap-*}
  mkdir -p "$part/layer/usr/lib/python3"
  mv "$part/dependencies" "$part/layer/usr/lib/python3/dist-packages"
  rm -rf "$kind"-???????????? # what they were before
  mv "$part/layer" "$dependencies"
fi
ours="$part/ours/usr/lib/python3/dist-packages"
"${pip[@]}" "${into[@]}" --no-deps --target "$ours" "$wheel" >&2
mkdir -p "$part/ours/usr/bin"
for script in "$ours"/bin/*; do # written for this machine's Python
  sed '1s|.*|#!/usr/bin/python3|' "$script" >"$part/ours/usr/bin/${script##*/}"
  chmod +x "$part/ours/usr/bin/${script##*/}"
done
rm -rf "$ours/bin"
"$python" "$here/images/oci.py" "$archive" "$name" "$base" "$dependencies" "$part/ours" "$@"
