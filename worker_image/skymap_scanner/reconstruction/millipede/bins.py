"""The data of the likelihood: which DOMs count, and the time bins of their charge. Pure functions.

The bins of a DOM are its pulses and the gaps between them, merged by Bayesian blocks (J. D. Scargle et al., Astrophys.
J. 764 (2013) 167): neighbours stay apart only when the change of rate is significant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.errors import ReconstructionError
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.i3 import OMKey
from skymap_scanner.i3.pulse_objects import LOCAL_COINCIDENCE
from skymap_scanner.reconstruction.millipede.compiled import compiled

#: Cost of a further block: significance of SIGMA standard deviations, SIGMA^2 / 2.
SIGMA = 3.0
#: Shortest block, ns.
MIN_WIDTH = 8.0
#: No DOM counts more than this in the choice of start times, PE.
_CLUE_CHARGE = 20.0


@dataclass(frozen=True)
class DomBins:
    """Time bins of one DOM: its index in the geometry, ``edges`` (n + 1,) in ns, and ``charges`` (n,) in PE."""

    dom: int
    edges: NDArray[np.float64]
    charges: NDArray[np.float64]


@dataclass(frozen=True)
class EventData:
    """What the likelihood sees of an event.

    ``binned``: the DOMs with pulses; ``unhit``: indices of the live DOMs without; ``clues`` (n, 5): of the DOMs with
    local coincidence, position, first such pulse (ns) and charge (PE, capped); ``centre``: charge-weighted, m.
    """

    binned: tuple[DomBins, ...]
    unhit: NDArray[np.int64]
    clues: NDArray[np.float64]
    centre: NDArray[np.float64]


def bin_event(event: PreparedEvent, sigma: float = SIGMA) -> EventData:
    """Choose the DOMs that take part and bin their charge.

    Raises
    ------
    ReconstructionError
        When no charge is left to fit, or no DOM has local coincidence.
    """
    geometry = event.geometry
    lost = np.array(
        [_is_excluded(event, string, om) for string, om in zip(geometry.string, geometry.om, strict=True)], np.bool_
    )
    lost |= geometry.dead
    index = {(int(s), int(o)): i for i, (s, o) in enumerate(zip(geometry.string, geometry.om, strict=True))}
    binned, clues = [], []
    hit = np.zeros(len(lost), np.bool_)
    weighted, total = np.zeros(3), 0.0
    for key, pulses in _by_dom(event):
        dom = index.get(key)
        if dom is None:
            continue
        hit[dom] = True
        if lost[dom]:
            continue
        time, charge, width, flags = pulses
        start, stop = event.window[0], min(event.window[1], event.late.get(OMKey(*key, 0), math.inf))
        edges, charges = pulse_bins(time, charge, width, start, stop)
        binned.append(DomBins(dom, *bayesian_blocks(edges, charges, sigma)))
        weighted += charge.sum() * geometry.position[dom]
        total += float(charge.sum())
        local = (flags & LOCAL_COINCIDENCE) != 0
        if local.any():
            clues.append((*geometry.position[dom], time[local].min(), min(float(charge[local].sum()), _CLUE_CHARGE)))
    if not any(dom.charges.any() for dom in binned):
        raise ReconstructionError(
            f"{event.name}: no charge of {event.pulse_series} is left to fit: every DOM with pulses is excluded, dead"
            " or outside the readout window"
        )
    if not clues:
        raise ReconstructionError(
            f"{event.name}: no pulse of {event.pulse_series} that takes part has local coincidence (HLC), so there is"
            " no start for a fit"
        )
    return EventData(tuple(binned), np.flatnonzero(~hit & ~lost), np.array(clues), weighted / total)


def pulse_bins(
    time: NDArray[np.float64], charge: NDArray[np.float64], width: NDArray[np.float64], start: float, stop: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the edges and charges of pulses and gaps in [start, stop); pulses (n,) rise in time.

    A pulse ends where the next begins, at the latest; what begins together is one pulse. Pulses that begin outside of
    the window do not count.
    """
    inside = (time >= start) & (time < stop) & (charge > 0)
    time, width = time[inside], width[inside]
    begins, which = np.unique(time, return_inverse=True)
    charges = np.bincount(which, weights=charge[inside], minlength=len(begins))
    ends = np.zeros(len(begins))
    np.maximum.at(ends, which, time + width)
    ends = np.minimum(np.maximum(ends, begins + 1.0), np.append(begins[1:], stop))
    edges, contents = [start], []
    for begin, end, content in zip(begins.tolist(), ends.tolist(), charges.tolist(), strict=True):
        if begin > edges[-1]:
            edges.append(begin)
            contents.append(0.0)
        edges.append(end)
        contents.append(content)
    if edges[-1] < stop:
        edges.append(stop)
        contents.append(0.0)
    return np.array(edges), np.array(contents)


def bayesian_blocks(
    edges: NDArray[np.float64], charges: NDArray[np.float64], sigma: float = SIGMA, min_width: float = MIN_WIDTH
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Merge neighbouring bins: the partition of greatest sum of q ln(q / width) - sigma^2 / 2 over its blocks.

    No block is shorter than ``min_width`` (ns), unless all of it is.
    """
    if edges[-1] - edges[0] < min_width:
        return edges[[0, -1]], charges.sum(keepdims=True)
    ends = np.zeros(len(charges), np.int64)
    count = _best_partition(edges, charges, sigma * sigma / 2, min_width, ends)
    block_ends = ends[:count][::-1]
    sums = np.concatenate([[0.0], np.cumsum(charges)])
    return edges[np.append(0, block_ends)], np.diff(sums[np.append(0, block_ends)])


@compiled
def _best_partition(
    edges: NDArray[np.float64],
    charges: NDArray[np.float64],
    cost: float,
    min_width: float,
    ends: NDArray[np.int64],
) -> int:
    """Fill the ends (edge numbers) of the best blocks, last first, and return their number; dynamic programming."""
    n = charges.size
    best = np.full(n + 1, -np.inf)
    last = np.zeros(n + 1, np.int64)
    best[0] = 0.0
    sums = np.zeros(n + 1)
    for k in range(n):
        sums[k + 1] = sums[k] + charges[k]
    for k in range(1, n + 1):
        for j in range(k):
            width = edges[k] - edges[j]
            if width < min_width or best[j] == -np.inf:
                continue
            charge = sums[k] - sums[j]
            fitness = best[j] - cost
            if charge > 1e-12:
                fitness += charge * math.log(charge / width)
            if fitness > best[k]:
                best[k], last[k] = fitness, j
    count, k = 0, n
    while k > 0:
        ends[count] = k
        count += 1
        k = last[k]
    return count


def _is_excluded(event: PreparedEvent, string: int, om: int) -> bool:
    """Say whether a DOM takes no part."""
    return OMKey(int(string), int(om), 0) in event.excluded


def _by_dom(
    event: PreparedEvent,
) -> Iterator[
    tuple[tuple[int, int], tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8]]]
]:
    """Yield (string, om) and time, charge, width, flags of the pulses of each DOM, in order of time."""
    pulses = event.pulses
    dom = pulses.string.astype(np.int64) * 1000 + pulses.om
    order = np.lexsort((pulses.time, dom))
    for part in np.split(order, np.flatnonzero(np.diff(dom[order])) + 1):
        if len(part):
            key = (int(pulses.string[part[0]]), int(pulses.om[part[0]]))
            columns = (pulses.time[part], pulses.charge[part], pulses.width[part])
            time, charge, width = (np.asarray(column, np.float64) for column in columns)
            yield key, (time, charge, width, pulses.flags[part])
