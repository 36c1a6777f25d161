"""The data of the likelihood: which DOMs count, and the time bins of their charge. Pure functions.

The edges of the bins depend on the geometry and on where the seeds start, never on the pulses of the DOM: edges at the
pulses themselves would make the expected charge, given the edges, differ from the model's, and bias the fit
(docs/explanation/likelihood.md). Bins are `WIDTH` long up to the one with direct light from the seed's vertex in its
middle; after it, a bin grows by as much as it comes later, as the arrival times of scattered light spread.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.errors import ReconstructionError
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.i3 import OMKey
from skymap_scanner.i3.pulse_objects import LOCAL_COINCIDENCE
from skymap_scanner.reconstruction.millipede.afterpulses import expected_afterpulses
from skymap_scanner.reconstruction.millipede.constants import C_ICE

#: Width of the bins up to that of the direct light, ns.
WIDTH = 25.0
#: Bins are that long until this time before the direct light, ns: no readout begins so early. One bin holds what does.
EARLY = 40_000.0
#: Light later than this after the direct light of the seed's vertex does not count, for any DOM (ns): it is mostly
#: afterpulses.
LATE = 3000.0
#: Time over which the largest current of a DOM is taken, ns.
CURRENT_TIME = 25.0
#: No DOM counts more than this in the choice of start times, PE.
_CLUE_CHARGE = 20.0


@dataclass(frozen=True)
class DomBins:
    """Time bins of one DOM: its index in the geometry, ``edges`` (n + 1,) in ns, and ``charges`` (n,) in PE.

    ``after`` (n,): afterpulses to expect after the charge that came before, PE. ``current``: the largest, PE per ns.
    """

    dom: int
    edges: NDArray[np.float64]
    charges: NDArray[np.float64]
    after: NDArray[np.float64]
    current: float


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


def bin_event(event: PreparedEvent, width: float = WIDTH) -> EventData:
    """Choose the DOMs that take part and bin their charge.

    Raises
    ------
    ReconstructionError
        When no charge is left to fit, or no DOM has local coincidence.
    """
    geometry = event.geometry
    index = {
        OMKey(s, o, 0): i for i, (s, o) in enumerate(zip(geometry.string.tolist(), geometry.om.tolist(), strict=True))
    }
    lost = geometry.dead | np.array([key in event.excluded for key in index], np.bool_)
    binned, clues = [], []
    hit = np.zeros(len(lost), np.bool_)
    weighted, total = np.zeros(3), 0.0
    for key, time, charge, flags in _by_dom(event):
        dom = index.get(key)
        if dom is None:
            continue
        hit[dom] = True
        if lost[dom]:
            continue
        away = geometry.position[dom] - event.vertex
        direct = event.vertex_time + math.sqrt(float((away * away).sum())) / C_ICE
        start, stop = event.window[0], min(event.window[1], event.errata.get(key, math.inf), direct + LATE)
        if stop <= start:
            continue
        edges = bin_edges(start, stop, direct, width)
        inside = (time >= start) & (time < stop) & (charge > 0)
        charges = np.histogram(time[inside], edges, weights=charge[inside])[0]
        after = expected_afterpulses(time, charge, edges)
        binned.append(join_empty_bins(DomBins(dom, edges, charges, after, largest_current(time, charge))))
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


def bin_edges(start: float, stop: float, direct: float, width: float = WIDTH) -> NDArray[np.float64]:
    """Return the edges (ns) of the bins of a DOM in [start, stop].

    One edge is half a ``width`` before ``direct``, when direct light of the seed's vertex arrives: an edge where light
    sets in would lose to the next bin what the readout merges into later pulses. Before that edge bins are ``width``
    long, back to `EARLY`; after it, ``width`` plus their distance from it, so that the edges are at
    onset + width (2^k - 1).
    """
    onset = direct - width / 2
    before = max(math.ceil((onset - start) / width) - 1, 0) if onset > start else 0
    early = onset - width * np.arange(min(before, math.floor(EARLY / width)), 0, -1)
    doublings = max(math.ceil(math.log2((stop - onset) / width + 1)), 0) if stop > onset else 0
    late = onset + width * (2.0 ** np.arange(doublings) - 1)
    inner = np.concatenate([early, late])
    return np.concatenate([[start], inner[(inner > start) & (inner < stop)], [stop]])


def largest_current(time: NDArray[np.float64], charge: NDArray[np.float64]) -> float:
    """Return the largest current of a DOM, PE per ns, over `CURRENT_TIME`, of its pulses in order of time."""
    cell = np.floor((time - time[0]) / CURRENT_TIME)
    first = np.flatnonzero(np.diff(cell, prepend=-1.0))
    return float(np.add.reduceat(charge, first).max()) / CURRENT_TIME


def join_empty_bins(bins: DomBins) -> DomBins:
    """Join neighbouring bins without charge: only the sum of what they expect enters the likelihood."""
    charged = bins.charges > 0
    inner = np.flatnonzero(charged[1:] | charged[:-1]) + 1
    ends = np.concatenate([[0], inner, [len(charged)]])
    charges, after = (np.add.reduceat(column, ends[:-1]) for column in (bins.charges, bins.after))
    return replace(bins, edges=bins.edges[ends], charges=charges, after=after)


def _by_dom(
    event: PreparedEvent,
) -> Iterator[tuple[OMKey, NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8]]]:
    """Yield key, time (ns), charge (PE) and flags of the pulses of each DOM, in order of time."""
    pulses = event.pulses
    dom = pulses.string.astype(np.int64) * 1000 + pulses.om
    order = np.lexsort((pulses.time, dom))
    for part in np.split(order, np.flatnonzero(np.diff(dom[order])) + 1):
        if len(part):
            key = OMKey(int(pulses.string[part[0]]), int(pulses.om[part[0]]), 0)
            time, charge = (np.asarray(column[part], np.float64) for column in (pulses.time, pulses.charge))
            yield key, time, charge, pulses.flags[part]
