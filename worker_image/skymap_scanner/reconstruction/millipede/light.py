"""How much light a cascade gives a DOM, and when: the scalar formulas that every kernel shares (single precision).

The callers' loops vectorise because these functions are inlined and hold no branch: only arithmetic, a square root and
table look-ups (docs/explanation/likelihood.md gives the equations).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.reconstruction.millipede.acceptance import TERMS, TURN, TURN_END
from skymap_scanner.reconstruction.millipede.compiled import inlined
from skymap_scanner.reconstruction.millipede.constants import TABLE_SCATTERING
from skymap_scanner.reconstruction.millipede.interpolants import (
    KNEE_LENGTH,
    KNEE_RATE,
    KNEE_SHORT,
    N_LENGTH,
    N_RADIUS,
    N_TIME,
    N_TIME_ANGLE,
    N_TIME_RADIUS,
    ROOT_MIN,
    ROOT_STEP,
    TIME_ROOT_STEP,
)
from skymap_scanner.reconstruction.millipede.layers import N_COSINE, N_DISTANCE, N_NUMBER
from skymap_scanner.reconstruction.millipede.layers import ROOT_STEP as LAYER_ROOT_STEP

F = np.float32
ZERO, ONE, TWO, THREE = F(0), F(1), F(2), F(3)
#: No DOM is nearer than this, m.
NEAREST = F(1)
#: Light falls to 0 over so many metres before the longest way that counts, m.
TAPER = 50.0
_TAPER_DENSITY = F(1 / TAPER)
_LENGTH = F(TABLE_SCATTERING)
_ROOT_MIN, _ROOT_DENSITY, _ROOT_LAST = F(ROOT_MIN), F(1 / ROOT_STEP), F(N_RADIUS - 1.001)
_TIME_ROOT_DENSITY, _TIME_ROOT_LAST = F(1 / TIME_ROOT_STEP), F(N_TIME_RADIUS - 1.001)
_TIME_SCALE, _TIME_LAST = F(N_TIME - 1), F(N_TIME - 1.001)
_KNEE_SHORT, _KNEE_RATE, _KNEE_LENGTH = F(KNEE_SHORT), F(KNEE_RATE), F(KNEE_LENGTH)
_TIMES, _TIME_RADII, _TIME_ANGLES = F(N_TIME), F(N_TIME_RADIUS), F(N_TIME_ANGLE)
_TIME_ANGLE_LAST = F(N_TIME_ANGLE - 1.001)
# Steps in the flat table of arrival times: to the next node of time, angle, radius, and of the last two.
_NEXT, _NEXT_ANGLE, _NEXT_RADIUS = np.int32(1), np.int32(N_TIME), np.int32(N_TIME * N_TIME_ANGLE)
_NEXT_BOTH = np.int32(N_TIME * (N_TIME_ANGLE + 1))
# Places in the table of the layers.
_LAYER_ROOT_DENSITY, _LAYER_ROOT_LAST = F(1 / LAYER_ROOT_STEP), F(N_DISTANCE - 1.001)
_LAYER_COSINE_DENSITY, _LAYER_COSINE_LAST = F((N_COSINE - 1) / 2), F(N_COSINE - 1.001)
_LAYER_DISTANCES, _LAYER_NUMBERS = F(N_DISTANCE), np.int32(N_NUMBER)
_NEXT_COSINE = np.int32(N_DISTANCE * N_NUMBER)
# Which number of the layers is what.
SCATTER, ABSORB, BY_AXIS, BY_PSI, SOONER, WIDER = (np.int32(n) for n in range(N_NUMBER))
_LONGEST = F(N_LENGTH - 1)
_PAIR = F(1.001)  # an index of a pair of nodes ends this much below their number
# The angular acceptance: a polynomial in cos eta for each power of e^(-d / le).
(
    (_A00, _A01, _A02, _A03, _A04, _A05),
    (_A10, _A11, _A12, _A13, _A14, _A15),
    (_A20, _A21, _A22, _A23, _A24, _A25),
    (_A30, _A31, _A32, _A33, _A34, _A35),
) = ((F(a) for a in row) for row in TERMS)
_FOUR, _FIVE = F(4), F(5)
_TURN, _TURN_END = F(TURN), F(TURN_END)
_MANTISSA, _BIAS, _LEAST_EXPONENT = F(2**23), F(127), F(-126)
_LOG2_E = F(1.4426950408889634)
# 2^f over f in [0, 1): the polynomial of least relative error (1.4e-7) that is right at both ends
_E1, _E2, _E3, _E4, _E5 = F(0.69315058), F(0.24016582), F(0.05580924), F(0.00899295), F(0.00188141)


@inlined
def exponential(x: np.float32) -> np.float32:
    """Return e^x for x in (-87, 87), to single precision: a polynomial and the bits of the exponent."""
    y = x * _LOG2_E
    y = max(_LEAST_EXPONENT, y)
    whole = np.floor(y)
    f = y - whole
    power: np.float32 = np.int32((whole + _BIAS) * _MANTISSA).view(np.float32)
    value: np.float32 = power * (ONE + f * (_E1 + f * (_E2 + f * (_E3 + f * (_E4 + f * _E5)))))
    return value


@inlined
def layer_place(distance: np.float32, cos_eta: np.float32, column: np.int32) -> tuple[np.int32, np.float32, np.float32]:
    """Return where the numbers of the ice between a source and a DOM are: index, fractions of distance and angle."""
    u = np.sqrt(distance) * _LAYER_ROOT_DENSITY
    u = min(_LAYER_ROOT_LAST, u)
    i = np.floor(u)
    v = (cos_eta + ONE) * _LAYER_COSINE_DENSITY
    v = max(ZERO, v)
    v = min(_LAYER_COSINE_LAST, v)
    j = np.floor(v)
    return column + np.int32(j * _LAYER_DISTANCES + i) * _LAYER_NUMBERS, u - i, v - j


@inlined
def layer_number(k: np.int32, radial: np.float32, angular: np.float32, layers: NDArray[np.float32]) -> np.float32:
    """Return the number at an index of the layers (its place plus SCATTER, ..), between the nodes."""
    n = k + _NEXT_COSINE
    near = layers[k] + radial * (layers[k + _LAYER_NUMBERS] - layers[k])
    far = layers[n] + radial * (layers[n + _LAYER_NUMBERS] - layers[n])
    number: np.float32 = near + angular * (far - near)
    return number


@inlined
def acceptance(cos_eta: np.float32, distance: np.float32, scatter: np.float32) -> np.float32:
    """Return the DOM's angular acceptance for light that was scattered on its way."""
    x, e = cos_eta, exponential(-distance * scatter)
    a0 = _A00 + x * (_A01 + x * (_A02 + x * (_A03 + x * (_A04 + x * _A05))))
    a1 = _A10 + x * (_A11 + x * (_A12 + x * (_A13 + x * (_A14 + x * _A15))))
    a2 = _A20 + x * (_A21 + x * (_A22 + x * (_A23 + x * (_A24 + x * _A25))))
    a3 = _A30 + x * (_A31 + x * (_A32 + x * (_A33 + x * (_A34 + x * _A35))))
    return a0 + e * (a1 + e * (a2 + e * a3))


