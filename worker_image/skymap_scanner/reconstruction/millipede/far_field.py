"""The light in the DOMs without pulses: near DOMs one by one, distant ones from a field.

There are thousands of such DOMs and they enter the likelihood only by their sum, so the sum over distant DOMs is
computed once per event on a grid (`far_grid`), between whose points the logarithm is interpolated. Near DOMs (weight 1
up to NEAR, smoothly 0 at FAR) are summed exactly from lists by cell.
"""

from __future__ import annotations

import math

import numpy as np

from skymap_scanner.reconstruction.millipede.arrays import (
    LANES,
    Doms,
    EventArrays,
    FarField,
    Index,
    Segments,
    Single,
    Track,
)
from skymap_scanner.reconstruction.millipede.compiled import compiled, inlined
from skymap_scanner.reconstruction.millipede.directions import FLOW_X, FLOW_Y, kappa_of, layer_at, way
from skymap_scanner.reconstruction.millipede.far_grid import (
    FAR,
    GRID_SIZE,
    GRID_SIZE_Z,
    MOMENTS,
    fit_cubics,
    grid_place,
    nearness,
)
from skymap_scanner.reconstruction.millipede.interpolants import LightTables
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
    expected_charge,
    layer_number,
    layer_place,
)

# Cells of the lists of near DOMs, m.
CELL = 50.0
CELLS = 28
CELLS_EDGE = 700.0

#: Where the logarithm of the far field has not been asked for yet.
UNKNOWN = F(1e30)
_LEAST = F(1e-30)  # the logarithm needs something positive


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


def make_far_field(unhit: Doms, tables: LightTables, light_range: float, anisotropy: float) -> FarField:
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
        anisotropy=np.float32(anisotropy),
        cell=cell,
        near=_near_doms(unhit, members),
    )


def _near_doms(doms: Doms, members: Index) -> Doms:
    """Return the DOMs of the lists; a number behind the last one is a DOM that sees nothing."""
    blind = members == doms.x.size
    members = np.where(blind, 0, members)
    if not doms.x.size:
        nothing = np.zeros(1, np.float32)
        doms = Doms(nothing, nothing, nothing, nothing, nothing, np.zeros(1, np.int32), nothing)
    return Doms(
        x=doms.x[members],
        y=doms.y[members],
        z=doms.z[members],
        height=doms.height[members],
        flow=doms.flow[members],
        column=doms.column[members],
        efficiency=np.where(blind, np.float32(0), doms.efficiency[members]),
    )


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
            event.layers, event.anisotropy, tables.log_fluence, tables.angles, tables.angle_first,
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
    (ix, iy, iz), (fx, fy, fz) = grid_place(x, y, z)
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
        field.cell[cell], field.cell[cell + 1], field.near, x, y, z, n[0], n[1], n[2], event.layers, event.anisotropy,
        tables.log_fluence, tables.angles, tables.angle_first, tables.angle_density, tables.reference_decay,
    )  # fmt: skip
    light: np.float32 = near + _interpolated(field.tensor, factors, x, y, z)
    return light


@compiled
def _interpolated(tensor: Single, factors: Single, x: np.float32, y: np.float32, z: np.float32) -> np.float32:
    """Return the far field as `_far_light` does, without its memory."""
    (ix, iy, iz), (fx, fy, fz) = grid_place(x, y, z)
    value = ZERO
    for corner in range(8):
        kx, ky, kz = ix + (corner & 1), iy + ((corner >> 1) & 1), iz + (corner >> 2)
        weight = (fx if kx > ix else ONE - fx) * (fy if ky > iy else ONE - fy) * (fz if kz > iz else ONE - fz)
        value += weight * _log_light(tensor[kx, ky, kz], factors)
    light: np.float32 = np.exp(value)
    return light


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
    anisotropy: np.float32,
    log_fluence: Single,
    angles: np.float32,
    angle_first: np.float32,
    angle_density: np.float32,
    reference_decay: np.float32,
) -> np.float32:
    """Sum the light of one segment in the near DOMs first..last, weighted by `nearness`."""
    total = ZERO
    height, flow = layer_at(x, y, z)[0], x * FLOW_X + y * FLOW_Y
    for k in range(first, last):
        dx, dy, dz = near.x[k] - x, near.y[k] - y, near.z[k] - z
        d = np.sqrt(dx * dx + dy * dy + dz * dz)
        d = max(NEAREST, d)
        inverse = ONE / d
        cos_eta = dz * inverse
        place, radial, angular = layer_place(d, (near.height[k] - height) * inverse, near.column[k])
        cos_psi = (dx * nx + dy * ny + dz * nz) * inverse
        b = layer_number(place + SCATTER, radial, angular, layers)
        a = layer_number(place + ABSORB, radial, angular, layers)
        more = nz * layer_number(place + BY_AXIS, radial, angular, layers)
        more += cos_psi * layer_number(place + BY_PSI, radial, angular, layers)
        more -= kappa_of((near.flow[k] - flow) * inverse, anisotropy) * way(d, b, a)
        light = expected_charge(
            d, cos_psi, cos_eta, nz, b, a, more, log_fluence, angles, angle_first, angle_density, reference_decay
        )
        total += near.efficiency[k] * light * nearness(d)
    return total
