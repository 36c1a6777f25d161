"""The photomultiplier: when a photoelectron is recorded, late pulses and afterpulses, and how its current saturates.

The numbers are those of IceCube's simulation of the R7081-02 (module PMTResponseSimulator of IceTray), from the
measurements in Abbasi et al., NIM A 618 (2010) 139, at a gain of 10^7. Prepulses (0.3 %, a twentieth of a
photoelectron) stay below the discriminator's threshold, and are left out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.reconstruction.millipede.afterpulses import (
    AFTER,
    AFTER_SHARE,
    EARLY_AFTER,
    EARLY_CHARGE,
    EARLY_RANGE,
    EARLY_WIDTH,
)
from skymap_scanner.simulation.readout import Hits, draw_charges

Array = NDArray[np.float64]

#: Standard deviation of the transit time, ns.
JITTER = 2.0
#: Share of photoelectrons that come late, and the groups they come in: weight, width (ns, of a Gumbel distribution;
#: negative: its long tail is early) and place (ns).
LATE_SHARE = 0.035
LATE = ((450.0, -3.0, 37.0), (2754.0, -9.0, 52.6), (1841.25, 3.47, 66.0), (500.0, 20.0, 107.0), (145.75, 2.75, 141.0))
#: The anode's pulse falls off by this time on both sides, ns; current of 1 pe per ns at a gain of 10^7, mA.
ANODE_TIME = 2.2
MILLIAMPERE = 1.602
_LOG_GAIN = 7.0


class Saturation(NamedTuple):
    """Parameters of the current: I = I0 L / (L + a exp(-b / I0)), L = ln(1 + c / I0), currents in mA."""

    a: float
    b: float
    c: float


def _saturation(log_gain: float) -> Saturation:
    """Return the parameters at a gain, log10: fits to measurements of R7081-02 (in IceTray, by T. Feusels)."""
    c = 10 ** (-0.364 + log_gain * (0.4247 - 0.005765 * log_gain))
    b = 10 ** (-1.696 + log_gain * (0.9985 - 0.06699 * log_gain))
    return Saturation(c / 10 ** (-1.103 + log_gain * (0.7194 - 0.0372 * log_gain)), b, c)


SATURATION = _saturation(_LOG_GAIN)


def amplify(random: np.random.Generator, dom: NDArray[np.intp], time: Array) -> Hits:
    """Return what the anode gives for photoelectrons of ``dom`` (n,) at ``time`` (n,), ns: hits in any order.

    With jitter, late pulses, afterpulses and saturation.
    """
    recorded = time + JITTER * random.standard_normal(len(time))
    late = random.random(len(time)) < LATE_SHARE
    recorded[late] += _draw_late(random, int(late.sum()))
    hits = [Hits(dom, recorded, draw_charges(random, len(dom)))]
    parents = Hits(dom, time, np.empty(0))
    while len(parents.dom):
        followed = random.random(len(parents.dom)) < AFTER_SHARE
        delay, charge = draw_afterpulses(random, int(followed.sum()))
        parents = Hits(parents.dom[followed], parents.time[followed] + delay, charge)
        hits.append(parents)
    together = Hits(*(np.concatenate([getattr(one, name) for one in hits]) for name in ("dom", "time", "charge")))
    return saturate(together)


def draw_afterpulses(random: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Draw the delay (ns) and the charge (pe) of afterpulses."""
    table = np.array(AFTER)
    weight = table[:, 0] * table[:, 1]
    group = random.choice(len(table), count, p=weight / weight.sum())
    # only the group at 500 ns may reach below 0, in 0.6 % of cases: those are drawn again
    pending = np.arange(count)
    delay = np.zeros(count)
    while len(pending):
        delay[pending] = random.normal(table[group[pending], 2], table[group[pending], 1])
        pending = pending[delay[pending] <= 0]
    charge = draw_charges(random, count)
    early = np.isin(group, EARLY_AFTER)
    low, high = (math.exp(-math.exp((EARLY_CHARGE - edge) / EARLY_WIDTH)) for edge in EARLY_RANGE)
    u = low + (high - low) * random.random(int(early.sum()))
    charge[early] = EARLY_CHARGE - EARLY_WIDTH * np.log(-np.log(u))
    return delay, charge


def _draw_late(random: np.random.Generator, count: int) -> Array:
    """Draw by how much late pulses are late, ns."""
    table = np.array(LATE)
    weight = np.abs(table[:, 0])
    group = random.choice(len(table), count, p=weight / weight.sum())
    u = np.maximum(random.random(count), 1e-6)
    return np.asarray(table[group, 2] - table[group, 1] * np.log(-np.log(u)))


def saturated_share(current: Array) -> Array:
    """Return which share of an ideal current (pe per ns) the anode gives."""
    ideal = np.maximum(current * MILLIAMPERE, 1e-12)
    level = np.log1p(SATURATION.c / ideal)
    return np.asarray(level / (level + SATURATION.a * np.exp(-SATURATION.b / ideal)))


def saturate(hits: Hits) -> Hits:
    """Return the hits sorted by DOM and time, their charge reduced by the current at their time."""
    order = np.lexsort((hits.time, hits.dom))
    dom, time, charge = hits.dom[order], hits.time[order], hits.charge[order]
    return Hits(dom, time, charge * saturated_share(anode_current(dom, time, charge)))


def anode_current(dom: NDArray[np.intp], time: Array, charge: Array) -> Array:
    """Return the ideal current, pe per ns, at the time of each hit; hits sorted by DOM and time.

    A hit's pulse is a two-sided exponential, so what is left of the hits before fades alike for all of them.
    """
    is_first = np.diff(dom, prepend=-1) != 0
    fade = np.where(is_first, 0.0, np.exp(-np.where(is_first, 0.0, np.diff(time, prepend=0.0)) / ANODE_TIME)).tolist()
    before = _left(fade, charge.tolist())
    after = _left([0.0, *reversed(fade)][: len(fade)], charge[::-1].tolist())[::-1]
    return np.asarray((before + charge + after) / (2 * ANODE_TIME))


def _left(fade: list[float], charge: list[float]) -> Array:
    """Return what is left, at each hit, of the charge of those before it."""
    left, result = 0.0, np.empty(len(fade))
    for index, (factor, amount) in enumerate(zip(fade, charge, strict=True)):
        left *= factor
        result[index] = left
        left += amount
    return result
