"""Photons walk through layered ice, from where they are emitted to the DOMs that they pass.

Every photon is followed from scatter to scatter until it is absorbed. DOMs are oversized: a photon that passes a DOM
nearer than its radius of reception is one crossing, and walks on. On average, the crossings of a DOM are its fluence
times the area of reception: what is measured, the length of path per volume, is then also the number of segments that
begin in any volume, times their length. The time is that of the closest approach, so that the size of a DOM makes light
neither early nor late to first order.

The kernel is compiled by numba without reassociation of floats, so that the same seed gives the same bits, whether it
was compiled or loaded from numba's cache. It shares no code with the photon table of the likelihood.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numba
import numpy as np
from numpy.typing import NDArray

from skymap_scanner.i3.particle import SPEED_OF_LIGHT
from skymap_scanner.reconstruction.millipede.constants import COS_CHERENKOV, EMISSION_A, EMISSION_B
from skymap_scanner.simulation.medium import Medium, Scattering

Array = NDArray[np.float64]
F = Callable[..., Any]

#: Longest part of a path that is looked at in one piece, m.
LONGEST = 20.0
#: Side of the cells that know which strings are near, m, and how far they reach from the origin.
CELL, EXTENT = 16.0, 1000.0
#: A photon that is farther than this from the origin, m, is given up: it would be absorbed before it comes back.
FARTHEST = 1200.0
#: Points of the emission's distribution function.
_QUANTILES = 4096
# SplitMix64: its increment, its factors and shifts
_GOLDEN, _MIX1, _MIX2 = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_S30, _S27, _S31, _S11 = (np.uint64(n) for n in (30, 27, 31, 11))


def _compiled(function: F, **options: Any) -> F:
    """Compile with numba, and keep the machine code where a folder for it can be written."""
    options |= {"nogil": True, "error_model": "numpy"}
    try:
        return cast("F", numba.njit(cache=True, **options)(function))
    except RuntimeError:  # numba: "cannot cache function: no locator available"
        return cast("F", numba.njit(**options)(function))


def _inlined(function: F) -> F:
    """Compile a formula that becomes part of its callers: passing the arrays of the ice would cost as much as it."""
    return _compiled(function, forceinline=True)


class Sources(NamedTuple):
    """Where light comes from: n showers along one direction.

    ``position`` (n, 3), m; ``time`` (n,), ns; ``energy`` (n,), GeV, of an electromagnetic shower with as much light.
    Along the direction, light starts as a gamma distribution of ``shape`` (n,) and ``scale`` (n,), m. ``direction``:
    unit vector (3,).
    """

    position: Array
    time: Array
    energy: Array
    shape: Array
    scale: Array
    direction: Array


class Receivers(NamedTuple):
    """DOMs, and which are near a place in the horizontal.

    ``position`` (n, 3), m, those of a group contiguous; ``radius`` (n,), m, of reception. A group, g of them, is a set
    of DOMs on one vertical line: ``axis`` (g, 2), m, ``first`` (g + 1,), its DOMs. ``near`` are groups, cell by cell,
    those of cell k from ``near_first[k]`` to ``near_first[k + 1]``; ``cells`` of them lie along one axis. No photon
    farther than ``reach`` (m) from a group's line, in the horizontal, meets one of its DOMs.
    """

    position: Array
    radius: Array
    axis: Array
    first: NDArray[np.int64]
    near: NDArray[np.int64]
    near_first: NDArray[np.int64]
    cells: int
    reach: float


class Crossings(NamedTuple):
    """Photons that passed a DOM, n of them: DOM, time (ns), delay (ns) after the straight way, upward cosine; (n,)."""

    dom: NDArray[np.int32]
    time: Array
    delay: Array
    cosine: Array


def receivers(position: Array, radius: Array, group: NDArray[np.integer]) -> Receivers:
    """Sort DOMs into the cells of the plane. ``group`` (n,): which of them share a vertical line, in one piece each."""
    first = np.flatnonzero(np.diff(group, prepend=group[0] - 1, append=group[-1] + 1))
    axis = position[first[:-1], :2]
    cells = math.ceil(2 * EXTENT / CELL)
    centre = (np.arange(cells) + 0.5) * CELL - EXTENT
    # a segment is found by its middle, which lies within half a diagonal of the cell's centre
    reach = float(radius.max()) + _spread(position, axis, first)
    x, y = np.meshgrid(centre, centre, indexing="ij")
    apart = np.hypot(x.ravel()[:, None] - axis[:, 0], y.ravel()[:, None] - axis[:, 1])
    cell, near = np.nonzero(apart < reach + LONGEST / 2 + CELL / math.sqrt(2))
    near_first = np.searchsorted(cell, np.arange(cells * cells + 1))
    return Receivers(position, radius, axis, first, near, near_first, cells, reach)


def _spread(position: Array, axis: Array, first: NDArray[np.int64]) -> float:
    """Return how far DOMs are from the line of their group, m."""
    own = np.repeat(axis, np.diff(first), axis=0)
    return float(np.abs(position[:, :2] - own).max())


def propagate(
    random: np.random.Generator, photons: int, sources: Sources, medium: Medium, doms: Receivers, batch: int = 250_000
) -> Crossings:
    """Follow ``photons`` photons, shared among the sources by their energy, and return the crossings of DOMs."""
    share = sources.energy / sources.energy.sum()
    emission = _emission_quantiles()
    parts = []
    for start in range(0, photons, batch):
        source = random.choice(len(share), min(batch, photons - start), p=share)
        place = random.gamma(sources.shape[source], sources.scale[source])
        origin = sources.position[source] + place[:, None] * sources.direction
        begin = sources.time[source] + place / SPEED_OF_LIGHT
        seed, capacity = random.integers(2**64, size=1, dtype=np.uint64), 1 << 18
        while True:
            found = Crossings(np.empty(capacity, np.int32), np.empty(capacity), np.empty(capacity), np.empty(capacity))
            number = _walk(seed.copy(), origin, begin, sources.direction, medium, doms, emission, found)
            if number <= capacity:
                break
            capacity = number  # the same photons again, with room for all
        parts.append(Crossings(found.dom[:number], found.time[:number], found.delay[:number], found.cosine[:number]))
    return Crossings(
        np.concatenate([part.dom for part in parts]),
        np.concatenate([part.time for part in parts]),
        np.concatenate([part.delay for part in parts]),
        np.concatenate([part.cosine for part in parts]),
    )


def _emission_quantiles() -> Array:
    """Return cos psi at equal steps of probability, for the profile exp(-a |cos psi - cos Cherenkov|^b)."""
    # nodes are dense at the Cherenkov angle, where the profile has its cusp
    step = np.linspace(0, 1, 20_001) ** 3
    cosine = np.concatenate(
        [COS_CHERENKOV - (1 + COS_CHERENKOV) * step[::-1], COS_CHERENKOV + (1 - COS_CHERENKOV) * step[1:]]
    )
    middle = (cosine[1:] + cosine[:-1]) / 2
    total = np.append(
        0, np.cumsum(np.exp(-EMISSION_A * np.abs(middle - COS_CHERENKOV) ** EMISSION_B) * np.diff(cosine))
    )
    return np.asarray(np.interp(np.linspace(0, 1, _QUANTILES), total / total[-1], cosine))


@_inlined
def _uniform(state: NDArray[np.uint64]) -> float:
    """Return a random number in [0, 1): SplitMix64 (Steele et al., OOPSLA 2014), faster than numba's own."""
    state[0] += _GOLDEN
    z = state[0]
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    z ^= z >> _S31
    return float(z >> _S11) * 2.0**-53


