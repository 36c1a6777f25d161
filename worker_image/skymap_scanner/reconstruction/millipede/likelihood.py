"""Minus the logarithm of Millipede's likelihood for a track, all energies at their best."""

from __future__ import annotations

from skymap_scanner.reconstruction.millipede.arrays import Double, EventArrays, Segments, Track
from skymap_scanner.reconstruction.millipede.compiled import compiled
from skymap_scanner.reconstruction.millipede.energies import Solver, copy, fill, minimise, start_energies, total_of
from skymap_scanner.reconstruction.millipede.far_field import light_in_unhit_field
from skymap_scanner.reconstruction.millipede.light import ONE, ZERO, F
from skymap_scanner.reconstruction.millipede.response import light_in_unhit, place_segments, respond_in_bins

#: A segment that gives less than this in all DOMs together, PE per GeV, is not seen.
_FAINTEST = F(1e-12)
#: A loss of energy E has the prior exp(-E / this), GeV: else noise far away would be explained by impossible energies.
PRIOR_ENERGY = 1e6
_PRIOR = F(1 / PRIOR_ENERGY)


@compiled
def evaluate(
    event: EventArrays,
    track: Track,
    point: Double,
    seg: Segments,
    solver: Solver,
    exact: bool,
    warm: bool,
    tolerance: float,
) -> float:
    """Return -ln L, less the constant sum of ln Gamma(q + 1), at ``point``.

    ``point`` (4,): offsets of the vertex along the track's a and b (m), time (ns), and offset along the track (m).

    ``exact``: sum the DOMs without pulses one by one instead of by the far field. ``warm``: start from the energies in
    ``seg.energy``. The energies (GeV) are left there, the scaled matrix in ``seg.matrix``, the expectation in
    ``solver.mu``.
    """
    place_segments(track, point, seg)
    fill(seg.rest, ZERO)
    respond_in_bins(event, track, point, seg)
    if exact:
        light_in_unhit(event, track, seg)
    else:
        light_in_unhit_field(event, track, seg)
    n = seg.energy.size
    for j in range(n):
        seg.rest[j] += seg.unhit[j] * (ONE if exact else ONE + seg.ratio[j]) + _PRIOR
    _scale_columns(seg)
    charge, noise = event.bins.charge, event.bins.noise
    if warm:
        for j in range(n):
            seg.energy[j] *= seg.total[j]
        warm = total_of(seg.energy) > 0
    if not warm:
        start_energies(seg.matrix, charge, noise, seg.energy, solver)
    f = minimise(seg.matrix, charge, noise, seg.energy, warm, tolerance, solver)
    for j in range(n):
        seg.energy[j] = seg.energy[j] / seg.total[j] if seg.energy[j] > ZERO else ZERO
    return f


@compiled
def _scale_columns(seg: Segments) -> None:
    """Divide each column of the matrix by the segment's total expectation, so that energies count in PE."""
    total, matrix, inverse = seg.total, seg.matrix, seg.earlier
    copy(seg.rest, total)
    for r in range(matrix.shape[0]):
        for j in range(total.size):
            total[j] += matrix[r, j]
    for j in range(total.size):
        inverse[j] = ONE / total[j] if total[j] > _FAINTEST else ZERO
    for r in range(matrix.shape[0]):
        for j in range(total.size):
            matrix[r, j] *= inverse[j]


@compiled
def calibrate(event: EventArrays, track: Track, point: Double, seg: Segments) -> None:
    """Set ``seg.ratio`` so that near ``point`` the far field gives the exact sum over the DOMs without pulses."""
    place_segments(track, point, seg)
    light_in_unhit_field(event, track, seg)
    copy(seg.unhit, seg.ratio)
    light_in_unhit(event, track, seg)
    for j in range(seg.energy.size):
        field = seg.ratio[j]
        seg.ratio[j] = seg.unhit[j] / field - ONE if field > F(1e-20) else ZERO
