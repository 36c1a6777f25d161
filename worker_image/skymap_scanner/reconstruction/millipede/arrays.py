"""What the kernels work on: plain arrays in single precision, grouped in named tuples that numba understands.

Times are in ns after the event's reference time (its vertex time), so that single precision resolves 0.001 ns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.reconstruction.millipede.interpolants import LightTables

Single = NDArray[np.float32]
Double = NDArray[np.float64]
Index = NDArray[np.int64]

#: Numbers that one vector instruction takes (AVX2); a loop over a multiple of it has no slow remainder.
LANES = 8


class Doms(NamedTuple):
    """DOMs: position (m), where their column of the layers begins, and PE per GeV and unit fluence.

    ``height``, ``flow`` (m): of the layer, and along the flow of the ice (`directions`).
    """

    x: Single
    y: Single
    z: Single
    height: Single
    flow: Single
    column: NDArray[np.int32]
    efficiency: Single


class TimeBins(NamedTuple):
    """The time bins of the DOMs with pulses.

    DOM k has ``number[k]`` bins between the ``number[k] + 1`` edges (ns) from ``edge[first[k]]``; ``row[first[k] + m]``
    is the row of bin m in the matrix, -1 when it holds no charge. ``charge`` (PE) and ``noise`` (expected PE): by row.
    """

    first: Index
    number: Index
    edge: Single
    row: Index
    charge: Single
    noise: Single


class FarField(NamedTuple):
    """Expected light in distant DOMs, as tensors on a grid (far_grid.py), and the lists of near DOMs by cell.

    ``tensor`` (x, y, z, 20) holds the moments where ``known``; a point is summed over the ``doms`` when it is first
    asked for (`far_grid.complete_field`), and does not change then. ``scale``, ``cubic``: the fluence by distance;
    ``reach`` (m): of light; ``anisotropy``: its strength.
    """

    tensor: Single
    known: NDArray[np.bool_]
    doms: Doms
    scale: Single
    cubic: Single
    reference_decay: np.float32
    reach: np.float32
    anisotropy: np.float32
    cell: Index  # (cells + 1,): the near DOMs of cell i are near.x[cell[i]:cell[i + 1]]
    near: Doms


class EventArrays(NamedTuple):
    """One event, ready for the kernels.

    ``layers``: `layers.layer_table`, flat. ``anisotropy``: its strength. ``range2``: square of the longest way of light
    that counts, m2.
    """

    hit: Doms
    unhit: Doms
    bins: TimeBins
    layers: Single
    anisotropy: np.float32
    tables: LightTables
    field: FarField
    range2: np.float32


class Segments(NamedTuple):
    """Sources along the track, n of them, and room for what an evaluation computes about them.

    ``s``: place along the track (m), on a grid of step ``spacing[0]`` from ``spacing[1]``; ``before[k]`` counts the
    segments in front of grid point k. ``height`` of their layer and place along the ``flow`` of the ice, m; ``lean``
    and ``rise``: how the height grows along the tilt and upwards. ``s`` and from ``x`` to ``later``: LANES more than n,
    so that loops may go on to full vectors; from ``charge`` on they hold what concerns one DOM. ``unhit`` (n,): PE per
    GeV in DOMs without pulses; ``ratio``: exact / far field - 1 of it. ``matrix`` (row, n): expected PE per GeV in bins
    with charge, then scaled; ``rest`` (n,): in everything else; ``total``: both. ``energy`` (n,): GeV.
    """

    s: Single
    spacing: Single
    before: Index
    x: Single
    y: Single
    z: Single
    height: Single
    flow: Single
    lean: Single
    rise: Single
    time: Single
    charge: Single
    distance: Single
    rate: Single
    offset: Single
    place: NDArray[np.int32]
    radial: Single
    angular: Single
    knee: Single
    sooner: Single
    wider: Single
    earlier: Single
    later: Single
    unhit: Single
    ratio: Single
    rest: Single
    total: Single
    energy: Single
    matrix: Single


def make_segments(rows: int, spacing: float, first: int, keep: NDArray[np.bool_]) -> Segments:
    """Return segments at ``spacing`` (m) times first, first + 1, ..., where ``keep``; room for ``rows`` bins."""
    s = ((first + np.flatnonzero(keep)) * spacing).astype(np.float32)
    n = s.size

    def room(size: int = n + LANES) -> Single:
        return np.zeros(size, np.float32)

    return Segments(
        s=np.append(s, room(LANES)),
        spacing=np.array([spacing, first * spacing], np.float32),
        before=np.append(0, np.cumsum(keep)).astype(np.int64),
        x=room(),
        y=room(),
        z=room(),
        height=room(),
        flow=room(),
        lean=room(),
        rise=room(),
        time=room(),
        charge=room(),
        distance=room(),
        rate=room(),
        offset=room(),
        place=np.zeros(n + LANES, np.int32),
        radial=room(),
        angular=room(),
        knee=room(),
        sooner=room(),
        wider=room(),
        earlier=room(),
        later=room(),
        unhit=room(n),
        ratio=room(n),
        rest=room(n),
        total=room(n),
        energy=room(n),
        matrix=np.zeros((rows, n), np.float32),
    )


class Track(NamedTuple):
    """A direction through a vertex: unit vectors (float32), the DOMs with pulses in its coordinates, 20 monomials.

    ``along``: place of closest approach (m), ``across_a``, ``across_b``: transverse distance (m); zero at the vertex.
    ``log_far`` (x, y, z): logarithm of the far field for this direction, filled in where it is asked for.
    """

    vertex: Single
    direction: Single
    a: Single
    b: Single
    along: Single
    across_a: Single
    across_b: Single
    monomials: Single
    log_far: Single
