"""Decides whether a live object differs from what it should be, and how a Job is corrected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_UP, Context, Decimal
from typing import Any

from skymap_api.resource.base import Manifest
from skymap_operator.decide.actions import Action, Patch
from skymap_operator.manifests.labels import content
from skymap_operator.observe.children import Job

#: A quantity as the API server reads it: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_QUANTITY = re.compile(
    r"(?P<number>[+-]?[0-9]*\.?[0-9]*)(?P<suffix>n|u|m|k|[MGTPE]|[KMGTPE]i|[eE](?P<exponent>[+-]?[0-9]{1,4}))?"
)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
#: The API server rounds requests and limits up to 1m, and caps quantities with a binary suffix.
_SMALLEST, _MOST_BINARY = Decimal("1e-3"), Decimal(2**63 - 1)
#: Precision beyond any accepted quantity, so that nothing else is rounded.
_EXACT = Context(prec=20_000)
#: Beyond this length a quantity is compared as text.
_LONGEST = 100

#: Fields that hold quantities, which the API server rewrites: 1000m becomes 1.
_QUANTITIES = {"requests", "limits"}

#: Fields of a Job that may be changed while it runs. The pod template is immutable.
JOB_FIELDS = ("suspend", "backoffLimit", "activeDeadlineSeconds")


def differs(live: Manifest, wanted: Manifest) -> bool:
    """Return whether the object must be written: because its manifest has changed, or somebody changed the object.

    Fields that the API server and others have added do not count.
    """
    return content(live) != content(wanted) or not _contains(live, wanted)


def patch_job(job: Job, wanted: Manifest) -> list[Action]:
    """Return the patch of those fields of a Job that differ and can be changed; nothing if there are none."""
    want = wanted["spec"]
    changes = {name: want.get(name) for name in JOB_FIELDS if job.spec.get(name) != want.get(name)}
    return [Patch(job.kind, job.name, {"spec": changes})] if changes else []


def same_quantity(one: object, other: object) -> bool:
    """Return whether two quantities of Kubernetes, such as 2Gi and 2147483648, are the same amount."""
    amounts = _amount(str(one)), _amount(str(other))
    return str(one) == str(other) if None in amounts else amounts[0] == amounts[1]


def _contains(live: Any, wanted: Any, *, quantities: bool = False) -> bool:
    """Return whether everything in ``wanted`` is in ``live``."""
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            _contains(live.get(key), value, quantities=quantities or key in _QUANTITIES)
            for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        if live is None:
            return not wanted
        return (
            isinstance(live, list)
            and len(live) == len(wanted)
            and all(_contains(*pair, quantities=quantities) for pair in zip(live, wanted, strict=True))
        )
    if quantities and isinstance(live, str | int) and isinstance(wanted, str | int):
        return same_quantity(live, wanted)
    # The API server drops empty strings, such as the value of an environment variable.
    return bool(live == wanted) or (live is None and wanted == "")


def _amount(text: str) -> Decimal | None:
    """Read a quantity; None if it is invalid or very long."""
    match = _QUANTITY.fullmatch(text) if 0 < len(text) <= _LONGEST else None
    if match is None:
        return None
    digits = any(character.isdigit() for character in match["number"])
    number, suffix = Decimal(match["number"] if digits else 0), match["suffix"] or ""  # the API server reads e3 as 0
    if suffix in _BINARY:
        amount = _EXACT.multiply(number, Decimal(1024 ** _BINARY[suffix]))
        return max(min(_rounded(amount), _MOST_BINARY), -_MOST_BINARY)
    return _rounded(_EXACT.scaleb(number, _DECIMAL.get(suffix, int(match["exponent"] or 0))))


def _rounded(amount: Decimal) -> Decimal:
    """Round away from zero to the smallest quantity."""
    return amount.quantize(_SMALLEST, rounding=ROUND_UP, context=_EXACT)
