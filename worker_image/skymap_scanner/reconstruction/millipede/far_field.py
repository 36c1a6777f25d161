"""The light in the DOMs without pulses: near DOMs one by one, distant ones from a precomputed field.

There are thousands of such DOMs and they enter the likelihood only by their sum, so the sum over distant DOMs is
computed once per event on a grid. Its dependence on the source's direction n is a cubic in cos psi = n.e (e: unit
vector to the DOM), so at each grid point 20 numbers (the moments of e up to third order) hold it for all directions.
Between grid points the logarithm is interpolated. Near DOMs (weight 1 up to NEAR, smoothly 0 at FAR) are summed exactly
from lists by cell.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.reconstruction.millipede.arrays import (
    LANES,
    Doms,
    Double,
    EventArrays,
    FarField,
    Index,
    Segments,
    Single,
    Track,
)
from skymap_scanner.reconstruction.millipede.compiled import compiled, inlined
from skymap_scanner.reconstruction.millipede.constants import TABLE_SCATTERING
from skymap_scanner.reconstruction.millipede.energies import solve_cholesky
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
    expected_charge,
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
# Cells of the lists of near DOMs, m.
CELL = 50.0
CELLS = 28
CELLS_EDGE = 700.0
MOMENTS = 20
#: Grid points are known this far around each segment, m: differences take a step of 1 m.
MARGIN = 2.0

_NEAR, _BLEND, _EDGE = F(NEAR), F(1 / (FAR - NEAR)), F(GRID_EDGE)
_DENSITY, _DENSITY_Z = F(1 / GRID_STEP), F(1 / GRID_STEP_Z)
_LENGTH = F(TABLE_SCATTERING)
#: Where the logarithm of the far field has not been asked for yet.
UNKNOWN = F(1e30)
_HALF, _THIRD = F(1 / 2), F(1 / 3)
_LEAST = F(1e-30)  # the logarithm needs something positive


@inlined
def nearness(distance: np.float32) -> np.float32:
    """Return the weight of a DOM in the near sum: 1 up to NEAR, 0 from FAR."""
    u = (distance - _NEAR) * _BLEND
    u = max(ZERO, u)
    u = min(ONE, u)
    return ONE - u * u * (THREE - TWO * u)


@compiled
def fill_monomials(direction: Single, out: Single) -> None:
    """Fill the factors of the 20 moments for a unit vector: those of (1, n.e, (n.e)2, (n.e)3) multiplied out."""
    x, y, z = direction[0], direction[1], direction[2]
    out[0], out[1], out[2], out[3] = ONE, x, y, z
    out[4], out[5], out[6] = x * x, TWO * x * y, TWO * x * z
    out[7], out[8], out[9] = y * y, TWO * y * z, z * z
    out[10], out[11], out[12] = x * x * x, THREE * x * x * y, THREE * x * x * z
    out[13], out[14], out[15] = THREE * x * y * y, y * y * y, THREE * y * y * z
    out[16], out[17], out[18] = THREE * x * z * z, THREE * y * z * z, z * z * z
    out[19] = F(6) * x * y * z


def make_log_far() -> Single:
    """Return the empty memory of one direction's far field."""
    return np.full((GRID_SIZE, GRID_SIZE, GRID_SIZE_Z), UNKNOWN)


def make_far_field(unhit: Doms, tables: LightTables, light_range: float) -> FarField:
    """Prepare the grid, whose points are summed when they are first asked for, and list the near DOMs."""
    scale, cubic = fit_cubics(tables)
    cell, members = _list_near(unhit.x, unhit.y, unhit.z)
    return FarField(
        tensor=np.zeros((GRID_SIZE, GRID_SIZE, GRID_SIZE_Z, MOMENTS), np.float32),
        known=np.zeros((GRID_SIZE, GRID_SIZE, GRID_SIZE_Z), np.bool_),
        doms=unhit,
        scale=scale,
        cubic=cubic,
        reference_decay=tables.reference_decay,
        reach=np.float32(light_range),
        cell=cell,
        near=_near_doms(unhit, members),
    )


