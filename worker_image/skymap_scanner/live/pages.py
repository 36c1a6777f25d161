"""The pages that the server sends: that of a scan, which its script fills, and the list of scans."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from skymap_api.text import printable_line
from skymap_scanner.live.cluster.resource import Resource
from skymap_scanner.live.scans import ListedScan
from skymap_scanner.report.page import MAP_SCRIPTS, link, render

LIVE_SCRIPTS = (*MAP_SCRIPTS, "charts.js", "live.js")


def live_html(name: str, *, others: bool) -> bytes:
    """Return the page of a scan; ``others``: with a link to the list of scans."""
    return render("live.html", LIVE_SCRIPTS, {"name": name, "others": others}, connect=True)


def resource_html(name: str, user: str, signed_in: bool) -> bytes:
    """Return the page of a scan of a cluster for a user; ``signed_in``: with the form of the sign-in page."""
    values = {"name": name, "others": True, "user": printable_line(user), "signed_in": signed_in}
    return render("resource.html", (*LIVE_SCRIPTS[:-1], "resource.js", "live.js"), values, connect=True, forms=True)


def cluster_html(scans: Sequence[Resource], now: datetime, user: str, *, full: bool, signed_in: bool) -> bytes:
    """Return the list of scans of a cluster; ``full``: there are more."""
    rows = [(link(one.key), one, one.seconds_left(now)) for one in scans]
    values = {"rows": rows, "full": full, "user": printable_line(user), "signed_in": signed_in}
    return render("cluster.html", ("index.js", "scans.js"), values, connect=True, forms=True)


def sign_in_html(note: str = "", *, again: bool = False) -> bytes:
    """Return the form in which a user gives their token; ``again``: the browser asks for the page once more.

    A browser sends the cookie only if one of our pages leads to another one, so the first request after a link on
    another site has none.
    """
    return render("sign_in.html", (), {"note": note, "again": again}, forms=True)


def scans_html(scans: Sequence[ListedScan]) -> bytes:
    """Return the list of the scans on a broker."""
    rows = [(link(one.name), one.name, one.progress) for one in scans]
    return render("scans.html", ("index.js", "scans.js"), {"rows": rows, "printable": printable_line}, connect=True)
