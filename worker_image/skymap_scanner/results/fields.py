"""Fields of result files that are read with a check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

from skymap_api.text import printable_line
from skymap_scanner.errors import InputError
from skymap_scanner.event.model import Topology

#: Longest free text (characters) that is kept of a file.
MAX_FREE_TEXT: Final = 1000


def free_text(value: object) -> str:
    """Return text of any language in one line that can be printed and encoded; None is empty."""
    return "" if value is None else printable_line(str(value))[:MAX_FREE_TEXT]


def topology_of(header: Mapping[str, Any]) -> str:
    """Return the topology of the best fit, empty if it is not stated."""
    topology = header.get("topology", "")
    if topology not in ("", *get_args(Topology)):
        raise InputError(f"topology {topology!r}: expected one of {', '.join(get_args(Topology))}")
    return str(topology)


def nside_of_key(key: str) -> int:
    """Read the nside of a key like ``nside-8``."""
    prefix, _, digits = key.partition("-")
    if prefix != "nside" or not digits.isascii() or not digits.isdigit() or len(digits) > 8:
        raise InputError(f'unknown entry "{key}": expected "nside-8", "nside-64", ...')
    return int(digits)
