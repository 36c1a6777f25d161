"""The version of this operator, and which of two versions is newer."""

from __future__ import annotations

import re
from importlib import metadata

VERSION = metadata.version("skymap-scanner")

_FORM = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})([^+]*)(\+.*)?", re.ASCII)


def is_newer(version: str, than: str) -> bool:
    """Return whether ``version`` comes after ``than`` (https://semver.org/).

    A pre-release comes before its release. A text of another form counts as newer: only a version that this one cannot
    know would write it.
    """
    return _place(version) > _place(than)


def _place(version: str) -> tuple[float, float, float, bool, str]:
    """Return the sort key of a version, in which the numbers of a pre-release have leading zeros."""
    found = _FORM.fullmatch(version)
    if found is None:
        return float("inf"), 0, 0, True, ""
    major, minor, patch, suffix, _ = found.groups()
    padded = re.sub(r"\d+", lambda number: number[0].zfill(64), suffix)
    return int(major), int(minor), int(patch), not suffix, padded
