"""DOMs and pulses that IceTray's Millipede leaves out because of the pulses alone.

These are the cuts of IceCube's high-energy reconstructions (millipede's HighEnergyExclusions and LatePulseCleaning).
Pulses are given by ``time`` (ns), ``charge`` (pe) and ``dom`` (an index), each of shape (n,), in any order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def bright_doms(charge: NDArray[np.float64], dom: NDArray[np.intp], factor: float) -> set[int]:
    """Return the DOMs with more than ``factor`` times the mean charge of the DOMs that were hit.

    Close to a track the ice model and the saturating DOM are least accurate, and such a DOM outweighs all others.
    """
    per_dom = np.bincount(dom, weights=charge)
    hit = np.bincount(dom) > 0
    if not hit.any():
        return set()
    return {int(index) for index in np.flatnonzero(per_dom > factor * charge.sum() / np.count_nonzero(hit))}


def late_pulses(
    time: NDArray[np.float64], charge: NDArray[np.float64], dom: NDArray[np.intp], delay: float
) -> dict[int, float]:
    """Return, for each DOM with late pulses, the time (ns) from which its pulses are excluded.

    A pulse is late when it comes ``delay`` ns or more after the median of the DOM's charge in time: an afterpulse of
    the photomultiplier, or another particle. A DOM with one pulse has no late ones.
    """
    late: dict[int, float] = {}
    if not len(time):
        return late
    order = np.lexsort((time, dom))
    time, charge, dom = time[order], charge[order], dom[order]
    doms, firsts = np.unique(dom, return_index=True)
    for index, times, charges in zip(doms, np.split(time, firsts[1:]), np.split(charge, firsts[1:]), strict=True):
        if len(times) < 2:
            continue
        cumulative = np.cumsum(charges)
        median = times[np.searchsorted(cumulative, 0.5 * cumulative[-1])]
        if times[-1] >= median + delay:
            late[int(index)] = float(median + delay)
    return late
