"""The documentation site: `make docs` builds it, `make lint` checks it. The build needs no network."""

from __future__ import annotations

project = "skymap-scanner"
html_title = "skymap-scanner"
html_theme = "furo"
extensions = ["myst_parser"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4
