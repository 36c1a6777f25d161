"""Gradient and curvature of -ln L in vertex, time and direction, the energies at their best.

At the energies' optimum the gradient of the profile is the gradient at fixed energies (envelope theorem). The curvature
is Gauss and Newton's: with J the derivatives of the expected charges mu, and A the columns of the energies,

    H = V_p V_p^T - V_p V_e^T (V_e V_e^T)^-1 V_e V_p^T,      V_p = J sqrt(q) / mu,  V_e = A E sqrt(q) / mu.

The coordinates are those of `COORDINATES`: offsets of the vertex along the track's a and b (m), time (ns), offset along
the track (m), and turns of the direction about the vertex towards a and b (rad).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.i3.particle import SPEED_OF_LIGHT
from skymap_scanner.reconstruction.millipede.arrays import Double, EventArrays, Segments, Single, Track
from skymap_scanner.reconstruction.millipede.cholesky import factorise, solve_factorised
from skymap_scanner.reconstruction.millipede.compiled import compiled
from skymap_scanner.reconstruction.millipede.constants import C_ICE, TABLE_SCATTERING
from skymap_scanner.reconstruction.millipede.directions import (
    FLOW_X,
    FLOW_Y,
    TILT_X,
    TILT_Y,
    delayed,
    kappa_of,
    way,
)
from skymap_scanner.reconstruction.millipede.energies import Solver
from skymap_scanner.reconstruction.millipede.far_field import fill_monomials, light_in_unhit_at
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
    expected_charge,
    layer_number,
    layer_place,
    taper,
)
from skymap_scanner.reconstruction.millipede.response import place_segments
from skymap_scanner.reconstruction.millipede.slopes import arrival_slopes, charge_slopes, layer_slopes, shape_slopes

COORDINATES = ("a", "b", "time", "along", "alpha", "beta")
SIZE = len(COORDINATES)

#: Light of less than this (PE) of one source in one DOM is not followed.
LEAST_LIGHT = F(1e-6)
#: Steps of the differences for the light in DOMs without pulses: m, and rad.
STEP, ROTATION = 1.0, 0.01

_LENGTH = F(TABLE_SCATTERING)
_ICE = F(1 / C_ICE)
_VACUUM = F(1 / SPEED_OF_LIGHT)


class Room(NamedTuple):
    """Room for one gradient.

    ``jacobian`` (6, rows). ``lit``: segments with energy; ``seen``: which of them give one DOM light, with their
    quantities ``pair`` and index ``place`` in the table of arrival times. The rest are small matrices.
    """

    jacobian: Single
    pair: Single
    place: NDArray[np.int64]
    lit: NDArray[np.int64]
    seen: NDArray[np.int64]
    inner: Double
    factor: Double
    cross: Double
    solution: Double


# Quantities of a source-DOM pair, by row of ``pair``.
(_CHARGE, _DISTANCE, _COS, _SCALE, _OFFSET, _RADIAL, _ANGULAR, _KNEE, _DIRECT_TIME, _EARLIER, _LATER) = range(11)
_RATE_D, _RATE_H, _RATE_W, _LOG_D, _LOG_H, _LOG_W, _LOG_COS, _LOG_AXIS, _LOG_Z = range(11, 20)
_SOONER, _SOONER_D, _SOONER_H, _WIDER, _WIDER_D, _WIDER_H = range(20, 26)
_QUANTITIES = 26


def make_room(rows: int, segments: int, support: int) -> Room:
    """Return room for ``rows`` bins, ``segments`` segments, and ``support`` of them with energy."""
    return Room(
        jacobian=np.zeros((SIZE, rows), np.float32),
        pair=np.zeros((_QUANTITIES, segments), np.float32),
        place=np.zeros(segments, np.int64),
        lit=np.zeros(segments, np.int64),
        seen=np.zeros(segments, np.int64),
        inner=np.zeros((support, support)),
        factor=np.zeros((max(support, SIZE), max(support, SIZE))),
        cross=np.zeros((SIZE, support)),
        solution=np.zeros(support),
    )


@compiled
def gradient(
    event: EventArrays,
    track: Track,
    point: Double,
    seg: Segments,
    solver: Solver,
    room: Room,
    turning: bool,
    g: Double,
    h: Double,
) -> None:
    """Fill the gradient ``g`` (6,) and the curvature ``h`` (6, 6) at ``point``, where ``seg.energy`` is at its best.

    ``solver.mu`` must be the expectation there (as `likelihood.evaluate` leaves it); ``solver.column`` is overwritten.
    Without ``turning``, the last two of ``g`` leave out DOMs without pulses.
    """
    place_segments(track, point, seg)
    count = 0
    for j in range(seg.energy.size):
        if seg.energy[j] > ZERO and count < solver.support.size:
            room.lit[count] = j
            count += 1
    for i in range(count):
        column = solver.column[i]
        for r in range(column.size):
            column[r] = ZERO
    for i in range(SIZE):
        g[i] = 0.0
        for r in range(room.jacobian.shape[1]):
            room.jacobian[i, r] = ZERO
    for k in range(event.hit.x.size):
        lit, earliest = _pairs_of_dom(event, track, point, seg, room, count, k)
        if lit > 0:
            _differentiate_bins(event, track, point, seg, solver, room, lit, earliest, k, g)
    _add_unhit(event, track, point, seg, room, count, turning, g)
    _reduce(event, solver, room, count, seg, g, h)


@compiled
def _pairs_of_dom(
    event: EventArrays, track: Track, point: Double, seg: Segments, room: Room, count: int, k: int
) -> tuple[int, np.float32]:
    """Fill what concerns DOM ``k`` and the lit segments that give it light; return their number, the earliest time."""
    hit, tables, pair = event.hit, event.tables, room.pair
    da, db = track.across_a[k] - F(point[0]), track.across_b[k] - F(point[1])
    across2, along = da * da + db * db, track.along[k] - F(point[3])
    reach, axis_z = F(math.sqrt(event.range2)), track.direction[2]
    earliest = F(1e30)
    m = 0
    for i in range(count):
        j = room.lit[i]
        ahead = along - seg.s[j]
        d2 = across2 + ahead * ahead
        if d2 >= event.range2:
            continue
        d = max(np.sqrt(d2), NEAREST)
        inverse = ONE / d
        cos_psi, cos_eta = ahead * inverse, (hit.z[k] - seg.z[j]) * inverse
        cos_layers, cos_flow = (hit.height[k] - seg.height[j]) * inverse, (hit.flow[k] - seg.flow[j]) * inverse
        at, by_root, by_cosine = layer_place(d, cos_layers, hit.column[k])
        b = layer_number(at + SCATTER, by_root, by_cosine, event.layers)
        a = layer_number(at + ABSORB, by_root, by_cosine, event.layers)
        more = axis_z * layer_number(at + BY_AXIS, by_root, by_cosine, event.layers)
        more += cos_psi * layer_number(at + BY_PSI, by_root, by_cosine, event.layers)
        kappa = kappa_of(cos_flow, event.anisotropy)
        more -= kappa * way(d, b, a)
        charge = hit.efficiency[k] * taper(d, reach) * expected_charge(
            d, cos_psi, cos_eta, axis_z, b, a, more, tables.log_fluence, tables.angles, tables.angle_first,
            tables.angle_density, tables.reference_decay,
        )  # fmt: skip
        if charge * seg.energy[j] < LEAST_LIGHT:
            continue
        room.seen[m] = i
        rate = delayed(b, kappa)
        scale = _LENGTH * rate
        kind, place, radial, angular, knee = arrival_place(
            d, cos_psi, rate, tables.class_of, tables.time_angle_first, tables.time_angle_density
        )
        direct = seg.time[j] + d * _ICE
        room.place[m] = place
        pair[_SOONER, m], pair[_SOONER_D, m], pair[_SOONER_H, m] = layer_slopes(
            at + SOONER, by_root, by_cosine, d, cos_layers, event.layers
        )
        pair[_WIDER, m], pair[_WIDER_D, m], pair[_WIDER_H, m] = layer_slopes(
            at + WIDER, by_root, by_cosine, d, cos_layers, event.layers
        )
        pair[_CHARGE, m], pair[_DISTANCE, m], pair[_COS, m], pair[_SCALE, m] = charge, d, cos_psi, scale
        pair[_OFFSET, m], pair[_DIRECT_TIME, m] = tables.shift[kind] - direct * scale, direct
        pair[_RADIAL, m], pair[_ANGULAR, m], pair[_KNEE, m] = radial, angular, knee
        earliest = min(earliest, direct - tables.shift[kind] / scale)
        (
            (pair[_RATE_D, m], pair[_RATE_H, m], pair[_RATE_W, m]),
            (
                pair[_LOG_D, m], pair[_LOG_H, m], pair[_LOG_W, m],
                pair[_LOG_COS, m], pair[_LOG_AXIS, m], pair[_LOG_Z, m],
            ),
        ) = charge_slopes(
            d, cos_psi, cos_eta, cos_layers, cos_flow, axis_z, at, by_root, by_cosine, reach, event
        )  # fmt: skip
        m += 1
    return m, earliest


@compiled
def _differentiate_bins(
    event: EventArrays,
    track: Track,
    point: Double,
    seg: Segments,
    solver: Solver,
    room: Room,
    lit: int,
    earliest: np.float32,
    k: int,
    g: Double,
) -> None:
    """Add DOM ``k`` to the columns, the jacobian, and the gradient of the total charge."""
    bins, pair = event.bins, room.pair
    before, after = np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32)
    first, dark = bins.first[k], True
    for m in range(bins.number[k] + 1):
        edge = bins.edge[first + m]
        was_dark, dark = dark, edge <= earliest
        if dark:
            continue
        _differentiate_light(event, track, point, seg, room, lit, edge, k, after)
        if was_dark:
            before[:] = ZERO
            for i in range(lit):
                pair[_EARLIER, i] = ZERO
        if m > 0:
            row = bins.row[first + m - 1]
            if row >= 0:
                for i in range(lit):
                    solver.column[room.seen[i], row] += pair[_LATER, i] - pair[_EARLIER, i]
                for c in range(SIZE):
                    room.jacobian[c, row] = after[c] - before[c]
            for c in range(SIZE):
                g[c] += float(after[c]) - float(before[c])
        for c in range(SIZE):
            before[c] = after[c]
        for i in range(lit):
            pair[_EARLIER, i] = pair[_LATER, i]


@compiled
def _differentiate_light(
    event: EventArrays,
    track: Track,
    point: Double,
    seg: Segments,
    room: Room,
    lit: int,
    edge: np.float32,
    k: int,
    out: Single,
) -> None:
    """Fill ``out`` (6,): derivatives of the charge in DOM ``k`` before ``edge``; ``_LATER``: the charge per GeV."""
    tables, pair = event.tables, room.pair
    da, db, shift = track.across_a[k] - F(point[0]), track.across_b[k] - F(point[1]), F(point[3])
    n, a, b = track.direction, track.a, track.b
    # how the place along the tilt and along the flow grows with each move
    tilt_n, tilt_a, tilt_b = n[0] * TILT_X + n[1] * TILT_Y, a[0] * TILT_X + a[1] * TILT_Y, b[0] * TILT_X + b[1] * TILT_Y
    flow_n, flow_a, flow_b = n[0] * FLOW_X + n[1] * FLOW_Y, a[0] * FLOW_X + a[1] * FLOW_Y, b[0] * FLOW_X + b[1] * FLOW_Y
    by_a = by_b = by_time = by_along = by_alpha = by_beta = ZERO
    for i in range(lit):
        j = room.lit[room.seen[i]]
        scale, knee, d, cos_psi = pair[_SCALE, i], pair[_KNEE, i], pair[_DISTANCE, i], pair[_COS, i]
        t = max(edge * scale + pair[_OFFSET, i], ZERO)
        plain, by_r, by_cos, by_w = arrival_slopes(
            room.place[i], pair[_RADIAL, i], pair[_ANGULAR, i], t, knee, d * scale, tables
        )
        share, gain, by_sooner, by_wider = shape_slopes(plain, pair[_SOONER, i], pair[_WIDER, i])
        by_r, by_cos, by_w = by_r * gain, by_cos * gain, by_w * gain
        pair[_LATER, i] = pair[_CHARGE, i] * share
        by_t = -by_w * scale
        light = pair[_CHARGE, i] * seg.energy[j]
        # derivatives in distance, cos psi, and the source's place along the tilt, upwards and along the flow
        by_scale = by_r * d + by_w * (edge - pair[_DIRECT_TIME, i])
        slope_d = light * (pair[_LOG_D, i] * share + by_r * scale + by_t * _ICE + pair[_RATE_D, i] * _LENGTH * by_scale)
        slope_d += light * (by_sooner * pair[_SOONER_D, i] + by_wider * pair[_WIDER_D, i])
        slope_cos = light * (pair[_LOG_COS, i] * share + by_cos)
        slope_h = light * (pair[_LOG_H, i] * share + pair[_RATE_H, i] * _LENGTH * by_scale)
        slope_h += light * (by_sooner * pair[_SOONER_H, i] + by_wider * pair[_WIDER_H, i])
        slope_w = light * (pair[_LOG_W, i] * share + pair[_RATE_W, i] * _LENGTH * by_scale)
        slope_p, slope_z = slope_h * seg.lean[j], slope_h * seg.rise[j] + light * share * pair[_LOG_Z, i]
        inverse_d = ONE / d
        across = (slope_cos * cos_psi * inverse_d - slope_d) * inverse_d
        move_a = across * da + slope_z * a[2] + slope_p * tilt_a + slope_w * flow_a
        move_b = across * db + slope_z * b[2] + slope_p * tilt_b + slope_w * flow_b
        lever = seg.s[j] + shift
        by_a += move_a
        by_b += move_b
        by_time += light * by_t
        by_along += slope_z * n[2] + slope_p * tilt_n + slope_w * flow_n
        by_along -= slope_d * cos_psi + slope_cos * (ONE - cos_psi * cos_psi) * inverse_d
        slope_axis = light * share * pair[_LOG_AXIS, i]
        by_alpha += move_a * lever + slope_cos * da * inverse_d + slope_axis * a[2]
        by_beta += move_b * lever + slope_cos * db * inverse_d + slope_axis * b[2]
    out[0], out[1], out[2], out[3], out[4], out[5] = by_a, by_b, by_time, by_along, by_alpha, by_beta


@compiled
def _add_unhit(
    event: EventArrays,
    track: Track,
    point: Double,
    seg: Segments,
    room: Room,
    count: int,
    turning: bool,
    g: Double,
) -> None:
    """Add the derivatives of the light in DOMs without pulses, by differences."""
    turned, factors = np.empty(3, np.float32), np.empty(20, np.float32)
    n = track.direction
    for i in range(count):
        j = room.lit[i]
        x, y, z = seg.x[j], seg.y[j], seg.z[j]
        weight = float(seg.energy[j] * (ONE + seg.ratio[j]))
        lever = float(seg.s[j]) + point[3]
        fill_monomials(n, factors)
        step = F(STEP)
        gx = float(light_in_unhit_at(event, n, factors, x + step, y, z))
        gx -= float(light_in_unhit_at(event, n, factors, x - step, y, z))
        gy = float(light_in_unhit_at(event, n, factors, x, y + step, z))
        gy -= float(light_in_unhit_at(event, n, factors, x, y - step, z))
        gz = float(light_in_unhit_at(event, n, factors, x, y, z + step))
        gz -= float(light_in_unhit_at(event, n, factors, x, y, z - step))
        share = weight / (2 * STEP)
        move_a = share * (gx * track.a[0] + gy * track.a[1] + gz * track.a[2])
        move_b = share * (gx * track.b[0] + gy * track.b[1] + gz * track.b[2])
        g[0] += move_a
        g[1] += move_b
        g[3] += share * (gx * n[0] + gy * n[1] + gz * n[2])
        g[4] += lever * move_a
        g[5] += lever * move_b
        if not turning:
            continue
        for c in range(2):
            axis = track.a if c == 0 else track.b
            difference = 0.0
            for sign in (1.0, -1.0):
                for m in range(3):
                    turned[m] = n[m] + F(sign * ROTATION) * axis[m]
                fill_monomials(turned, factors)
                difference += sign * float(light_in_unhit_at(event, turned, factors, x, y, z))
            g[4 + c] += weight * difference / (2 * ROTATION)


@compiled
def _reduce(event: EventArrays, solver: Solver, room: Room, count: int, seg: Segments, g: Double, h: Double) -> None:
    """Subtract the charged bins from the gradient; fill the curvature with the energies eliminated."""
    charge, mu = event.bins.charge, solver.mu
    for r in range(mu.size):
        share = charge[r] / mu[r]
        root = np.sqrt(charge[r]) / mu[r]
        for c in range(SIZE):
            g[c] -= float(share * room.jacobian[c, r])
            room.jacobian[c, r] *= root
        for i in range(count):
            solver.column[i, r] *= root * seg.energy[room.lit[i]]
    for i in range(count):
        for k in range(i + 1):
            room.inner[i, k] = room.inner[k, i] = float(_product(solver.column[i], solver.column[k]))
        room.inner[i, i] = room.inner[i, i] * (1 + 1e-5) + 1e-9
        for c in range(SIZE):
            room.cross[c, i] = float(_product(solver.column[i], room.jacobian[c]))
    for c in range(SIZE):
        for m in range(c + 1):
            h[c, m] = float(_product(room.jacobian[c], room.jacobian[m]))
    factorise(room.inner, 0, count, room.factor)
    for c in range(SIZE):
        solve_factorised(room.factor, room.cross[c], count, room.solution)
        for m in range(c + 1):
            for i in range(count):
                h[c, m] -= room.solution[i] * room.cross[m, i]
            h[m, c] = h[c, m]


@compiled
def _product(a: Single, b: Single) -> np.float32:
    """Return sum a b."""
    value = ZERO
    for r in range(a.size):
        value += a[r] * b[r]
    return value
