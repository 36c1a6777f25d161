"""The pages that the server sends: that of a scan, which its script fills, and the list of scans."""

from __future__ import annotations

from collections.abc import Sequence

from skymap_api.text import printable_line
from skymap_scanner.live.scans import ListedScan
from skymap_scanner.report.page import MAP_SCRIPTS, link, render


def live_html(name: str, *, others: bool) -> bytes:
    """Return the page of a scan; ``others``: with a link to the list of scans."""
    return render("live.html", (*MAP_SCRIPTS, "charts.js", "live.js"), {"name": name, "others": others}, connect=True)


def scans_html(scans: Sequence[ListedScan]) -> bytes:
    """Return the list of the scans on a broker."""
    rows = [(link(one.name), one.name, one.progress) for one in scans]
    return render("scans.html", ("index.js", "scans.js"), {"rows": rows, "printable": printable_line}, connect=True)
