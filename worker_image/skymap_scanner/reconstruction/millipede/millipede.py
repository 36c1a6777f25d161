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
from skymap_scanner.reconstruction.millipede.bins import WIDTH, bin_event
from skymap_scanner.reconstruction.millipede.build_arrays import make_event_arrays
from skymap_scanner.reconstruction.millipede.fitter import MillipedeFitter
from skymap_scanner.reconstruction.millipede.interpolants import ANNEALED_SMEAR, LightTables, make_tables
from skymap_scanner.reconstruction.millipede.search import Clues, Surfaces
from skymap_scanner.reconstruction.millipede.table import load
from skymap_scanner.reconstruction.protocol import Start

#: Rises with every change of -ln L: results of different versions cannot be compared.
VERSION = 3


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
    bin_width
        Width of the time bins up to the direct light, ns; less: finer bins, slower.
    model_error
        Relative uncertainty of the light that is expected in one DOM.

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
        light_range: float = 500.0,
        bin_width: float = WIDTH,
        model_error: float = 0.05,
    ) -> None:
        if not 100 <= light_range <= 1000:
            raise InputError(f"light_range {light_range}: choose from 100 to 1000 m")
        if not 5 <= bin_width <= 500:
            raise InputError(f"bin_width {bin_width}: choose from 5 to 500 ns")
        if not 0 <= model_error <= 1:
            raise InputError(f"model_error {model_error}: choose from 0 to 1")
        self._ice = ice_model(ice)
        self._photon_table = None if photon_table is None else Path(photon_table)
        self._light_range = float(light_range)
        self._bin_width = float(bin_width)
        self._model_error = float(model_error)

    def set_up(self, event: PreparedEvent) -> MillipedeFitter:
        """Prepare what all fits of this event share: time bins, tables, the far field.

        Raises
        ------
        ReconstructionError
            When no charge is left to fit, or there is nothing to start from.
        """
        reference = float(event.vertex_time)
        data = bin_event(event, self._bin_width)
        tables, smeared, digest = _tables(self._photon_table)
        identity = (
            f"millipede {VERSION}, table {digest}, ice {self._ice.name}, light_range {self._light_range:g}, "
            f"bin_width {self._bin_width:g}, model_error {self._model_error:g}"
        )
        arrays = make_event_arrays(
            data, event.geometry, self._ice, tables, self._light_range, self._model_error, reference
        )
        clues = Clues(data.clues[:, :3], data.clues[:, 3] - reference, data.clues[:, 4], data.centre)
        return MillipedeFitter(event, Surfaces(arrays, arrays._replace(tables=smeared), clues), reference, identity)

    def compile(self) -> None:
        """Fill the cache of compiled code, so that the first fit is as fast as the others."""
        event = _least_event()
        position = (float(event.vertex[0]), float(event.vertex[1]), float(event.vertex[2]))
        self.set_up(event).locate(Start(1.0, 1.0, position, event.vertex_time))


@lru_cache(maxsize=2)
def _tables(path: Path | None) -> tuple[LightTables, LightTables, str]:
    """Resample a photon table, as it is and smeared out, and name it; the last are kept for the events to come."""
    table = load(path)
    return make_tables(table), make_tables(table, ANNEALED_SMEAR), table.digest


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
        errata={},
        late={},
        excluded=frozenset(),
        bright=frozenset(),
        vertex=geometry.position[dom[1]].copy(),
        vertex_time=10_000.0,
        geometry=geometry,
    )
