"""The reconstruction ``millipede``: its parameters and its identity.

Importing this does not load numba (0.3 s), which only the fits need.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from skymap_scanner.detector.ice import ice_model
from skymap_scanner.errors import InputError
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.reconstruction.millipede.bins import WIDTH
from skymap_scanner.reconstruction.millipede.layers import digest
from skymap_scanner.reconstruction.millipede.machine_code import code_digest, target
from skymap_scanner.reconstruction.millipede.table import load
from skymap_scanner.reconstruction.protocol import Start

if TYPE_CHECKING:
    from skymap_scanner.reconstruction.millipede.fitter import MillipedeFitter

#: Rises with every change of -ln L: results of different versions cannot be compared.
VERSION = 8


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
        Width of the time bins up to that of the direct light, ns; less: finer bins, slower.
    model_error
        Relative uncertainty of the light that is expected in one DOM; more for strong currents.

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
        model_error: float = 0.1,
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

    @property
    def likelihood(self) -> str:
        """The identity of -ln L: fits that differ in it cannot be compared.

        Raises InputError when the photon table cannot be read.
        """
        return (
            f"millipede {VERSION}, table {load(self._photon_table).digest}, ice {self._ice.name}, "
            f"layers {digest(self._ice.name)}, "
            f"light_range {self._light_range:g}, bin_width {self._bin_width:g}, model_error {self._model_error:g}"
        )

    @property
    def identity(self) -> str:
        """The likelihood and its machine code; raises InputError when the photon table cannot be read."""
        return f"{self.likelihood}, code {code_digest()} for {target()[0]}"

    def set_up(self, event: PreparedEvent) -> MillipedeFitter:
        """Prepare what all fits of this event share: time bins, tables, the far field.

        Raises
        ------
        ReconstructionError
            When no charge is left to fit, or there is nothing to start from.
        """
        from skymap_scanner.reconstruction.millipede.set_up import set_up  # noqa: PLC0415 - see the module's docstring

        return set_up(
            event,
            ice=self._ice,
            photon_table=self._photon_table,
            light_range=self._light_range,
            bin_width=self._bin_width,
            model_error=self._model_error,
            likelihood=self.likelihood,
        )

    def compile(self) -> None:
        """Fill the cache of compiled code, so that the first fit is as fast as the others."""
        from skymap_scanner.reconstruction.millipede.set_up import least_event  # noqa: PLC0415 - as above

        event = least_event()
        position = (float(event.vertex[0]), float(event.vertex[1]), float(event.vertex[2]))
        self.set_up(event).locate(Start(1.0, 1.0, position, event.vertex_time))
