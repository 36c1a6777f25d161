"""The reconstruction ``millipede``: its parameters, and its set-up for an event."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from skymap_scanner.detector.ic86 import ic86
from skymap_scanner.detector.ice import ice_model
from skymap_scanner.errors import InputError
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.i3 import I3EventHeader, Pulses
from skymap_scanner.reconstruction.millipede.bins import SIGMA, bin_event
from skymap_scanner.reconstruction.millipede.build_arrays import make_event_arrays
from skymap_scanner.reconstruction.millipede.fitter import MillipedeFitter
from skymap_scanner.reconstruction.millipede.interpolants import LightTables, make_tables
from skymap_scanner.reconstruction.millipede.search import Clues
from skymap_scanner.reconstruction.millipede.table import load
from skymap_scanner.reconstruction.protocol import EventFitter, Start


class Millipede:
    """Losses along a track of fixed direction, vertex and time fitted.

    Parameters
    ----------
    ice
        Name of the ice model, one of ``skymap_scanner.detector.ice.ICE_MODELS``.
    photon_table
        Path of a photon table to use instead of the one that comes with the package.
    light_range
        Light further from its source than this is neglected, m.
    bin_sigma
        Neighbouring time bins are merged unless they differ by so many standard deviations; fewer: finer bins, slower.

    Raises
    ------
    InputError
        When a parameter has no possible value, or the table cannot be read.
    """

    def __init__(
        self,
        *,
        ice: str = "spice_mie",
        photon_table: str | Path | None = None,
        light_range: float = 350.0,
        bin_sigma: float = SIGMA,
    ) -> None:
        if not 100 <= light_range <= 1000:
            raise InputError(f"light_range {light_range}: choose from 100 to 1000 m")
        if not 0 < bin_sigma <= 10:
            raise InputError(f"bin_sigma {bin_sigma}: choose a number above 0, up to 10")
        self._ice = ice_model(ice)
        self._photon_table = None if photon_table is None else Path(photon_table)
        self._light_range = float(light_range)
        self._bin_sigma = float(bin_sigma)

    def set_up(self, event: PreparedEvent) -> EventFitter:
        """Prepare what all fits of this event share: time bins, tables, the far field.

        Raises
        ------
        ReconstructionError
            When no charge is left to fit, or there is nothing to start from.
        """
        reference = float(event.vertex_time)
        data = bin_event(event, self._bin_sigma)
        arrays = make_event_arrays(
            data, event.geometry, self._ice, _tables(self._photon_table), self._light_range, reference
        )
        clues = Clues(data.clues[:, :3], data.clues[:, 3] - reference, data.clues[:, 4], data.centre)
        return MillipedeFitter(event, arrays, clues, reference)

    def compile(self) -> None:
        """Fill the cache of compiled code, so that the first fit is as fast as the others."""
        event = _least_event()
        position = (float(event.vertex[0]), float(event.vertex[1]), float(event.vertex[2]))
        self.set_up(event).fit(Start(1.0, 1.0, position, event.vertex_time))


@lru_cache(maxsize=2)
def _tables(path: Path | None) -> LightTables:
    """Load and resample a photon table; the last ones are kept, since workers set up event after event."""
    return make_tables(load(path))


def _least_event() -> PreparedEvent:
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
        late={},
        excluded=frozenset(),
        vertex=geometry.position[dom[1]].copy(),
        vertex_time=10_000.0,
        geometry=geometry,
    )
