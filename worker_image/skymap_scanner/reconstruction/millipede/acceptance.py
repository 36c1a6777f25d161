"""The DOM's angular acceptance for light that was scattered on its way.

The acceptance is a curve in cos eta of a photon's own direction, but the model of light knows only the line from the
source to the DOM. Photons arrive around this line, nearly evenly in azimuth. So of the curve's Legendre series,
sum a_l P_l(cos eta), a share m_l is left of each term when eta is that of the line: m_l = <P_l(cos theta)>, theta being
the angle between photon and line. Light never forgets its direction: as it is absorbed on the way, there is always more
of it coming from the source than going back, and m_1 tends to 1/3.

Light is also turned: before it scatters it goes along the shower's axis for a while, so what arrives seems to come from
a point ahead of the shower. Photons go along e - delta (n - cos psi e) on average, with n the axis and e the line to
the DOM (unit vectors), psi the angle between them, and

    delta = 0.39 x / (1 + 0.97 x^2),     x = d / le,

nearly whatever psi is. Far away, the point is 0.4 scattering lengths ahead: the mean cosine of the emission times the
length in which light forgets its direction.

The shares are cubics in e^(-d / le), fitted to a million photons in the ice of the photon table (as in `photon_mc`)
between 2 and 300 m, averaged over the angle at the source. They are right to 0.02, the turn to 0.01 rad.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.reconstruction.millipede.constants import ACCEPTANCE

#: Shares m_l for l = 0, 1, ..: coefficients of the powers of e^(-d / le), rising; each row adds up to 1.
SHARES = np.array(
    [
        [1.0, 0.0, 0.0, 0.0],
        [0.3341, 0.5752, 0.1576, -0.0669],
        [0.0759, 0.3634, 0.7249, -0.1642],
        [0.0158, 0.0773, 0.7977, 0.1092],
        [0.0038, 0.0102, 0.3151, 0.6709],
        [-0.0004, 0.0898, -0.3915, 1.3021],
    ]
)


def terms(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the coefficients (power of e^(-d / le), power of cos eta) of what is left of a curve.

    ``curve``: coefficients of the powers of cos eta, rising. Terms of its Legendre series beyond the order of `SHARES`
    are left out, since they are lost within few metres.
    """
    series = np.polynomial.legendre.poly2leg(curve)[: len(SHARES)]
    powers = np.zeros((SHARES.shape[1], len(SHARES)))
    for order, coefficient in enumerate(series):
        legendre = np.polynomial.legendre.leg2poly([*np.zeros(order), coefficient])
        powers[:, : order + 1] += SHARES[order][:, None] * legendre
    return powers


def scattered(
    curve: NDArray[np.float64], cos_eta: NDArray[np.float64], lengths: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the acceptance of light from ``lengths`` scattering lengths away, along the line of ``cos_eta``."""
    return np.asarray(np.polynomial.polynomial.polyval2d(np.exp(-lengths), cos_eta, terms(curve)))


#: The turn of the light: its slope where it begins, and how it saturates.
TURN, TURN_END = 0.39, 0.97


def turned(
    cos_eta: NDArray[np.float64],
    cos_psi: NDArray[np.float64],
    axis_z: NDArray[np.float64] | float,
    lengths: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return cos eta of the mean way of photons, ``lengths`` scattering lengths from a shower.

    ``cos_eta``, ``cos_psi``: of the line from the source to the vertical, and to the shower's axis, whose vertical
    component is ``axis_z``.
    """
    turn = TURN * lengths / (1 + TURN_END * lengths**2)
    return np.clip(cos_eta - turn * (axis_z - cos_psi * cos_eta), -1.0, 1.0)


#: What is left of the fit's curve.
TERMS = terms(np.array(ACCEPTANCE))
