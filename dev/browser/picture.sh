#!/usr/bin/env bash
# Draws the upper part of a page (a file) as a PNG: picture.sh PAGE PICTURE
set -euo pipefail
browser="$("$(dirname "${BASH_SOURCE[0]}")/install.sh")"
options=()
if [ "$(id -u)" = 0 ]; then options+=(--no-sandbox); fi # Chromium's sandbox does not run as root
"$browser" --headless "${options[@]}" --hide-scrollbars --window-size=1180,1260 --virtual-time-budget=3000 \
  --screenshot="$(realpath "$2")" "file://$(realpath "$1")" 2>/dev/null
