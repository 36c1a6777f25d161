"""The ice that photons are propagated in: layers that are tilted, and anisotropic scattering.

The layers are those of the ice models in ``detector/ice.py``. What those tables leave out is added here:

- *Tilt*: that of `detector.ice`, followed along every photon's way.
- *Anisotropy*: that of `detector.ice`, at every scatter. Birefringence is left out.
- *The scattering function* is the ice model's own mixture of simplified Liu and Henyey-Greenstein.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.ice import (
    ANISOTROPY,
    FLOW_AZIMUTH,
    ORIGIN_DEPTH,
    TILT,
    TILT_AZIMUTH,
    TILT_LOWEST,
    TILT_PLACES,
    TILT_STEP,
    Ice,
)
from skymap_scanner.reconstruction.millipede.constants import C_ICE

Array = NDArray[np.float64]

#: Mean cosine of a scatter, and which share of scatters follows the simplified Liu function, by ice model: SPICE Mie
#: (arXiv:1301.5361); for the others, public configurations of ppc with anisotropy and of SPICE FTP v3m (cfg.txt).
SCATTERING_G = 0.9
LIU_SHARES = {"spice_mie": 0.45, "spice_lea": 0.41, "spice_ftp_v3m": 0.137}


class Scattering(NamedTuple):
    """How one scatter turns light.

    ``g``: mean cosine; ``liu``: share of simplified Liu scatters. ``along``, ``across``, ``up``: factors by which
    directions are stretched before a scatter, along the flow of the ice, across it and along the vertical; ``flow_x``,
    ``flow_y``: unit vector of the flow.
    """

    g: float
    liu: float
    along: float
    across: float
    up: float
    flow_x: float
    flow_y: float


class Medium(NamedTuple):
    """Ice as the propagation needs it.

    ``scatter``, ``absorb``: 1/m, of each layer, float64 (n,); the scattering is geometric, not effective. ``top`` is
    the depth of the first layer, ``thickness`` that of every one, m. ``tilt_x``, ``tilt_y``: unit vector along which
    layers are tilted, ``places`` (p,) along it and the layers' ``shift`` (p, heights), m, at heights from ``lowest`` on
    in steps of ``step``. ``origin`` is the depth of the detector frame's origin, m; ``speed`` that of light, m/ns.
    """

    scatter: Array
    absorb: Array
    top: float
    thickness: float
    scattering: Scattering
    tilt_x: float
    tilt_y: float
    places: Array
    shift: Array
    lowest: float
    step: float
    origin: float
    speed: float


def south_pole(ice: Ice) -> Medium:
    """Return the medium of an ice model, with tilt and anisotropy."""
    along, across, up = (math.exp(ice.anisotropy * kappa) for kappa in ANISOTROPY)
    flow = math.radians(FLOW_AZIMUTH)
    scattering = Scattering(SCATTERING_G, LIU_SHARES[ice.name], along, across, up, math.cos(flow), math.sin(flow))
    return _medium(ice, scattering, np.array(TILT))


def flat(ice: Ice, liu: float) -> Medium:
    """Return a medium without tilt and anisotropy, with the share ``liu`` of simplified Liu scatters."""
    return _medium(ice, Scattering(SCATTERING_G, liu, 1.0, 1.0, 1.0, 1.0, 0.0), np.zeros((len(TILT), len(TILT[0]))))


def _medium(ice: Ice, scattering: Scattering, shift: Array) -> Medium:
    axis = math.radians(TILT_AZIMUTH)
    return Medium(
        scatter=1 / (ice.effective_scattering_length * (1 - SCATTERING_G)),
        absorb=1 / ice.absorption_length,
        top=ice.depth_top,
        thickness=ice.thickness,
        scattering=scattering,
        tilt_x=math.cos(axis),
        tilt_y=math.sin(axis),
        places=np.array(TILT_PLACES),
        shift=shift,
        lowest=TILT_LOWEST,
        step=TILT_STEP,
        origin=ORIGIN_DEPTH,
        speed=C_ICE,
    )
