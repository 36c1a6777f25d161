"""From photoelectrons to pulses: charge, merging, local coincidence, trigger and readout.

Simulated: the fluctuation of the charge of a photoelectron, merging of close pulses, dark noise, hard local
coincidence, the trigger and its readout window. Left out: saturation and dead time of the readout, afterpulses,
prepulses and late pulses of the photomultiplier, the poorer charge of isolated hits, and muons of air showers.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from skymap_scanner.detector.geometry import Geometry
from skymap_scanner.i3 import PULSE_DTYPE, I3RecoPulseSeriesMap, OMKey
from skymap_scanner.i3.pulse_objects import ATWD, FADC, LOCAL_COINCIDENCE
from skymap_scanner.i3.superdst import CHARGE_STEP, TIME_STEP

#: Charge of one photoelectron: a Gaussian of mean 1 pe and this width (the peak of what DOMs measure: Aartsen et al.,
#: JINST 15 (2020) P06032), above the discriminator's threshold, pe.
CHARGE_WIDTH = 0.3
CHARGE_THRESHOLD = 0.25
#: Photoelectrons of one DOM within this time (ns) of the first of them are one pulse. Unfolding the samples of the fast
#: digitiser (3.3 ns; Abbasi et al., NIM A 601 (2009) 294) hardly separates them: of real pulses that follow another
#: within 15 ns, fewer than 2 % follow in less than 4 ns, and most after 5 ns or more.
MERGED = 5.0
#: Widths of a pulse of the fast digitiser and of an isolated one, ns, as IceCube's compressed records give them.
FAST_WIDTH = 1.0
ISOLATED_WIDTH = 8.0

#: Hard local coincidence: another hit within this time (ns) in one of so many DOMs above or below on the string
#: (NIM A 601 (2009) 294).
COINCIDENCE = 1000.0
COINCIDENCE_DOMS = 2
#: The simple multiplicity trigger: so many DOMs in coincidence within this time, ns (Aartsen et al., JINST 12 (2017)
#: P03012). Its readout begins 4 us before the first and ends 6 us after the last of them.
TRIGGER_DOMS = 8
TRIGGER_WINDOW = 5000.0
READOUT = (-4000.0, 6000.0)

_HLC_FLAGS = LOCAL_COINCIDENCE | ATWD | FADC
_SLC_FLAGS = FADC


@dataclass(frozen=True)
class Hits:
    """Photoelectrons, or pulses, n of them: ``dom`` (index in the geometry), ``time`` (ns), ``charge`` (pe); (n,)."""

    dom: NDArray[np.intp]
    time: NDArray[np.float64]
    charge: NDArray[np.float64]

    def select(self, chosen: NDArray[np.bool_]) -> Hits:
        """Return the entries that a mask of shape (n,) selects."""
        return Hits(self.dom[chosen], self.time[chosen], self.charge[chosen])


def draw_noise(
    random: np.random.Generator, geometry: Geometry, start: float, stop: float
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Draw the dark noise between two times (ns): DOM and time of each photoelectron."""
    rate = np.where(geometry.dead, 0.0, geometry.noise)
    dom = np.repeat(np.arange(len(rate)), random.poisson(rate * 1e-9 * (stop - start)))
    return dom, random.uniform(start, stop, len(dom))


