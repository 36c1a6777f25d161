"""An index of the reports in a folder, made from the card at the head of each."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from skymap_scanner.errors import InputError
from skymap_scanner.report.page import CARD, link, render
from skymap_scanner.results.fits_files import mjd_to_iso

#: Bytes of a report that are read: the card comes first.
HEAD = 1 << 16
_CARD = re.compile(rf'<script type="application/json" id="{CARD}">([^<]*)</script>')


class Card(BaseModel):
    """What an index shows of a scan; whoever can write to the folder may have written it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(max_length=1000)
    run: int = Field(ge=0, lt=2**63)
    event: int = Field(ge=0, lt=2**63)
    kind: str = Field(max_length=1000)
    real: bool
    mjd: float = Field(ge=0, le=1e6, allow_inf_nan=False)
    ra: float | None = Field(ge=0, le=360, allow_inf_nan=False)
    dec: float | None = Field(ge=-90, le=90, allow_inf_nan=False)
    area: float | None = Field(ge=0, le=50000, allow_inf_nan=False)
    rule: str = Field(max_length=1000)
    pixels: int = Field(ge=0, lt=2**63)
    complete: bool
    scanned: float | None = Field(ge=0, le=1e11, allow_inf_nan=False)

    @property
    def time(self) -> str:
        """Time of the event (UTC)."""
        return mjd_to_iso(self.mjd)[:19]

    @property
    def scanned_at(self) -> str:
        """When the last fit ended (UTC); empty if that is not known."""
        return "" if self.scanned is None else f"{datetime.fromtimestamp(self.scanned, UTC):%Y-%m-%dT%H:%M:%S}"


def read_card(path: Path) -> Card:
    """Read the card of a report; raises InputError if the file cannot be read, or is no report."""
    if not path.is_file():  # a FIFO would be waited for
        raise InputError(f"{path}: is no regular file")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD).decode("utf-8", "replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    found = _CARD.search(head)
    try:
        return Card.model_validate(json.loads(found[1] if found else ""))
    except (ValidationError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no report of a scan") from error


def index_html(cards: Mapping[str, Card]) -> bytes:
    """Return a page that lists reports, the latest event first; ``cards`` are by the path of the report from there."""
    rows: Sequence[tuple[str, Card]] = sorted(cards.items(), key=lambda item: (-item[1].mjd, item[0]))
    return render("index.html", ("index.js",), {"rows": [(link(path), card) for path, card in rows]})
