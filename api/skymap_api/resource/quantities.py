"""Quantities of Kubernetes, such as ``500m`` or ``2Gi``: the type of a field, and how two of them compare."""

from __future__ import annotations

import re
from decimal import ROUND_UP, Context, Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

_PATTERN = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)(m|k|[MGTPE]|[KMGTPE]i|e[0-9]{1,2})?$"
#: A quantity without a sign; YAML may read it as an integer.
Quantity = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    Field(pattern=_PATTERN, max_length=32),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": _PATTERN,
            "maxLength": 32,
            "minimum": 0,
            "x-kubernetes-int-or-string": True,
        }
    ),
]

#: A quantity as the API server reads it: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_READ = re.compile(
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


def amount(text: str) -> Decimal | None:
    """Return the amount that a quantity stands for; None if it is invalid or very long."""
    match = _READ.fullmatch(text) if 0 < len(text) <= _LONGEST else None
    if match is None:
        return None
    digits = any(character.isdigit() for character in match["number"])
    number, suffix = Decimal(match["number"] if digits else 0), match["suffix"] or ""  # the API server reads e3 as 0
    if suffix in _BINARY:
        found = _EXACT.multiply(number, Decimal(1024 ** _BINARY[suffix]))
        return max(min(_rounded(found), _MOST_BINARY), -_MOST_BINARY)
    return _rounded(_EXACT.scaleb(number, _DECIMAL.get(suffix, int(match["exponent"] or 0))))


def same_quantity(one: object, other: object) -> bool:
    """Return whether two quantities, such as 2Gi and 2147483648, are the same amount."""
    amounts = amount(str(one)), amount(str(other))
    return str(one) == str(other) if None in amounts else amounts[0] == amounts[1]


def compare(one: str, other: str) -> int:
    """Return whether a quantity is less than (-1), equal to (0) or more than (1) another; both are a `Quantity`."""
    return int((amount(one) or Decimal(0)).compare(amount(other) or Decimal(0)))


def _rounded(found: Decimal) -> Decimal:
    """Round away from zero to the smallest quantity."""
    return found.quantize(_SMALLEST, rounding=ROUND_UP, context=_EXACT)