@inlined
def acceptance_slope(cos_eta: np.float32, distance: np.float32, scatter: np.float32) -> np.float32:
    """Return the derivative of `acceptance` in cos eta."""
    x, e = cos_eta, exponential(-distance * scatter)
    a0 = _A01 + x * (TWO * _A02 + x * (THREE * _A03 + x * (_FOUR * _A04 + x * _FIVE * _A05)))
    a1 = _A11 + x * (TWO * _A12 + x * (THREE * _A13 + x * (_FOUR * _A14 + x * _FIVE * _A15)))
    a2 = _A21 + x * (TWO * _A22 + x * (THREE * _A23 + x * (_FOUR * _A24 + x * _FIVE * _A25)))
    a3 = _A31 + x * (TWO * _A32 + x * (THREE * _A33 + x * (_FOUR * _A34 + x * _FIVE * _A35)))
    return a0 + e * (a1 + e * (a2 + e * a3))


@inlined
def turn_of(lengths: np.float32) -> np.float32:
    """Return by how much photons are turned after so many scattering lengths: `acceptance.turned`."""
    return _TURN * lengths / (ONE + _TURN_END * lengths * lengths)


@inlined
def turned(cos_eta: np.float32, cos_psi: np.float32, axis_z: np.float32, lengths: np.float32) -> np.float32:
    """Return cos eta of the mean way of photons: `acceptance.turned`."""
    x = cos_eta - turn_of(lengths) * (axis_z - cos_psi * cos_eta)
    x = max(-ONE, x)
    return min(ONE, x)


@inlined
def taper(distance: np.float32, reach: np.float32) -> np.float32:
    """Return 1, falling smoothly to 0 over the last `TAPER` m before ``reach``."""
    u = (reach - distance) * _TAPER_DENSITY
    u = max(ZERO, u)
    u = min(ONE, u)
    return u * u * (THREE - TWO * u)


