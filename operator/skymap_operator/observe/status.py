"""Reads the status of a scan, also one that another version of the operator has written.

What this version cannot read is left out, field by field. So after a rollback, a scan that has finished stays finished
and keeps its results, and one that runs keeps its image, its start and its memory limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.status import Condition, ConditionType, Reason
from skymap_api.text import bounded_line

#: Longest message that is kept beside a reason which is unknown here.
_LONGEST_MESSAGE = 1024

#: Most conditions of a status.
_MOST_CONDITIONS = 8

#: What stands for a reason that is unknown here, by the status of the condition Succeeded.
_OUTCOMES = {"True": Reason.COMPLETED, "False": Reason.ROLE_FAILED}


def read_status(found: Any) -> SkymapScanStatus:
    """Parse a status, without the fields and conditions that this version cannot read."""
    try:
        return SkymapScanStatus.model_validate(found or {})
    except ValidationError:
        return SkymapScanStatus.model_validate(_readable(found) if isinstance(found, Mapping) else {})


def _readable(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that can be read, each without the others."""
    listed = found.get("conditions")
    conditions = [one for value in (listed if isinstance(listed, list) else ()) for one in _read_condition(value)]
    given = {**found, "conditions": conditions[:_MOST_CONDITIONS]}
    return {name: value for name, value in given.items() if _valid(name, value)}


def _valid(name: str, value: Any) -> bool:
    try:
        SkymapScanStatus.model_validate({name: value})
    except ValidationError:
        return False
    return True


def _read_condition(found: Any) -> Iterator[Condition]:
    """Yield a condition that can be read; one with an unknown reason only if it says how the scan ended."""
    try:
        yield Condition.model_validate(found)
    except ValidationError:
        outcome = _OUTCOMES.get(str(found.get("status"))) if isinstance(found, Mapping) else None
        if outcome is None or found.get("type") != ConditionType.SUCCEEDED or str(found.get("reason")) in set(Reason):
            return
        message = bounded_line(f"{found.get('reason')}: {found.get('message') or ''}", _LONGEST_MESSAGE)
        yield from _read_condition({**found, "reason": outcome, "message": message})
