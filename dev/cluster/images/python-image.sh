# Builds an image of our code without a container engine; sourced by build.sh. The layers are those of the Dockerfile:
# Python, the dependencies locked in requirements/, our wheel, and the worker's compiled kernels.
# ~/.cache/skymap-scanner/cluster/images keeps all but the wheel until they change.

prefix=/opt/skymap-scanner # a virtual environment
base="$("$here/images/python.sh")"
release="$(basename "$(echo "$base"/usr/lib/python3.*)")" # the image's Python, such as python3.11
process=(
  --entrypoint "skymap-$([ "$kind" = worker ] && echo scanner || echo operator)" --user 1000:1000
  --env PATH="$prefix/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
  --env HOME=/tmp --env PYTHONUNBUFFERED=1 --env PYTHONDONTWRITEBYTECODE=1
  --label org.opencontainers.image.title="skymap-scanner/$kind" --label org.opencontainers.image.version="$tag"
  --label org.opencontainers.image.licenses="MIT$([ "$kind" = operator ] || echo ' AND GPL-2.0-only')" # the worker's healpy
)
[ "$kind" = operator ] || process+=(--env NUMBA_CACHE_DIR="$prefix/kernels")

# Installs packages with this machine's pip into layer $1.
install_into() {
  local layer="$1$prefix" packages="$1$prefix/lib/$release/site-packages" script
  shift
  # Only wheels: a compiler would build for this machine's Python, not for the image's.
  "$python" -P -m pip install --quiet --disable-pip-version-check --no-compile --target "$packages" \
    --only-binary :all: --python-version "${release#python}" --implementation cp "$@" >&2
  mkdir -p "$layer/bin"
  for script in "$packages"/bin/*; do # written for this machine's Python
    sed "1s|.*|#!$prefix/bin/python|" "$script" >"$layer/bin/${script##*/}"
    chmod +x "$layer/bin/${script##*/}"
  done
  rm -rf "$packages/bin"
}

# Adds byte code of the image's Python to layer $1; $2...: the folders with code.
add_bytecode() {
  "$here/images/run.sh" "$1" "$base" "$1" -- python3 -P - "${@:2}" <"$here/images/bytecode.py"
}

# Prints the cached folder for name $1 and the digest of standard input; if it is missing, $2 creates it in $part/new.
kept() {
  local folder
  folder="$cache/images/$1-$(sha256sum | cut -c1-12)"
  if [ ! -d "$folder" ]; then
    mkdir "$part/new"
    "$2" "$part/new"
    rm -rf "$cache/images/$1"-???????????? # older versions
    mv "$part/new" "$folder"
  fi
  echo "$folder"
}

# The operator's extra lists everything it imports, so its image needs none of the scanner's dependencies.
locks=("$root"/requirements/operator.txt)
[ "$kind" = operator ] || locks=("$root"/requirements/{scanner,plots,pulsar,kafka,page}.txt)

make_dependencies() {
  install_into "$1" --require-hashes "${locks[@]/#/--requirement=}"
  # Tests are a sixth of the size. Astropy imports its own.
  find "$1$prefix" -type d -name tests ! -path '*/astropy/tests' -prune -exec rm -r {} +
  ln -s /usr/bin/python3 "$1$prefix/bin/python"
  printf 'home = /usr/bin\ninclude-system-site-packages = false\n' >"$1$prefix/pyvenv.cfg"
  add_bytecode "$1" "/usr/lib/$release" "$prefix"
}

make_ours() {
  install_into "$1" --no-deps "$wheel"
  local other=scanner
  [ "$kind" = operator ] || other=operator
  rm -r "$1$prefix/lib/$release/site-packages/skymap_$other" "$1$prefix/bin/skymap-$other"
  add_bytecode "$1" "$prefix"
}

make_kernels() {
  VARIABLES="NUMBA_CACHE_DIR=$prefix/kernels" "$here/images/run.sh" "$1" "$base" "$dependencies" "$ours" -- \
    "$prefix/bin/skymap-scanner" compile
  rm "$1$prefix"/kernels/*.lock
}

# Prints the layers of image $kind.
layers() {
  dependencies="$({ echo "$base" && cat "${locks[@]}" "$here"/images/{python-image.sh,bytecode.py}; } |
    kept "$kind-dependencies" make_dependencies)"
  "$python" -P -m pip wheel --quiet --disable-pip-version-check --no-deps --no-index --no-build-isolation --wheel-dir "$part" "$root" >&2
  wheel="$(echo "$part"/*.whl)"
  ours="$part/ours"
  mkdir "$ours"
  make_ours "$ours"
  printf '%s\n' "$base" "$dependencies" "$ours"
  [ "$kind" = operator ] ||
    { echo "$dependencies" && cat "$root/worker_image/skymap_scanner/reconstruction/millipede/"*.py; } | kept kernels make_kernels
}
