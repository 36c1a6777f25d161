"""The field of distant DOMs without pulses: sums over them on a grid of places.

The dependence of a DOM's light on the source's direction n is a cubic in cos psi = n.e (e: unit vector to the DOM), so
at each grid point 20 numbers (the moments of e up to third order) hold the sum for all directions.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.reconstruction.millipede.arrays import Double, EventArrays, FarField, Segments, Single, Track
from skymap_scanner.reconstruction.millipede.cholesky import solve_cholesky
from skymap_scanner.reconstruction.millipede.compiled import compiled, inlined
from skymap_scanner.reconstruction.millipede.constants import TABLE_SCATTERING
from skymap_scanner.reconstruction.millipede.directions import FLOW_X, FLOW_Y, kappa_of, layer_at, way
from skymap_scanner.reconstruction.millipede.interpolants import N_RADIUS, ROOT_MIN, ROOT_STEP, LightTables
from skymap_scanner.reconstruction.millipede.light import (
    ABSORB,
    BY_AXIS,
    BY_PSI,
    NEAREST,
    ONE,
    SCATTER,
    THREE,
    TWO,
    ZERO,
    F,
    acceptance,
    acceptance_slope,
    exponential,
    layer_number,
    layer_place,
    taper,
    turn_of,
)
from skymap_scanner.reconstruction.millipede.response import place_segments

# The grid, m: a cube that holds the segments' own.
GRID_EDGE = 840.0
GRID_STEP = 40.0  # horizontal
GRID_STEP_Z = 15.0  # the layers of the ice are 10 m thick
GRID_SIZE = 43
GRID_SIZE_Z = 113
#: Near and far overlap smoothly between these distances, m.
NEAR, FAR = 100.0, 160.0
MOMENTS = 20
#: Grid points are known this far around each segment, m: differences take a step of 1 m.
MARGIN = 2.0

_NEAR, _BLEND, _EDGE = F(NEAR), F(1 / (FAR - NEAR)), F(GRID_EDGE)
_DENSITY, _DENSITY_Z = F(1 / GRID_STEP), F(1 / GRID_STEP_Z)
_LENGTH = F(TABLE_SCATTERING)
_HALF, _THIRD = F(1 / 2), F(1 / 3)


@inlined
def nearness(distance: np.float32) -> np.float32:
    """Return the weight of a DOM in the near sum: 1 up to NEAR, 0 from FAR."""
    u = (distance - _NEAR) * _BLEND
    u = max(ZERO, u)
    u = min(ONE, u)
    return ONE - u * u * (THREE - TWO * u)


@inlined
def grid_place(
    x: np.float32, y: np.float32, z: np.float32
) -> tuple[tuple[int, int, int], tuple[np.float32, np.float32, np.float32]]:
    """Return the grid point below a point, and the fractions of a step beyond it."""
    ux, uy, uz = (x + _EDGE) * _DENSITY, (y + _EDGE) * _DENSITY, (z + _EDGE) * _DENSITY_Z
    ux = min(max(ux, ZERO), F(GRID_SIZE - 1.001))
    uy = min(max(uy, ZERO), F(GRID_SIZE - 1.001))
    uz = min(max(uz, ZERO), F(GRID_SIZE_Z - 1.001))
    ix, iy, iz = int(ux), int(uy), int(uz)
    return (ix, iy, iz), (ux - F(ix), uy - F(iy), uz - F(iz))


def fit_cubics(tables: LightTables) -> tuple[Single, Single]:
    """Fit the fluence at each distance by exp(scale) times a cubic in cos psi; return scale (n,) and cubic (4, n)."""
    angles = int(tables.angles)
    cosines = float(tables.angle_first) + np.arange(angles) / float(tables.angle_density)
    scale, cubic = np.zeros(N_RADIUS), np.zeros((N_RADIUS, 4))
    _fit_cubics(tables.log_fluence.reshape(N_RADIUS, angles).astype(np.float64), cosines, scale, cubic)
    return scale.astype(np.float32), np.ascontiguousarray(cubic.T, np.float32)


@compiled
def _fit_cubics(log_fluence: Double, cosines: Double, scale: Double, cubic: Double) -> None:
    """Least squares with weights 1/fluence: between absolute and relative error."""
    gram, factor, right = np.zeros((4, 4)), np.zeros((4, 4)), np.zeros(4)
    for i in range(log_fluence.shape[0]):
        scale[i] = log_fluence[i].max()
        gram[:] = 0
        right[:] = 0
        for j in range(cosines.size):
            weight = math.exp(scale[i] - log_fluence[i, j])
            for k in range(4):
                right[k] += cosines[j] ** k
                for m in range(4):
                    gram[k, m] += weight * cosines[j] ** (k + m)
        solve_cholesky(gram, right, 4, factor, cubic[i])


@compiled
def complete_field(event: EventArrays, track: Track, point: Double, seg: Segments) -> None:
    """Sum the grid points around the segments at ``point`` that are not known yet, with a margin of `MARGIN`.

    No other kernel fills them, so that their bits do not depend on who asks first.
    """
    place_segments(track, point, seg)
    field, margin = event.field, F(MARGIN)
    for j in range(seg.energy.size):
        low, _ = grid_place(seg.x[j] - margin, seg.y[j] - margin, seg.z[j] - margin)
        high, _ = grid_place(seg.x[j] + margin, seg.y[j] + margin, seg.z[j] + margin)
        for ix in range(low[0], high[0] + 2):
            for iy in range(low[1], high[1] + 2):
                for iz in range(low[2], high[2] + 2):
                    if not field.known[ix, iy, iz]:
                        _fill_point(field, event.layers, ix, iy, iz)


@compiled
def _fill_point(field: FarField, layers: Single, ix: int, iy: int, iz: int) -> None:
    """Sum the distant DOMs at one grid point."""
    x, y, z = F(ix * GRID_STEP - GRID_EDGE), F(iy * GRID_STEP - GRID_EDGE), F(iz * GRID_STEP_Z - GRID_EDGE)
    doms, reach = field.doms, field.reach
    near, column = np.empty((6, doms.x.size), np.float32), np.empty(doms.x.size, np.int32)
    height, flow = layer_at(x, y, z)[0], x * FLOW_X + y * FLOW_Y
    n = 0
    for k in range(doms.x.size):
        dx, dy, dz = doms.x[k] - x, doms.y[k] - y, doms.z[k] - z
        if dx * dx + dy * dy + dz * dz < reach * reach:
            near[0, n], near[1, n], near[2, n] = dx, dy, dz
            near[3, n], near[4, n] = doms.height[k] - height, doms.flow[k] - flow
            near[5, n], column[n] = doms.efficiency[k], doms.column[k]
            n += 1
    _sum_moments(
        near, column, n, layers, field.anisotropy, field.scale, field.cubic, field.reference_decay, reach,
        field.tensor[ix, iy, iz],
    )  # fmt: skip
    field.known[ix, iy, iz] = True


@inlined
def _between(values: Single, i: np.int32, f: np.float32) -> np.float32:
    """Interpolate between ``values`` i and i + 1."""
    value: np.float32 = values[i] + f * (values[i + np.int32(1)] - values[i])
    return value


@inlined
def _distant_light(
    near: Single,
    column: NDArray[np.int32],
    k: int,
    layers: Single,
    anisotropy: np.float32,
    scale: Single,
    cubic: Single,
    reference_decay: np.float32,
    reach: np.float32,
) -> tuple[np.float32, ...]:
    """Return what a sum over distant DOMs needs of DOM ``k``.

    That is: the four coefficients of the cubic in cos psi (PE per GeV at an acceptance of 1), the unit vector to the
    DOM, the acceptance along it, and how it changes with the axis' vertical component and with cos psi: to first order,
    by the turn of the light and by what the direction adds in layers.
    """
    dx, dy, dz = near[0, k], near[1, k], near[2, k]
    d = np.sqrt(dx * dx + dy * dy + dz * dz)
    weight = (ONE - nearness(d)) * taper(d, reach)
    d = max(NEAREST, d)
    inverse = ONE / d
    ex, ey, ez = dx * inverse, dy * inverse, dz * inverse
    place, radial, angular = layer_place(d, near[3, k] * inverse, column[k])
    b = layer_number(place + SCATTER, radial, angular, layers)
    a = layer_number(place + ABSORB, radial, angular, layers)
    u = (np.sqrt(d * _LENGTH * b) - F(ROOT_MIN)) * F(1 / ROOT_STEP)
    u = max(ZERO, u)
    u = min(F(scale.size - 1.001), u)
    whole = np.floor(u)
    f, i = u - whole, np.int32(whole)
    lost = kappa_of(near[4, k] * inverse, anisotropy) * way(d, b, a)
    lost += d * (np.sqrt(THREE * a * b) - reference_decay * _LENGTH * b)
    light = near[5, k] * weight * (_LENGTH * b) * (_LENGTH * b) * exponential(_between(scale, i, f) - lost)
    c0 = light * _between(cubic[0], i, f)
    c1 = light * _between(cubic[1], i, f)
    c2 = light * _between(cubic[2], i, f)
    c3 = light * _between(cubic[3], i, f)
    seen, slope = acceptance(ez, d, b), -turn_of(d * b) * acceptance_slope(ez, d, b)
    by_axis = slope + seen * layer_number(place + BY_AXIS, radial, angular, layers)
    by_psi = seen * layer_number(place + BY_PSI, radial, angular, layers) - slope * ez
    return c0, c1, c2, c3, ex, ey, ez, seen, by_axis, by_psi


@compiled
def _sum_moments(
    near: Single,
    column: NDArray[np.int32],
    count: int,
    layers: Single,
    anisotropy: np.float32,
    scale: Single,
    cubic: Single,
    reference_decay: np.float32,
    reach: np.float32,
    out: Single,
) -> None:
    """Sum the moments, at one grid point, of the distant ones among the first DOMs of ``near``."""
    # twenty scalars, not an array: they stay in registers, and the loop vectorises
    t0 = t1 = t2 = t3 = t4 = t5 = t6 = t7 = t8 = t9 = ZERO
    u0 = u1 = u2 = u3 = u4 = u5 = u6 = u7 = u8 = u9 = ZERO
    for k in range(count):
        b0, b1, b2, b3, ex, ey, ez, seen, by_axis, by_psi = _distant_light(
            near, column, k, layers, anisotropy, scale, cubic, reference_decay, reach
        )
        # (seen + by_axis n_z + by_psi cos psi) times the cubic, less what is beyond the third order
        s0, s1, s2 = by_axis * b0, by_axis * b1, by_axis * b2
        c0, c1, c2, c3 = seen * b0, seen * b1 + by_psi * b0, seen * b2 + by_psi * b1, seen * b3 + by_psi * b2
        t0 += c0
        t1 += c1 * ex
        t2 += c1 * ey
        t3 += c1 * ez + s0
        t4 += c2 * ex * ex
        t5 += c2 * ex * ey
        t6 += (c2 * ez + _HALF * s1) * ex
        t7 += c2 * ey * ey
        t8 += (c2 * ez + _HALF * s1) * ey
        t9 += (c2 * ez + s1) * ez
        third = _THIRD * s2
        xx, yy, zz, xyz = c3 * ex * ex, c3 * ey * ey, (c3 * ez + TWO * third) * ez, c3 * ez + third
        u0 += xx * ex
        u1 += xx * ey
        u2 += xyz * ex * ex
        u3 += yy * ex
        u4 += yy * ey
        u5 += xyz * ey * ey
        u6 += zz * ex
        u7 += zz * ey
        u8 += (c3 * ez + s2) * ez * ez
        u9 += xyz * ex * ey
    out[0], out[1], out[2], out[3], out[4] = t0, t1, t2, t3, t4
    out[5], out[6], out[7], out[8], out[9] = t5, t6, t7, t8, t9
    out[10], out[11], out[12], out[13], out[14] = u0, u1, u2, u3, u4
    out[15], out[16], out[17], out[18], out[19] = u5, u6, u7, u8, u9