@inlined
def expected_charge(
    distance: np.float32,
    cos_psi: np.float32,
    cos_eta: np.float32,
    axis_z: np.float32,
    scatter: np.float32,
    absorb: np.float32,
    more: np.float32,
    log_fluence: NDArray[np.float32],
    angles: np.float32,
    angle_first: np.float32,
    angle_density: np.float32,
    reference_decay: np.float32,
) -> np.float32:
    """Return fluence times angular acceptance, 1/m2 per photon, at ``distance`` m from a cascade.

    ``cos_psi``: between the cascade's axis and the line to the DOM; ``cos_eta``: between that line and the vertical;
    ``axis_z``: vertical component of the axis; ``scatter``, ``absorb``: effective rates on the way, 1/m;
    ``more``: what the direction adds in layers, to the logarithm.
    """
    scale = _LENGTH * scatter
    u = (np.sqrt(distance * scale) - _ROOT_MIN) * _ROOT_DENSITY
    u = max(ZERO, u)
    u = min(_ROOT_LAST, u)
    i = np.floor(u)
    f = u - i
    v = (cos_psi - angle_first) * angle_density
    w = max(ZERO, v)
    last = angles - _PAIR
    w = min(last, w)
    j = np.floor(w)
    g = v - j  # beyond the outermost angles the straight line goes on
    k = np.int32(i * angles + j)
    n = np.int32(angles)
    near = log_fluence[k] + g * (log_fluence[k + np.int32(1)] - log_fluence[k])
    far = log_fluence[k + n] + g * (log_fluence[k + n + np.int32(1)] - log_fluence[k + n])
    seen = turned(cos_eta, cos_psi, axis_z, distance * scatter)
    exponent = more + near + f * (far - near) - distance * (np.sqrt(THREE * absorb * scatter) - reference_decay * scale)
    return exponential(exponent) * scale * scale * acceptance(seen, distance, scatter)


@inlined
def arrival_place(
    distance: np.float32,
    cos_psi: np.float32,
    scatter: np.float32,
    class_of: NDArray[np.int32],
    angle_first: np.float32,
    angle_density: np.float32,
) -> tuple[np.int32, np.int32, np.float32, np.float32, np.float32]:
    """Return where the arrival times of a source-DOM pair are tabulated.

    That is: class, index of the first node, the fractions between nodes of radius and of angle, and the knee (scaled
    ns).
    """
    length = ONE / scatter
    length = min(_LONGEST, length)
    kind = class_of[np.int32(length)]
    r = distance * _LENGTH * scatter
    u = (np.sqrt(r) - _ROOT_MIN) * _TIME_ROOT_DENSITY
    u = max(ZERO, u)
    u = min(_TIME_ROOT_LAST, u)
    i = np.floor(u)
    v = (cos_psi - angle_first) * angle_density
    v = max(ZERO, v)
    v = min(_TIME_ANGLE_LAST, v)
    j = np.floor(v)
    index = np.int32(((F(kind) * _TIME_RADII + i) * _TIME_ANGLES + j) * _TIMES)
    return kind, index, u - i, v - j, _KNEE_SHORT + _KNEE_RATE * r * r / (r + _KNEE_LENGTH)


@inlined
def arrived(
    time: np.float32,
    knee: np.float32,
    index: np.int32,
    radial: np.float32,
    angular: np.float32,
    arrival: NDArray[np.float32],
) -> np.float32:
    """Return the share of the light that has come by the scaled ``time`` after the first node, at its place."""
    t = max(ZERO, time)
    w = t / (t + knee) * _TIME_SCALE
    w = min(_TIME_LAST, w)
    node = np.floor(w)
    f = w - node
    k = index + np.int32(node)
    k1, k2, k3 = k + _NEXT_ANGLE, k + _NEXT_RADIUS, k + _NEXT_BOTH
    a = arrival[k] + f * (arrival[k + _NEXT] - arrival[k])
    b = arrival[k1] + f * (arrival[k1 + _NEXT] - arrival[k1])
    c = arrival[k2] + f * (arrival[k2 + _NEXT] - arrival[k2])
    d = arrival[k3] + f * (arrival[k3 + _NEXT] - arrival[k3])
    near = a + angular * (b - a)
    far = c + angular * (d - c)
    share: np.float32 = near + radial * (far - near)
    return share


@inlined
def shaped(share: np.float32, sooner: np.float32, wider: np.float32) -> np.float32:
    """Return the share of the light that has come in layered ice, from that of the photon table."""
    later = ONE - share
    return share + share * later * (sooner + wider * (later - share))
