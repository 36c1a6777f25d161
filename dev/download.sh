# Sourced by the scripts that download something once. They set `name`, which begins messages, and define `download`,
# which leaves in $part/whole what is kept.
# shellcheck shell=bash disable=SC2034,SC2154

fail() {
  echo "$name: $*" >&2
  exit 1
}

# Sets `home` to FOLDER in ~/.cache/skymap-scanner, and `cache` to the folder above it. Downloads it if it is missing: it
# becomes visible by one rename when it is whole, and only one process downloads at a time.
#
#   once FOLDER
once() {
  home="${XDG_CACHE_HOME:-${HOME:?set HOME or XDG_CACHE_HOME}/.cache}/skymap-scanner/$1"
  cache="$(dirname "$home")"
  mkdir -p "$cache"
  # The programs of `download` inherit the lock: if this shell is killed, the next one waits until they have ended too.
  exec 9>"$cache/lock"
  flock 9
  if [ -d "$home" ]; then return; fi
  part="$cache/part"
  rm -rf "$part" # of a killed download
  mkdir "$part"
  trap 'rm -rf "$part"' EXIT
  download
  mv "$part/whole" "$home"
}