@_inlined
def _exponential(state: NDArray[np.uint64]) -> float:
    """Return a random number with the density exp(-x)."""
    return -math.log(1 - _uniform(state))


@_inlined
def _turn(ux: float, uy: float, uz: float, cosine: float, state: NDArray[np.uint64]) -> tuple[float, float, float]:
    """Turn a unit vector by acos(cosine) about a random azimuth; the result has the length 1 but for rounding."""
    sine = math.sqrt(max(0.0, 1 - cosine * cosine))
    azimuth = 2 * math.pi * _uniform(state)
    a, b = sine * math.cos(azimuth), sine * math.sin(azimuth)
    across = math.sqrt(ux * ux + uy * uy)
    if across < 1e-6:  # along the vertical: any azimuth is as good
        return a, b, cosine if uz > 0 else -cosine
    fx, fy = ux / across, uy / across
    return fx * uz * a - fy * b + ux * cosine, fy * uz * a + fx * b + uy * cosine, uz * cosine - a * across


@_inlined
def _scatter(ux: float, uy: float, uz: float, how: Scattering, state: NDArray[np.uint64]) -> tuple[float, float, float]:
    """Scatter once, in directions stretched along the axes of the ice."""
    g = how.g
    if _uniform(state) < how.liu:
        cosine = 2 * _uniform(state) ** ((1 - g) / (1 + g)) - 1
    else:
        f = (1 - g * g) / (1 + g * (2 * _uniform(state) - 1))
        cosine = (1 + g * g - f * f) / (2 * g)
    fx, fy = how.flow_x, how.flow_y
    x, y, z = (ux * fx + uy * fy) * how.along, (uy * fx - ux * fy) * how.across, uz * how.up
    norm = 1 / math.sqrt(x * x + y * y + z * z)
    x, y, z = _turn(x * norm, y * norm, z * norm, min(1.0, max(-1.0, cosine)), state)
    x, y, z = x / how.along, y / how.across, z / how.up
    norm = 1 / math.sqrt(x * x + y * y + z * z)
    return (x * fx - y * fy) * norm, (x * fy + y * fx) * norm, z * norm


