"""Fields of result files that are read with a check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final, get_args

from skymap_api.text import printable_line
from skymap_scanner.errors import InputError
from skymap_scanner.event.model import OnlineDirection, Topology

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


def online_to_entry(online: OnlineDirection | None) -> dict[str, Any]:
    """Return the entries of the online direction; None values are not known."""
    return {} if online is None else {f"online_{key}": value for key, value in asdict(online).items()}


def online_from_entry(header: Mapping[str, Any]) -> OnlineDirection | None:
    """Return the online direction, None if it is not stated; raises InputError for an impossible one."""
    if "online_ra" not in header:
        return None
    error = header.get("online_error")
    found = OnlineDirection(
        free_text(header.get("online_name")),
        float(header["online_ra"]),
        float(header["online_dec"]),
        None if error is None else float(error),
    )
    if not (0 <= found.ra <= 360 and -90 <= found.dec <= 90 and 0 < (found.error or 1) <= 180):
        raise InputError(f"online direction {found.ra:g}, {found.dec:g}, error {error}: expected degrees")
    return found


def nside_of_key(key: str) -> int:
    """Read the nside of a key like ``nside-8``."""
    prefix, _, digits = key.partition("-")
    if prefix != "nside" or not digits.isascii() or not digits.isdigit() or len(digits) > 8:
        raise InputError(f'unknown entry "{key}": expected "nside-8", "nside-64", ...')
    return int(digits)
