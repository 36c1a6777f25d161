"""How a difference in -ln L is read as a credible region: by Wilks' theorem, or by a calibration.

Wilks' thresholds cover statistical uncertainty alone. Calibrated ones come from re-simulations (``calibration.py``),
and are what the results print as 50 % and 90 %. A rule is stored with the result that it was chosen for, as flat
entries (``rule_to_entry``), since the headers of npz files hold nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from skymap_scanner.errors import InputError

#: Share of probability within 3 sigma.
THREE_SIGMA = 0.9973
#: Credible levels of every rule.
LEVELS: Final = (0.5, 0.9)
#: Greatest threshold that is read; the calibration of IC160427A, far above others, has 64.2.
MAX_THRESHOLD = 1e6
#: Greatest length of a text that is read.
MAX_TEXT = 500


@dataclass(frozen=True)
class ContourRule:
    """Thresholds of 2 delta ln L per credible level, and how the probability density falls with it.

    ``levels`` maps credible level to threshold. The density is exp(-delta ln L / ``scale``); ``statement`` explains
    the contours in a sentence or two, ``label`` in a word or two. ``source`` names where the thresholds come from.
    """

    name: str
    label: str
    levels: Mapping[float, float]
    scale: float
    statement: str
    source: str


#: Two degrees of freedom; the figures as IceCube's circulars and scripts round them.
WILKS: Final = ContourRule(
    name="wilks",
    label="Wilks' theorem",
    levels={0.5: 1.39, 0.9: 4.61, THREE_SIGMA: 11.83},
    scale=1.0,
    statement="Contours by Wilks' theorem (2 degrees of freedom): statistical only.",
    source="Wilks' theorem",
)


def calibrated_rule(half: float, ninety: float, statement: str, source: str) -> ContourRule:
    """Return the rule of calibrated thresholds of the 50 % and 90 % regions.

    A parabolic bowl whose 90 % region ends at ``ninety`` has the density exp(-delta ln L / (ninety / 4.61)).
    """
    levels = dict(zip(LEVELS, (half, ninety), strict=True))
    return ContourRule("calibrated", "calibrated", levels, ninety / WILKS.levels[0.9], statement, source)


#: What IceCube's circulars used until September 2024 with the original Millipede: thresholds from re-simulations of one
#: track with the uncertainties of the ice (arXiv:1702.06131 describes the event).
IC160427A: Final = replace(
    calibrated_rule(
        22.2,
        64.2,
        "Contours of IceCube's circulars before September 2024, calibrated with re-simulations of IC160427A by the "
        "original Millipede: statistical and systematic, of one track.",
        "IceCube's re-simulations of IC160427A",
    ),
    name="ic160427a",
    label="calibration of IC160427A, before September 2024",
)


def uncalibrated(reason: str) -> ContourRule:
    """Return Wilks' rule, whose statement says why no calibration is applied."""
    return replace(WILKS, statement=f"{WILKS.statement} Not calibrated: {reason}.")


def rule_to_entry(rule: ContourRule) -> dict[str, str | float]:
    """Return a rule as flat entries of a result's metadata."""
    thresholds = {f"two_delta_llh_{100 * level:.0f}": rule.levels[level] for level in LEVELS}
    return {"contours": rule.name, **thresholds, "contours_statement": rule.statement, "contours_source": rule.source}


def rule_from_entry(entry: Mapping[str, Any]) -> ContourRule | None:
    """Return the rule that a result's metadata names, or None if it names none.

    Raises InputError for an unknown name, thresholds that do not rise from 0, or an unreadable text.
    """
    if "contours" not in entry:
        return None
    statement, source = (checked_text(key, entry.get(key)) for key in ("contours_statement", "contours_source"))
    if entry["contours"] == WILKS.name:
        return replace(WILKS, statement=statement, source=source)
    if entry["contours"] != "calibrated":
        raise InputError(f"contours {entry['contours']!r}: expected 'wilks' or 'calibrated'")
    half, ninety = (_number(entry.get(f"two_delta_llh_{100 * level:.0f}")) for level in LEVELS)
    if not 0 < half < ninety <= MAX_THRESHOLD:
        raise InputError(f"two_delta_llh_50 {half}, two_delta_llh_90 {ninety}: they must rise from 0")
    return calibrated_rule(half, ninety, statement, source)


def checked_text(field: str, text: object) -> str:
    """Return a text that fits into every header: printable ASCII, at most ``MAX_TEXT``; raises InputError if not."""
    if not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT or not (text.isascii() and text.isprintable()):
        raise InputError(f"{field} {str(text)[:50]!r}: expected up to {MAX_TEXT} printable ASCII characters")
    return text


def percent(credible_level: float) -> str:
    """Name a credible level: ``50%``, ``90%``, ``3 sigma``."""
    return "3 sigma" if credible_level == THREE_SIGMA else f"{100 * credible_level:.0f}%"


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
