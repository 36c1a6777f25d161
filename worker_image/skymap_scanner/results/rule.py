"""How a difference in -ln L is read as a credible region: by Wilks' theorem, or by IceCube's calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: Share of probability within 3 sigma.
THREE_SIGMA = 0.9973


@dataclass(frozen=True)
class ContourRule:
    """Thresholds of 2 delta ln L per credible level, and how the probability density falls with it.

    ``levels`` maps credible level to threshold. The density is exp(-delta ln L / ``scale``); ``statement`` explains
    the contours in one sentence, ``label`` in a word or two.
    """

    name: str
    label: str
    levels: Mapping[float, float]
    scale: float
    statement: str


#: Two degrees of freedom; the figures as IceCube's circulars and scripts round them.
WILKS: Final = ContourRule(
    name="wilks",
    label="Wilks' theorem",
    levels={0.5: 1.39, 0.9: 4.61, THREE_SIGMA: 11.83},
    scale=1.0,
    statement="Contours by Wilks' theorem (2 degrees of freedom): statistical only.",
)

#: From re-simulations of IC160427A, with the uncertainties of the ice (arXiv:1702.06131 describes the event).
#: A parabolic bowl whose 90 % region ends at 64.2 has the density exp(-delta ln L / (64.2 / 4.61)).
CALIBRATED: Final = ContourRule(
    name="calibrated",
    label="IceCube calibration",
    levels={0.5: 22.2, 0.9: 64.2},
    scale=64.2 / 4.61,
    statement="Contours calibrated with re-simulations of IC160427A: statistical and systematic.",
)

RULES: Final[Mapping[str, ContourRule]] = {rule.name: rule for rule in (WILKS, CALIBRATED)}


def percent(credible_level: float) -> str:
    """Name a credible level: ``50%``, ``90%``, ``3 sigma``."""
    return "3 sigma" if credible_level == THREE_SIGMA else f"{100 * credible_level:.0f}%"