@_inlined
def _shift(x: float, y: float, z: float, medium: Medium) -> float:
    """Return how much higher than at the origin the layers lie here, m: linear in place and height, constant beyond."""
    places, shift = medium.places, medium.shift
    place = min(max(x * medium.tilt_x + y * medium.tilt_y, places[0]), places[-1])
    j = 0
    while j < len(places) - 2 and place > places[j + 1]:
        j += 1
    f = (place - places[j]) / (places[j + 1] - places[j])
    last = shift.shape[1] - 1
    height = min(max((z - medium.lowest) / medium.step, 0.0), float(last))
    k = min(int(height), last - 1)
    h = height - k
    low = shift[j, k] + h * (shift[j, k + 1] - shift[j, k])
    high = shift[j + 1, k] + h * (shift[j + 1, k + 1] - shift[j + 1, k])
    return float(low + f * (high - low))


@_inlined
def _step(
    x: float, y: float, z: float, uz: float, to_scatter: float, to_absorb: float, medium: Medium
) -> tuple[float, float, float]:
    """Go on through the layers; return the length of the way and what is left until the next scatter and absorption.

    ``to_scatter``, ``to_absorb``: in scattering and absorption lengths. The way ends where one of them is 0, or after
    ``LONGEST``.
    """
    place = (medium.origin - z + _shift(x, y, z, medium) - medium.top) / medium.thickness
    last = len(medium.scatter) - 1
    layer = min(max(math.floor(place), 0), last)
    slope = -uz / medium.thickness  # layers per metre, downwards
    below = 1 if slope > 0 else 0  # the edge ahead of a layer, from its upper one
    length, scatter_left, absorb_left = 0.0, to_scatter, to_absorb
    while True:
        b, a = medium.scatter[layer], medium.absorb[layer]
        end = length + min(scatter_left / b, absorb_left / a)
        ahead = layer + below
        edge = (ahead - place) / slope if 0 < ahead <= last and abs(slope) > 1e-9 else math.inf
        if min(end, LONGEST) <= edge:
            break
        scatter_left -= (edge - length) * b
        absorb_left -= (edge - length) * a
        length = edge
        layer += 2 * below - 1
    if end > LONGEST:
        return LONGEST, scatter_left - (LONGEST - length) * b, absorb_left - (LONGEST - length) * a
    if scatter_left / b < absorb_left / a:
        return end, 0.0, absorb_left - (end - length) * a
    return end, scatter_left, 0.0


