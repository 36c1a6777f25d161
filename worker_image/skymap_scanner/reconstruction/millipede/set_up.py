"""What all fits of one event share: time bins, tables, the far field."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from skymap_scanner.detector.ic86 import ic86
from skymap_scanner.detector.ice import Ice
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.i3 import I3EventHeader, Pulses
from skymap_scanner.reconstruction.millipede.bins import bin_event
from skymap_scanner.reconstruction.millipede.build_arrays import make_event_arrays, make_time_bins, trust_in
from skymap_scanner.reconstruction.millipede.fitter import MillipedeFitter
from skymap_scanner.reconstruction.millipede.interpolants import ANNEALED_SMEAR, LightTables, make_tables
from skymap_scanner.reconstruction.millipede.search import Clues, Surfaces
from skymap_scanner.reconstruction.millipede.survey import attain
from skymap_scanner.reconstruction.millipede.table import load

#: Least width of a time bin on the annealed surface, ns: light is smeared out over twice as much there.
ANNEALED_WIDTH = 100.0


def set_up(
    event: PreparedEvent,
    *,
    ice: Ice,
    photon_table: Path | None,
    light_range: float,
    bin_width: float,
    model_error: float,
    likelihood: str,
) -> MillipedeFitter:
    """Prepare the fits of an event; the arguments are those of `Millipede`, ``likelihood`` is its identity.

    Raises
    ------
    ReconstructionError
        When no charge is left to fit, or there is nothing to start from.
    """
    reference = float(event.vertex_time)
    data = bin_event(event, bin_width)
    tables, smeared = _tables(photon_table)
    arrays = make_event_arrays(data, event.geometry, ice, tables, light_range, model_error, reference)
    clues = Clues(data.clues[:, :3], data.clues[:, 3] - reference, data.clues[:, 4], data.centre)
    wide = bin_event(event, max(bin_width, ANNEALED_WIDTH)).binned
    bins = make_time_bins(wide, trust_in(wide, model_error), event.geometry.noise, reference)
    surfaces = Surfaces(arrays, arrays._replace(tables=smeared, bins=bins), clues)
    return MillipedeFitter(event, replace(surfaces, attained=attain(surfaces)), reference, likelihood)


@lru_cache(maxsize=2)
def _tables(path: Path | None) -> tuple[LightTables, LightTables]:
    """Resample a photon table, as it is and smeared out; the last are kept for the events to come."""
    table = load(path)
    return make_tables(table), make_tables(table, ANNEALED_SMEAR)


def least_event() -> PreparedEvent:
    """Return an event of three pulses: enough to run all that is compiled."""
    geometry = ic86()
    dom = np.flatnonzero(~geometry.dead)[1000:1003]
    return PreparedEvent(
        name="compile",
        header=I3EventHeader(),
        mjd=60_000.0,
        pulse_series="pulses",
        pulses=Pulses(
            string=geometry.string[dom],
            om=geometry.om[dom],
            pmt=np.zeros(3, np.uint8),
            time=np.array([10_000.0, 10_050.0, 10_100.0]),
            charge=np.ones(3, np.float32),
            width=np.full(3, 8.0, np.float32),
            flags=np.ones(3, np.uint8),
        ),
        window=(9_000.0, 12_000.0),
        errata={},
        late={},
        excluded=frozenset(),
        bright=frozenset(),
        vertex=geometry.position[dom[1]].copy(),
        vertex_time=10_000.0,
        geometry=geometry,
    )
