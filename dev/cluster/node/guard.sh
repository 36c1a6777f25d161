#!/usr/bin/env bash
# Stops a cluster when a process has ended in any way.
#
#   guard.sh PID NAME
set -euo pipefail
tail --pid="$1" --follow /dev/null
exec "$(dirname "${BASH_SOURCE[0]}")/../down.sh" "$2"