@_inlined
def _cross(
    place: tuple[float, float, float],
    way: tuple[float, float, float, float],
    before: tuple[float, float, float, float, float],
    doms: Receivers,
    speed: float,
    found: Crossings,
    number: int,
) -> int:
    """Store the crossings of one straight way, as far as there is room; return their new number.

    ``way``: a unit vector and a length, from ``place``. ``before``: where the photon started, when, its path so far.
    """
    (x, y, z), (ux, uy, uz, length), (x0, y0, z0, start, path) = place, way, before
    i = int((x + 0.5 * length * ux + EXTENT) / CELL)
    j = int((y + 0.5 * length * uy + EXTENT) / CELL)
    if i < 0 or i >= doms.cells or j < 0 or j >= doms.cells:
        return number
    cell, flat2 = i * doms.cells + j, ux * ux + uy * uy
    for n in range(doms.near_first[cell], doms.near_first[cell + 1]):
        group = doms.near[n]
        ax, ay = doms.axis[group, 0] - x, doms.axis[group, 1] - y
        nearest = min(max(ax * ux + ay * uy, 0.0), length * flat2)  # along the way's shadow, times flat2
        off_x, off_y = ax * flat2 - nearest * ux, ay * flat2 - nearest * uy
        if off_x * off_x + off_y * off_y > doms.reach**2 * flat2 * flat2:
            continue
        for dom in range(doms.first[group], doms.first[group + 1]):
            rx, ry, rz = doms.position[dom, 0] - x, doms.position[dom, 1] - y, doms.position[dom, 2] - z
            ahead = rx * ux + ry * uy + rz * uz
            if ahead < 0 or ahead >= length:
                continue
            if rx * rx + ry * ry + rz * rz - ahead * ahead >= doms.radius[dom] ** 2:
                continue
            if number < len(found.dom):
                sx, sy, sz = doms.position[dom, 0] - x0, doms.position[dom, 1] - y0, doms.position[dom, 2] - z0
                found.dom[number] = dom
                found.time[number] = start + (path + ahead) / speed
                found.delay[number] = max(0.0, path + ahead - math.sqrt(sx * sx + sy * sy + sz * sz)) / speed
                found.cosine[number] = uz
            number += 1
    return number


@_compiled
def _walk(
    state: NDArray[np.uint64],
    origin: Array,
    start: Array,
    direction: Array,
    medium: Medium,
    doms: Receivers,
    emission: Array,
    found: Crossings,
) -> int:
    """Follow photons from ``origin`` (n, 3), m, and ``start`` (n,), ns, of showers along the unit vector ``direction``.

    Stores crossings as far as there is room, and returns their number. ``state`` (1,) is that of the random numbers.
    All numbers of the ice are arguments, since numba's cache does not notice a changed constant of another module.
    """
    number = 0
    last_quantile = len(emission) - 1
    dx, dy, dz = direction
    for photon in range(len(start)):
        x0, y0, z0 = origin[photon, 0], origin[photon, 1], origin[photon, 2]
        q = _uniform(state) * last_quantile
        k = int(q)
        ux, uy, uz = _turn(dx, dy, dz, emission[k] + (q - k) * (emission[k + 1] - emission[k]), state)
        x, y, z, path = x0, y0, z0, 0.0
        to_absorb = _exponential(state)
        to_scatter = _exponential(state)
        while True:
            length, to_scatter, to_absorb = _step(x, y, z, uz, to_scatter, to_absorb, medium)
            before = (x0, y0, z0, start[photon], path)
            number = _cross((x, y, z), (ux, uy, uz, length), before, doms, medium.speed, found, number)
            x, y, z, path = x + length * ux, y + length * uy, z + length * uz, path + length
            if to_absorb <= 0 or x * x + y * y + z * z > FARTHEST**2:
                break
            if to_scatter <= 0:
                ux, uy, uz = _scatter(ux, uy, uz, medium.scattering, state)
                to_scatter = _exponential(state)
    return number
