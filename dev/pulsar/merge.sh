#!/usr/bin/env bash
# Combines configurations of Pulsar and prints the result; the last line of a key wins.
#
#   merge.sh FILE...
#
# With two lines of one key the broker would use the last one and its storage node both.
set -euo pipefail
sed -s '/^[[:space:]]*#/d; /^[[:space:]]*$/d; $a\' "$@" | tac | awk -F= '!seen[$1]++'
