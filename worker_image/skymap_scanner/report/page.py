"""Renders pages: one HTML file each with everything inside, which runs its own script only.

All texts are escaped by the template; the data are JSON without any character that HTML gives a meaning. The content
security policy of a page names its style and its script by their digests, and forbids everything else: a report fetches
nothing, and a live page only connects to its own server.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from skymap_api.text import printable_line
from skymap_scanner.report.scan_report import ScanReport

#: Id of the block with what an index shows of the scan; it comes before everything that is long.
CARD = "card"
#: The parts of the script that draw maps, in the order in which they use each other, and those of a report.
MAP_SCRIPTS = ("healpix.js", "projection.js", "colour.js", "lines.js", "skymap.js", "replay.js", "maps.js")
SCRIPTS = (*MAP_SCRIPTS, "event.js", "charts.js", "report.js")


def report_html(report: ScanReport) -> bytes:
    """Return the page of a scan."""
    # Slow (astropy and scipy): the server of the live page starts with the workers, and needs these later.
    from skymap_scanner.report.content import content  # noqa: PLC0415
    from skymap_scanner.results.fits_files import mjd_to_iso  # noqa: PLC0415

    shown = content(report)
    metadata = report.result.metadata
    return render(
        "report.html",
        SCRIPTS,
        {
            "shown": shown,
            "result": report.result,
            "metadata": metadata,
            "time": mjd_to_iso(metadata.mjd),
            "planned": sum(metadata.plan.values()),
            "rule": metadata.rule,
            "files": [(link(name), printable_line(name)) for name in report.files],
            "card": as_json(shown.card),
            "data": as_json(shown.data),
        },
    )


def render(
    template: str, scripts: tuple[str, ...], values: Mapping[str, Any], *, connect: bool = False, forms: bool = False
) -> bytes:
    """Fill a template of the folder ``page``, with its style and script inside.

    ``connect``, ``forms``: its script may ask the server that the page comes from, and its forms may be sent there.
    """
    style, script = asset("page.css"), _wrapped("".join(map(asset, scripts)))
    policy = (
        f"default-src 'none'; style-src '{digest(style)}'; script-src '{digest(script)}'; img-src data:; "
        f"base-uri 'none'; form-action '{'self' if forms else 'none'}'"
    )
    if connect:
        policy += "; connect-src 'self'"
    inside = {"style": Markup(style), "script": Markup(script), "policy": policy}  # noqa: S704 - our own files
    return _environment().get_template(template).render(**values, **inside).encode()


def as_json(value: Any) -> Markup:
    """Return JSON that can stand in an HTML page: what could end its block is escaped; raises ValueError for NaN."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))  # ASCII, so no line separators
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - has no < > &


def link(path: str) -> str:
    """Return the address of a file relative to the page; its name need not be Unicode."""
    return quote(os.fsencode(path))


def digest(text: str) -> str:
    """Return the source of a policy that allows exactly this inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def asset(name: str) -> str:
    """Return the text of a file of the folder ``page``."""
    return files(__package__).joinpath("page", name).read_text("utf-8")


def _wrapped(script: str) -> str:
    return f'"use strict";\n{{\n{script}}}\n'


@cache
def _environment() -> Environment:
    return Environment(
        autoescape=True, loader=FunctionLoader(asset), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