def _near_doms(doms: Doms, members: Index) -> Doms:
    """Return the DOMs of the lists; a number behind the last one is a DOM that sees nothing."""
    blind = members == doms.x.size
    members = np.where(blind, 0, members)
    if not doms.x.size:
        nothing = np.zeros(1, np.float32)
        doms = Doms(nothing, nothing, nothing, np.zeros(1, np.int32), nothing)
    return Doms(
        x=doms.x[members],
        y=doms.y[members],
        z=doms.z[members],
        column=doms.column[members],
        efficiency=np.where(blind, np.float32(0), doms.efficiency[members]),
    )


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
        low, _ = _place(seg.x[j] - margin, seg.y[j] - margin, seg.z[j] - margin)
        high, _ = _place(seg.x[j] + margin, seg.y[j] + margin, seg.z[j] + margin)
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
    near, column = np.empty((4, doms.x.size), np.float32), np.empty(doms.x.size, np.int32)
    n = 0
    for k in range(doms.x.size):
        dx, dy, dz = doms.x[k] - x, doms.y[k] - y, doms.z[k] - z
        if dx * dx + dy * dy + dz * dz < reach * reach:
            near[0, n], near[1, n], near[2, n] = dx, dy, dz
            near[3, n], column[n] = doms.efficiency[k], doms.column[k]
            n += 1
    _sum_moments(
        near, column, n, layers, field.scale, field.cubic, field.reference_decay, reach,
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
    place, radial, angular = layer_place(d, ez, column[k])
    b = layer_number(place + SCATTER, radial, angular, layers)
    a = layer_number(place + ABSORB, radial, angular, layers)
    u = (np.sqrt(d * _LENGTH * b) - F(ROOT_MIN)) * F(1 / ROOT_STEP)
    u = max(ZERO, u)
    u = min(F(scale.size - 1.001), u)
    whole = np.floor(u)
    f, i = u - whole, np.int32(whole)
    light = near[3, k] * weight * (_LENGTH * b) * (_LENGTH * b)
    light *= exponential(_between(scale, i, f) - d * (np.sqrt(THREE * a * b) - reference_decay * _LENGTH * b))
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
            near, column, k, layers, scale, cubic, reference_decay, reach
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


def _list_near(x: Single, y: Single, z: Single) -> tuple[Index, Index]:
    """List, for each cell, the DOMs that can lie within FAR of a point in it: offsets (cells + 1,) and members.

    The lists are filled up to multiples of LANES with the number behind the last DOM.
    """
    count = np.zeros(CELLS**3 + 1, np.int64)
    _scan_cells(x, y, z, count, np.zeros(0, np.int64))
    first = np.cumsum((count + LANES - 1) // LANES * LANES)
    members = np.full(int(first[-1]), x.size)
    _scan_cells(x, y, z, first.copy(), members)
    return first, members


@compiled
def _scan_cells(x: Single, y: Single, z: Single, place: Index, members: Index) -> None:
    """Count the near DOMs of each cell in ``place[cell + 1]``; or, given room, write them from ``place[cell]`` on."""
    counting = members.size == 0
    reach = math.ceil(FAR / CELL)
    for k in range(x.size):
        cx, cy, cz = _cell(x[k]), _cell(y[k]), _cell(z[k])
        for ix in range(max(cx - reach, 0), min(cx + reach + 1, CELLS)):
            gx = _gap(x[k], ix)
            for iy in range(max(cy - reach, 0), min(cy + reach + 1, CELLS)):
                gy = _gap(y[k], iy)
                for iz in range(max(cz - reach, 0), min(cz + reach + 1, CELLS)):
                    gz = _gap(z[k], iz)
                    if gx * gx + gy * gy + gz * gz >= FAR * FAR:
                        continue
                    cell = (ix * CELLS + iy) * CELLS + iz
                    if counting:
                        place[cell + 1] += 1
                    else:
                        members[place[cell]] = k
                        place[cell] += 1


@inlined
def _cell(x: np.float32) -> int:
    """Return the cell of a coordinate; the outermost ones go on for ever."""
    return min(max(math.floor((x + CELLS_EDGE) / CELL), 0), CELLS - 1)


@inlined
def _gap(x: np.float32, cell: int) -> float:
    """Return how far a coordinate lies outside a cell, m."""
    low = cell * CELL - CELLS_EDGE
    return max(low - float(x), float(x) - (low + CELL), 0.0)


@compiled
def light_in_unhit_field(event: EventArrays, track: Track, seg: Segments) -> None:
    """Fill ``unhit``, PE per GeV of every segment in all DOMs without pulses: near sum and far field."""
    field, tables, n = event.field, event.tables, track.direction
    for j in range(seg.unhit.size):
        far = _far_light(field.tensor, track.monomials, track.log_far, seg.x[j], seg.y[j], seg.z[j])
        cell = (_cell(seg.x[j]) * CELLS + _cell(seg.y[j])) * CELLS + _cell(seg.z[j])
        near = _near_light(
            field.cell[cell], field.cell[cell + 1], field.near, seg.x[j], seg.y[j], seg.z[j], n[0], n[1], n[2],
            event.layers, tables.log_fluence, tables.angles, tables.angle_first,
            tables.angle_density, tables.reference_decay,
        )  # fmt: skip
        seg.unhit[j] = far + near


@compiled
def _far_light(
    tensor: Single,
    factors: Single,
    log_far: Single,
    x: np.float32,
    y: np.float32,
    z: np.float32,
) -> np.float32:
    """Interpolate the far field at a point, for the direction of the ``factors``."""
    (ix, iy, iz), (fx, fy, fz) = _place(x, y, z)
    value = ZERO
    for corner in range(8):
        kx, ky, kz = ix + (corner & 1), iy + ((corner >> 1) & 1), iz + (corner >> 2)
        if log_far[kx, ky, kz] == UNKNOWN:
            log_far[kx, ky, kz] = _log_light(tensor[kx, ky, kz], factors)
        weight = (fx if kx > ix else ONE - fx) * (fy if ky > iy else ONE - fy) * (fz if kz > iz else ONE - fz)
        value += weight * log_far[kx, ky, kz]
    light_there: np.float32 = np.exp(value)
    return light_there


@compiled
def light_in_unhit_at(
    event: EventArrays, n: Single, factors: Single, x: np.float32, y: np.float32, z: np.float32
) -> np.float32:
    """Return PE per GeV in all DOMs without pulses of a source at a point, in direction ``n`` with its ``factors``."""
    field, tables = event.field, event.tables
    cell = (_cell(x) * CELLS + _cell(y)) * CELLS + _cell(z)
    near = _near_light(
        field.cell[cell], field.cell[cell + 1], field.near, x, y, z, n[0], n[1], n[2], event.layers,
        tables.log_fluence, tables.angles, tables.angle_first, tables.angle_density, tables.reference_decay,
    )  # fmt: skip
    light: np.float32 = near + _interpolated(field.tensor, factors, x, y, z)
    return light


@compiled
def _interpolated(tensor: Single, factors: Single, x: np.float32, y: np.float32, z: np.float32) -> np.float32:
    """Return the far field as `_far_light` does, without its memory."""
    (ix, iy, iz), (fx, fy, fz) = _place(x, y, z)
    value = ZERO
    for corner in range(8):
        kx, ky, kz = ix + (corner & 1), iy + ((corner >> 1) & 1), iz + (corner >> 2)
        weight = (fx if kx > ix else ONE - fx) * (fy if ky > iy else ONE - fy) * (fz if kz > iz else ONE - fz)
        value += weight * _log_light(tensor[kx, ky, kz], factors)
    light: np.float32 = np.exp(value)
    return light


@inlined
def _place(
    x: np.float32, y: np.float32, z: np.float32
) -> tuple[tuple[int, int, int], tuple[np.float32, np.float32, np.float32]]:
    """Return the grid point below a point, and the fractions of a step beyond it."""
    ux, uy, uz = (x + _EDGE) * _DENSITY, (y + _EDGE) * _DENSITY, (z + _EDGE) * _DENSITY_Z
    ux = min(max(ux, ZERO), F(GRID_SIZE - 1.001))
    uy = min(max(uy, ZERO), F(GRID_SIZE - 1.001))
    uz = min(max(uz, ZERO), F(GRID_SIZE_Z - 1.001))
    ix, iy, iz = int(ux), int(uy), int(uz)
    return (ix, iy, iz), (ux - F(ix), uy - F(iy), uz - F(iz))


@compiled
def _log_light(moments: Single, factors: Single) -> np.float32:
    """Return the logarithm of the far field at a grid point, for the direction of the ``factors``."""
    light = ZERO
    for m in range(MOMENTS):
        light += factors[m] * moments[m]
    value: np.float32 = np.log(max(light, _LEAST))
    return value


@compiled
def _near_light(
    first: int,
    last: int,
    near: Doms,
    x: np.float32,
    y: np.float32,
    z: np.float32,
    nx: np.float32,
    ny: np.float32,
    nz: np.float32,
    layers: Single,
    log_fluence: Single,
    angles: np.float32,
    angle_first: np.float32,
    angle_density: np.float32,
    reference_decay: np.float32,
) -> np.float32:
    """Sum the light of one segment in the near DOMs first..last, weighted by `nearness`."""
    total = ZERO
    for k in range(first, last):
        dx, dy, dz = near.x[k] - x, near.y[k] - y, near.z[k] - z
        d = np.sqrt(dx * dx + dy * dy + dz * dz)
        d = max(NEAREST, d)
        inverse = ONE / d
        cos_eta = dz * inverse
        place, radial, angular = layer_place(d, cos_eta, near.column[k])
        cos_psi = (dx * nx + dy * ny + dz * nz) * inverse
        b = layer_number(place + SCATTER, radial, angular, layers)
        a = layer_number(place + ABSORB, radial, angular, layers)
        more = nz * layer_number(place + BY_AXIS, radial, angular, layers)
        more += cos_psi * layer_number(place + BY_PSI, radial, angular, layers)
        light = expected_charge(
            d, cos_psi, cos_eta, nz, b, a, more, log_fluence, angles, angle_first, angle_density, reference_decay
        )
        total += near.efficiency[k] * light * nearness(d)
    return total
