"""Whether an object is still what it should be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from skymap_api.resource.base import Manifest
from skymap_operator.manifests.labels import content

_SUFFIXES = {"": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_AMOUNT = re.compile(r"([0-9.]+)(?:(m)|(k|[MGTPE]?)(i?)|e([0-9]+))")

#: Where amounts stand: the API server writes them in its own way (1000m as 1).
_AMOUNTS = {"requests", "limits"}

#: What of a Job may be changed while it runs. Its pods stay what they were when it was made.
JOB_FIELDS = ("suspend", "backoffLimit", "activeDeadlineSeconds")


def differs(live: Manifest, wanted: Manifest) -> bool:
    """Tell whether an object has to be written: something else is wanted than was, or somebody has changed it.

    What the API server and others have added beside what is wanted does not count.
    """
    return content(live) != content(wanted) or not _holds(live, wanted)


def job_patch(live: Manifest, wanted: Manifest) -> Manifest:
    """Return the changes to a Job that are wanted and possible; empty if there are none."""
    have, want = live["spec"], wanted["spec"]
    return {name: want.get(name) for name in JOB_FIELDS if have.get(name) != want.get(name)}


def _holds(live: Any, wanted: Any, *, amounts: bool = False) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            _holds(live.get(key), value, amounts=amounts or key in _AMOUNTS) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        if live is None:
            return not wanted
        return len(live) == len(wanted) and all(
            _holds(*pair, amounts=amounts) for pair in zip(live, wanted, strict=True)
        )
    if amounts and isinstance(live, str | int) and isinstance(wanted, str | int):
        return amount(str(live)) == amount(str(wanted))
    return bool(live == wanted) or (live is None and wanted == "")


def amount(text: str) -> Decimal:
    """Read a quantity of Kubernetes, such as 500m or 2Gi.

    Raises
    ------
    ValueError
        If it is none.
    """
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no quantity")
    number, milli, suffix, binary, exponent = match.groups()
    if milli:
        return Decimal(number) / 1000
    if exponent:
        return Decimal(number).scaleb(int(exponent))
    return Decimal(number) * Decimal(1024 if binary else 1000) ** _SUFFIXES[suffix]
