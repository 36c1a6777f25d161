#!/usr/bin/env bash
# Builds the lowest layer of our images (Python, a shell and what they need) once, and prints its folder.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# libstdc++6 is for the compiled parts of Python packages, busybox for the shell and its commands.
exec "$here/debian.sh" python python3-minimal libpython3-stdlib libstdc++6 busybox ca-certificates netbase tzdata