def draw_charges(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Draw the charge (pe) of ``count`` photoelectrons."""
    lowest = ndtr((CHARGE_THRESHOLD - 1) / CHARGE_WIDTH)
    return np.asarray(1 + CHARGE_WIDTH * ndtri(lowest + (1 - lowest) * random.random(count)))


def merge(photoelectrons: Hits) -> tuple[Hits, NDArray[np.float64]]:
    """Make pulses, sorted by DOM and time: what follows the first within ``MERGED`` adds up, at the mean time.

    The mean is weighted with the charge, as unfolding places a pulse where the charge is. So merging moves no light in
    time on average; the time of the first would come early, by up to half of ``MERGED``. Also returns the time of each
    pulse's first photoelectron, (n,), when the discriminator fires.
    """
    order = np.lexsort((photoelectrons.time, photoelectrons.dom))
    dom, time, charge = photoelectrons.dom[order], photoelectrons.time[order], photoelectrons.charge[order]
    if not len(dom):
        return Hits(dom, time, charge), time
    since = time - time.min()
    axis = dom * (float(since.max()) + MERGED + 1) + since  # DOMs lie so far apart that no pulse reaches the next
    following = np.searchsorted(axis, axis + MERGED, "left").tolist()
    first = [0]
    while (start := following[first[-1]]) < len(dom):
        first.append(start)
    total = np.add.reduceat(charge, first)
    delay = time - np.repeat(time[first], np.diff([*first, len(dom)]))
    return Hits(dom[first], time[first] + np.add.reduceat(charge * delay, first) / total, total), time[first]


def in_coincidence(pulses: Hits, geometry: Geometry) -> NDArray[np.bool_]:
    """Return which pulses have another one nearby: on the same string, one or two DOMs away, within COINCIDENCE.

    ``pulses`` are sorted by DOM and time.
    """
    if not len(pulses.dom):
        return np.zeros(0, bool)
    om = geometry.om[pulses.dom].astype(np.intp)
    address = geometry.string[pulses.dom].astype(np.intp) * 1000 + om
    # one axis for DOM and time: DOMs lie so far apart that no window reaches the next
    time = pulses.time - pulses.time.min()
    spread = float(time.max()) + 2 * COINCIDENCE + 1
    axis = address * spread + time
    found = np.zeros(len(axis), bool)
    for offset in range(-COINCIDENCE_DOMS, COINCIDENCE_DOMS + 1):
        if offset:
            neighbour = axis + offset * spread
            begin = np.searchsorted(axis, neighbour - COINCIDENCE, "left")
            end = np.searchsorted(axis, neighbour + COINCIDENCE, "right")
            found |= end > begin
    return found


def find_trigger(pulses: Hits, hlc: NDArray[np.bool_]) -> tuple[float, float] | int:
    """Return when (ns) the first and last DOM of the trigger came; without one, the most DOMs that came together.

    A DOM counts with its first pulse in coincidence. The trigger lasts for as long as the condition holds.
    """
    dom, time = pulses.dom[hlc], pulses.time[hlc]
    order = np.lexsort((time, dom))
    dom, time = dom[order], time[order]
    first = np.sort(time[np.flatnonzero(np.diff(dom, prepend=-1))])
    if not len(first):
        return 0
    within = np.searchsorted(first, first + TRIGGER_WINDOW, "right") - np.arange(len(first))
    triggered = np.flatnonzero(within >= TRIGGER_DOMS)
    if not len(triggered):
        return int(within.max())
    start = triggered[0]
    last = start
    for window in triggered:  # windows that overlap are one trigger
        if window > last:
            break
        last = window + within[window] - 1
    return float(first[start]), float(first[last])


def pulse_map(pulses: Hits, hlc: NDArray[np.bool_], geometry: Geometry) -> I3RecoPulseSeriesMap:
    """Write the pulses (sorted by DOM and time) in the steps of IceCube's compressed records (I3SuperDST)."""
    records = np.empty(len(pulses.dom), PULSE_DTYPE)
    records["time"] = np.round(pulses.time / TIME_STEP) * TIME_STEP
    records["charge"] = np.floor(pulses.charge / CHARGE_STEP) * CHARGE_STEP + CHARGE_STEP / 2
    records["width"] = np.where(hlc, FAST_WIDTH, ISOLATED_WIDTH)
    records["flags"] = np.where(hlc, _HLC_FLAGS, _SLC_FLAGS)
    edges = np.flatnonzero(np.diff(pulses.dom, prepend=-1, append=-1))
    return I3RecoPulseSeriesMap(
        {
            OMKey(int(geometry.string[pulses.dom[begin]]), int(geometry.om[pulses.dom[begin]])): records[begin:end]
            for begin, end in pairwise(edges.tolist())
        }
    )
