"""Afterpulses of the photomultiplier: their numbers, and how many of them to expect after a DOM's pulses.

An afterpulse follows a photoelectron by 0.3 to 10 us. So given the pulses that a DOM had before, the charge of its
afterpulses in a later bin is known on average, whatever gave the light: it is noise. This is the likelihood of a
process that excites itself, in which each bin is expected given those before it.

The numbers are those of IceCube's simulation of the R7081-02 (module PMTResponseSimulator of IceTray), from the
measurements in Abbasi et al., NIM A 618 (2010) 139, at a gain of 10^7.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

#: Share of photoelectrons that an afterpulse follows, which may itself be followed by another.
AFTER_SHARE = 0.0593
#: Groups of afterpulses: amplitude, width and place (ns) of a Gaussian. The two of 20 ns have several photoelectrons.
AFTER = (
    (10.0, 200.0, 500.0),
    (2.0254, 20.0, 540.0),
    (3.9628, 20.0, 660.0),
    (6.5, 100.0, 1100.0),
    (4.5, 200.0, 1300.0),
    (8.5, 225.0, 1650.0),
    (8.95, 300.0, 2075.0),
    (5.15, 500.0, 2850.0),
    (3.0, 700.0, 4750.0),
    (5.0, 400.0, 6150.3),
    (17.442, 944.59, 7833.4),
)
EARLY_AFTER = (1, 2)
#: Charge of those, pe: a Gumbel distribution of this place and width, between 3.3 and 26.3; and its mean.
EARLY_CHARGE, EARLY_WIDTH, EARLY_RANGE = 13.31, -3.386, (3.33, 26.28)
EARLY_MEAN = 12.0

#: Times after a photoelectron at which the expectation is tabulated, ns.
_STEP, _LAST = 10.0, 10_000.0
#: Length of the cells that pulses are counted in, ns, and cells that are taken together: a bound for memory and time.
_CELL, _BLOCK = 5.0, 256


def _curve() -> NDArray[np.float64]:
    """Return the charge of afterpulses, PE, that one photoelectron has given by each time of the table."""
    total = math.fsum(amplitude * width for amplitude, width, _ in AFTER)
    times = [_STEP * n for n in range(round(_LAST / _STEP) + 1)]
    return np.array([math.fsum(_come(time, total)) - math.fsum(_come(0.0, total)) for time in times])


def _come(time: float, total: float) -> list[float]:
    """Return the charge, PE, that each group has given by ``time`` (ns)."""
    return [
        AFTER_SHARE
        * (EARLY_MEAN if group in EARLY_AFTER else 1.0)
        * (amplitude * width / total)
        * (1 + math.erf((time - place) / (width * math.sqrt(2))))
        / 2
        for group, (amplitude, width, place) in enumerate(AFTER)
    ]


_TIMES, _GIVEN = np.arange(0.0, _LAST + _STEP / 2, _STEP), _curve()


def expected_afterpulses(
    time: NDArray[np.float64], charge: NDArray[np.float64], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the charge, PE, of afterpulses to expect between ``edges`` (n + 1,), ns, after one DOM's pulses; (n,).

    ``time`` (p,), ns, and ``charge`` (p,), PE: of the pulses, in any order. Their times are rounded to `_CELL`.
    """
    cells, cell_of = np.unique(np.floor(time / _CELL), return_inverse=True)
    charges, given = np.bincount(cell_of, charge), np.zeros(len(edges))
    for first in range(0, len(cells), _BLOCK):
        some = slice(first, first + _BLOCK)
        came = (cells[some, None] + 0.5) * _CELL
        begin, end = np.searchsorted(edges, [came[0, 0], came[-1, 0] + _LAST])
        # a sum over the first axis adds row by row, so its bits do not depend on the host
        given[begin:end] += (charges[some, None] * np.interp(edges[begin:end] - came, _TIMES, _GIVEN)).sum(axis=0)
        given[end:] += (charges[some, None] * _GIVEN[-1]).sum(axis=0)
    return np.maximum(np.diff(given), 0.0)  # rounding may give less
