"""Where a place is in the ice, and what the flow of the ice changes on a way: the kernels' formulas (single precision).

Layers are tilted. So the table of the layers is asked with the heights that source and DOM have *in the layers*, which
are those at the detector's axis. For the flow, see `anisotropy`.
"""

from __future__ import annotations

import math

import numpy as np

from skymap_scanner.detector.ice import FLOW_AZIMUTH, TILT, TILT_AZIMUTH, TILT_LOWEST, TILT_PLACES, TILT_STEP
from skymap_scanner.reconstruction.millipede.anisotropy import ACROSS, ALONG, DELAYED, FORGOTTEN
from skymap_scanner.reconstruction.millipede.compiled import inlined
from skymap_scanner.reconstruction.millipede.light import ONE, THREE, TWO, ZERO, F

_ACROSS, _ALONG, FORGET, DELAY = F(ACROSS), F(ALONG), F(FORGOTTEN), F(DELAYED)
#: Unit vectors along the tilt and along the flow.
TILT_X, TILT_Y = (F(f(math.radians(TILT_AZIMUTH))) for f in (math.cos, math.sin))
FLOW_X, FLOW_Y = (F(f(math.radians(FLOW_AZIMUTH))) for f in (math.cos, math.sin))
_SHIFT = np.array(TILT, np.float32)
_PLACES = np.array(TILT_PLACES, np.float32)
_LOWEST, _DENSITY = F(TILT_LOWEST), F(1 / TILT_STEP)


@inlined
def layer_at(x: np.float32, y: np.float32, z: np.float32) -> tuple[np.float32, np.float32, np.float32]:
    """Return the height of the layer at a place (m), and how it grows along the tilt and upwards.

    That is `detector.ice.layer_height`, in single precision.
    """
    place = x * TILT_X + y * TILT_Y
    j = 0
    for k in range(1, _PLACES.size - 1):
        j += int(place >= _PLACES[k])
    across = ONE / (_PLACES[j + 1] - _PLACES[j])
    f = (place - _PLACES[j]) * across
    u = (z - _LOWEST) * _DENSITY
    last = _SHIFT.shape[1] - 2
    i = int(min(max(np.floor(u), ZERO), F(last)))
    g = u - F(i)
    inside_f, inside_g = ZERO <= f <= ONE, ZERO <= g <= ONE
    f, g = min(max(f, ZERO), ONE), min(max(g, ZERO), ONE)
    low = _SHIFT[j, i] + g * (_SHIFT[j, i + 1] - _SHIFT[j, i])
    high = _SHIFT[j + 1, i] + g * (_SHIFT[j + 1, i + 1] - _SHIFT[j + 1, i])
    rise_low, rise_high = _SHIFT[j, i + 1] - _SHIFT[j, i], _SHIFT[j + 1, i + 1] - _SHIFT[j + 1, i]
    lean = -(high - low) * across if inside_f else ZERO
    rise = ONE - (rise_low + f * (rise_high - rise_low)) * _DENSITY if inside_g else ONE
    return z - (low + f * (high - low)), lean, rise


@inlined
def kappa_of(cos_flow: np.float32, strength: np.float32) -> np.float32:
    """Return by how much less far light gets in a direction, relative to all directions."""
    value: np.float32 = strength * (_ACROSS + _ALONG * cos_flow * cos_flow)
    return value


@inlined
def kappa_slope(cos_flow: np.float32, strength: np.float32) -> np.float32:
    """Return the derivative of `kappa_of`."""
    return strength * TWO * _ALONG * cos_flow


@inlined
def way(distance: np.float32, scatter: np.float32, absorb: np.float32) -> np.float32:
    """Return how often kappa is lost in ln(charge) over a distance (m) in ice of these rates (1/m)."""
    lengths = distance * scatter
    value: np.float32 = distance * np.sqrt(THREE * absorb * scatter) + lengths / (lengths + FORGET)
    return value


@inlined
def delayed(scatter: np.float32, kappa: np.float32) -> np.float32:
    """Return the scattering rate (1/m) that sets the delays."""
    return scatter * (ONE + DELAY * kappa)
