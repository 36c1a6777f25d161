"""Expected charge of every segment in every time bin: the likelihood's inner loops.

The loops go over DOMs outside and segments inside, so that the segments vectorise; per DOM only the segments within the
range of light are touched.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.i3.particle import SPEED_OF_LIGHT
from skymap_scanner.reconstruction.millipede.arrays import (
    LANES,
    Doms,
    Double,
    EventArrays,
    Segments,
    Single,
    Track,
)
from skymap_scanner.reconstruction.millipede.compiled import compiled, inlined
from skymap_scanner.reconstruction.millipede.constants import C_ICE, TABLE_SCATTERING
from skymap_scanner.reconstruction.millipede.directions import FLOW_X, FLOW_Y, delayed, kappa_of, layer_at, way
from skymap_scanner.reconstruction.millipede.light import (
    ABSORB,
    BY_AXIS,
    BY_PSI,
    NEAREST,
    ONE,
    SCATTER,
    SOONER,
    WIDER,
    ZERO,
    F,
    arrival_place,
    arrived,
    expected_charge,
    layer_number,
    layer_place,
    shaped,
    taper,
)

_NS_PER_METRE = F(1 / SPEED_OF_LIGHT)
_NS_PER_METRE_OF_ICE = F(1 / C_ICE)
_LENGTH = F(TABLE_SCATTERING)


@compiled
def place_segments(track: Track, point: Double, seg: Segments) -> None:
    """Put the segments at ``point``: offsets of the vertex along a, b and the direction (m), and its time (ns)."""
    n = track.direction
    a, b, shift, time = F(point[0]), F(point[1]), F(point[3]), F(point[2])
    x0 = track.vertex[0] + a * track.a[0] + b * track.b[0] + shift * n[0]
    y0 = track.vertex[1] + a * track.a[1] + b * track.b[1] + shift * n[1]
    z0 = track.vertex[2] + a * track.a[2] + b * track.b[2] + shift * n[2]
    for j in range(seg.s.size):
        s = seg.s[j]
        seg.x[j] = x0 + s * n[0]
        seg.y[j] = y0 + s * n[1]
        seg.z[j] = z0 + s * n[2]
        seg.time[j] = time + s * _NS_PER_METRE
        seg.height[j], seg.lean[j], seg.rise[j] = layer_at(seg.x[j], seg.y[j], seg.z[j])
        seg.flow[j] = seg.x[j] * FLOW_X + seg.y[j] * FLOW_Y


@inlined
def segments_within(
    seg_spacing: Single, before: NDArray[np.int64], along: np.float32, reach: np.float32
) -> tuple[int, int]:
    """Return the range of segments with s in [along - reach, along + reach]."""
    last = before.size - 1
    low = math.ceil((along - reach - seg_spacing[1]) / seg_spacing[0])
    high = math.floor((along + reach - seg_spacing[1]) / seg_spacing[0]) + 1
    return before[min(max(low, 0), last)], before[min(max(high, 0), last)]


@inlined
def whole_vectors(low: int, high: int) -> int:
    """Return the end of the range from ``low`` that covers ``high`` with whole vectors."""
    return low + (high - low + LANES - 1) // LANES * LANES


@compiled
def light_in_dom(
    low: int,
    high: int,
    across2: np.float32,
    along: np.float32,
    k: int,
    doms: Doms,
    seg: Segments,
    layers: Single,
    anisotropy: np.float32,
    axis_z: np.float32,
    log_fluence: Single,
    angles: np.float32,
    angle_first: np.float32,
    angle_density: np.float32,
    reference_decay: np.float32,
    reach: np.float32,
) -> None:
    """Fill the expected PE per GeV in DOM ``k``, the distance (m) and the scattering rate (1/m) that sets the delays.

    For the segments low..high, and some more, up to `whole_vectors`; likewise in the next two functions.
    """
    dom_z, height, flow, column, efficiency = (
        doms.z[k],
        doms.height[k],
        doms.flow[k],
        doms.column[k],
        doms.efficiency[k],
    )
    s, z, heights, flows, charge, distance, rate = (
        seg.s, seg.z, seg.height, seg.flow, seg.charge, seg.distance, seg.rate
    )  # fmt: skip
    for j in range(low, whole_vectors(low, high)):
        ahead = along - s[j]
        d = np.sqrt(across2 + ahead * ahead)
        d = max(NEAREST, d)
        inverse = ONE / d
        cos_eta = (dom_z - z[j]) * inverse
        place, radial, angular = layer_place(d, (height - heights[j]) * inverse, column)
        cos_psi = ahead * inverse
        b = layer_number(place + SCATTER, radial, angular, layers)
        a = layer_number(place + ABSORB, radial, angular, layers)
        more = axis_z * layer_number(place + BY_AXIS, radial, angular, layers)
        more += cos_psi * layer_number(place + BY_PSI, radial, angular, layers)
        kappa = kappa_of((flow - flows[j]) * inverse, anisotropy)
        more -= kappa * way(d, b, a)
        light = expected_charge(
            d, cos_psi, cos_eta, axis_z, b, a, more, log_fluence, angles, angle_first, angle_density, reference_decay
        )
        charge[j] = efficiency * taper(d, reach) * light
        distance[j] = d
        rate[j] = delayed(b, kappa)


@compiled
def places_in_tables(
    low: int,
    high: int,
    along: np.float32,
    s: Single,
    time: Single,
    distance: Single,
    class_of: NDArray[np.int32],
    shift: Single,
    angle_first: np.float32,
    angle_density: np.float32,
    dom_height: np.float32,
    height: Single,
    column: np.int32,
    layers: Single,
    rate: Single,
    offset: Single,
    place: NDArray[np.int32],
    radial: Single,
    angular: Single,
    knee: Single,
    sooner: Single,
    wider: Single,
) -> np.float32:
    """Look up where the arrival times of segments low..high are tabulated; return the earliest possible time (ns).

    The scaled time of an edge is edge * ``rate`` + ``offset`` afterwards.
    """
    earliest = F(1e30)
    for j in range(low, whole_vectors(low, high)):
        d, b = distance[j], rate[j]
        kind, place[j], radial[j], angular[j], knee[j] = arrival_place(
            d, (along - s[j]) / d, b, class_of, angle_first, angle_density
        )
        at, by_root, by_cosine = layer_place(d, (dom_height - height[j]) / d, column)
        sooner[j] = layer_number(at + SOONER, by_root, by_cosine, layers)
        wider[j] = layer_number(at + WIDER, by_root, by_cosine, layers)
        direct = time[j] + d * _NS_PER_METRE_OF_ICE
        scale = _LENGTH * b
        rate[j] = scale
        offset[j] = shift[kind] - direct * scale
        first = direct - shift[kind] / scale
        earliest = min(earliest, first)
    return earliest


@compiled
def light_before(
    low: int,
    high: int,
    edge: np.float32,
    charge: Single,
    rate: Single,
    offset: Single,
    place: NDArray[np.int32],
    radial: Single,
    angular: Single,
    knee: Single,
    sooner: Single,
    wider: Single,
    arrival: Single,
    out: Single,
) -> None:
    """Fill the expected PE per GeV that come before the time ``edge`` (ns)."""
    for j in range(low, whole_vectors(low, high)):
        share = arrived(edge * rate[j] + offset[j], knee[j], place[j], radial[j], angular[j], arrival)
        out[j] = charge[j] * shaped(share, sooner[j], wider[j])


@compiled
def add_difference(low: int, high: int, later: Single, earlier: Single, out: Single) -> None:
    """Add later - earlier to ``out``."""
    for j in range(low, high):
        out[j] += later[j] - earlier[j]


@compiled
def respond_in_bins(event: EventArrays, track: Track, point: Double, seg: Segments) -> None:
    """Fill the matrix for the DOMs with pulses, and add what they see in bins without charge to ``rest``."""
    a, b, shift = F(point[0]), F(point[1]), F(point[3])
    tables, bins, hit, reach = event.tables, event.bins, event.hit, F(math.sqrt(event.range2))
    for r in range(seg.matrix.shape[0]):
        for j in range(seg.matrix.shape[1]):
            seg.matrix[r, j] = ZERO
    for k in range(hit.x.size):
        da, db = track.across_a[k] - a, track.across_b[k] - b
        across2, along = da * da + db * db, track.along[k] - shift
        if across2 >= event.range2:
            continue
        low, high = segments_within(seg.spacing, seg.before, along, F(math.sqrt(event.range2 - across2)))
        if low >= high:
            continue
        light_in_dom(
            low, high, across2, along, k, hit, seg, event.layers, event.anisotropy,
            track.direction[2], tables.log_fluence, tables.angles, tables.angle_first, tables.angle_density,
            tables.reference_decay, reach,
        )  # fmt: skip
        earliest = places_in_tables(
            low, high, along, seg.s, seg.time, seg.distance, tables.class_of, tables.shift,
            tables.time_angle_first, tables.time_angle_density, hit.height[k], seg.height, hit.column[k], event.layers,
            seg.rate, seg.offset, seg.place, seg.radial, seg.angular, seg.knee, seg.sooner, seg.wider,
        )  # fmt: skip
        earlier, later = seg.earlier, seg.later
        dark = True  # no light before the last edge
        first = bins.first[k]
        for m in range(bins.number[k] + 1):
            edge = bins.edge[first + m]
            was_dark, dark = dark, edge <= earliest
            if dark:
                continue
            light_before(
                low, high, edge, seg.charge, seg.rate, seg.offset, seg.place, seg.radial, seg.angular, seg.knee,
                seg.sooner, seg.wider, tables.arrival, later,
            )  # fmt: skip
            if m > 0:
                if was_dark:
                    for j in range(low, high):
                        earlier[j] = ZERO
                row = bins.row[first + m - 1]
                add_difference(low, high, later, earlier, seg.matrix[row] if row >= 0 else seg.rest)
            earlier, later = later, earlier


@compiled
def light_in_unhit(event: EventArrays, track: Track, seg: Segments) -> None:
    """Fill ``unhit``, PE per GeV of every segment in all DOMs without pulses: the exact sum."""
    tables, doms, n, reach = event.tables, event.unhit, track.direction, F(math.sqrt(event.range2))
    for j in range(seg.unhit.size):
        seg.unhit[j] = ZERO
    for k in range(doms.x.size):
        dx, dy, dz = doms.x[k] - seg.x[0], doms.y[k] - seg.y[0], doms.z[k] - seg.z[0]
        ahead = dx * n[0] + dy * n[1] + dz * n[2]
        across2 = dx * dx + dy * dy + dz * dz - ahead * ahead
        if across2 >= event.range2:
            continue
        along = seg.s[0] + ahead
        low, high = segments_within(seg.spacing, seg.before, along, F(math.sqrt(event.range2 - max(across2, ZERO))))
        if low >= high:
            continue
        light_in_dom(
            low, high, across2, along, k, doms, seg, event.layers, event.anisotropy,
            n[2], tables.log_fluence, tables.angles, tables.angle_first, tables.angle_density,
            tables.reference_decay, reach,
        )  # fmt: skip
        for j in range(low, high):
            seg.unhit[j] += seg.charge[j]
