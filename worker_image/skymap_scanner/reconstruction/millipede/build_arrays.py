"""From an event to the arrays of the kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.geometry import Geometry
from skymap_scanner.detector.ice import FLOW_AZIMUTH, Ice, along_azimuth, layer_height
from skymap_scanner.reconstruction.millipede.arrays import Doms, EventArrays, TimeBins, Track
from skymap_scanner.reconstruction.millipede.bins import DomBins, EventData
from skymap_scanner.reconstruction.millipede.constants import CHARGE_WIDTH, PE_PER_GEV
from skymap_scanner.reconstruction.millipede.far_field import fill_monomials, make_far_field, make_log_far
from skymap_scanner.reconstruction.millipede.far_grid import MOMENTS
from skymap_scanner.reconstruction.millipede.interpolants import LightTables
from skymap_scanner.reconstruction.millipede.layers import column_of, layer_table
from skymap_scanner.reconstruction.millipede.segments import Line

_SECONDS = 1e-9  # in a nanosecond
#: Current, PE per ns, from which on the model's error grows. Such DOMs are near the source, where its length matters;
#: photomultipliers saturate at ten times as much, but the current of 25 ns hides its peaks.
STRONG = 5.0


def make_doms(geometry: Geometry, index: Sequence[int] | NDArray[np.int64]) -> Doms:
    """Return the DOMs of these indices."""
    index = np.asarray(index, np.int64)
    position = geometry.position[index]
    x, y, z = (np.ascontiguousarray(axis, np.float32) for axis in position.T)
    return Doms(
        x=x,
        y=y,
        z=z,
        height=layer_height(position).astype(np.float32),
        flow=along_azimuth(position, FLOW_AZIMUTH).astype(np.float32),
        column=column_of(position),
        efficiency=(geometry.efficiency[index] * PE_PER_GEV).astype(np.float32),
    )


def trust_in(binned: Sequence[DomBins], model_error: float) -> NDArray[np.float64]:
    """Return the weight of each DOM: 1 / (1 + s^2 + e^2 q), for an expectation that is uncertain by its share ``e``.

    Weighted so, a charge q has the variance q (1 + s^2) + (e q)^2: of counting, of the charge of one photoelectron
    (relative width s), and of the model's error: that is ``model_error``, times the root of 1 + (I / `STRONG`)^2, with
    I the DOM's largest current.
    """
    spread = 1 + CHARGE_WIDTH**2
    charge = np.array([math.fsum(dom.charges.tolist()) for dom in binned])
    current = np.array([dom.current for dom in binned])
    return np.asarray(1 / (spread + model_error**2 * (1 + (current / STRONG) ** 2) * charge))


def make_time_bins(
    binned: Sequence[DomBins], trust: NDArray[np.float64], noise_rate: NDArray[np.float64], reference: float
) -> TimeBins:
    """Lay out the bins of all DOMs, each with its weight; noise in Hz by geometry index, times after ``reference``."""
    first: list[int] = []
    number: list[int] = []
    edge: list[float] = []
    row: list[int] = []
    charge: list[float] = []
    noise: list[float] = []
    for dom, weight in zip(binned, trust.tolist(), strict=True):
        first.append(len(edge))
        number.append(len(dom.charges))
        edge.extend((dom.edges - reference).tolist())
        rate = float(noise_rate[dom.dom]) * _SECONDS
        for q, after, width in zip(dom.charges.tolist(), dom.after.tolist(), np.diff(dom.edges).tolist(), strict=True):
            row.append(len(charge) if q > 0 else -1)
            if q > 0:
                charge.append(weight * q)
                noise.append(weight * (rate * width + after))
        row.append(-1)  # one entry per edge, so that both share their offsets
    return TimeBins(
        first=np.array(first, np.int64),
        number=np.array(number, np.int64),
        edge=np.array(edge, np.float32),
        row=np.array(row, np.int64),
        charge=np.array(charge, np.float32),
        noise=np.array(noise, np.float32),
    )


def make_event_arrays(
    data: EventData,
    geometry: Geometry,
    ice: Ice,
    tables: LightTables,
    light_range: float,
    model_error: float,
    reference: float,
) -> EventArrays:
    """Make what all fits of an event share.

    A DOM's weight multiplies its charge, its noise and its efficiency: so does it every term of its likelihood.
    """
    trust = trust_in(data.binned, model_error)
    hit = make_doms(geometry, [dom.dom for dom in data.binned])
    unhit = make_doms(geometry, data.unhit)
    return EventArrays(
        hit=hit._replace(efficiency=(hit.efficiency * trust).astype(np.float32)),
        unhit=unhit,
        bins=make_time_bins(data.binned, trust, geometry.noise, reference),
        layers=layer_table(ice).ravel(),
        anisotropy=np.float32(ice.anisotropy),
        tables=tables,
        field=make_far_field(unhit, tables, light_range, ice.anisotropy),
        range2=np.float32(light_range**2),
    )


def make_track(hit: Doms, line: Line) -> Track:
    """Put the DOMs with pulses into the coordinates of the track."""
    away = np.stack([hit.x, hit.y, hit.z], axis=1).astype(np.float64) - line.vertex

    def along(axis: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.asarray((away * axis).sum(axis=1), np.float32)

    direction = line.direction.astype(np.float32)
    factors = np.zeros(MOMENTS, np.float32)
    fill_monomials(direction, factors)
    return Track(
        vertex=line.vertex.astype(np.float32),
        direction=direction,
        a=line.a.astype(np.float32),
        b=line.b.astype(np.float32),
        along=along(line.direction),
        across_a=along(line.a),
        across_b=along(line.b),
        monomials=factors,
        log_far=make_log_far(),
    )


def log_gamma_sum(charge: NDArray[np.float32]) -> float:
    """Return the sum of ln Gamma(q + 1): the part of -ln L that no hypothesis changes."""
    return math.fsum(math.lgamma(float(q) + 1) for q in charge)
