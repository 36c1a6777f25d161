"""Derivatives of the formulas in `light`, for one pair of a source and a DOM."""

from __future__ import annotations

import numpy as np

from skymap_scanner.reconstruction.millipede.acceptance import TERMS, TURN, TURN_END
from skymap_scanner.reconstruction.millipede.arrays import EventArrays, Single
from skymap_scanner.reconstruction.millipede.compiled import inlined
from skymap_scanner.reconstruction.millipede.constants import TABLE_SCATTERING
from skymap_scanner.reconstruction.millipede.directions import (
    DELAY,
    FORGET,
    delayed,
    kappa_of,
    kappa_slope,
    way,
)
from skymap_scanner.reconstruction.millipede.interpolants import (
    KNEE_LENGTH,
    KNEE_RATE,
    N_TIME,
    N_TIME_ANGLE,
    ROOT_MIN,
    ROOT_STEP,
    TIME_ROOT_STEP,
    LightTables,
)
from skymap_scanner.reconstruction.millipede.layers import FARTHEST, N_COSINE, N_DISTANCE, N_NUMBER
from skymap_scanner.reconstruction.millipede.layers import ROOT_STEP as LAYER_ROOT_STEP
from skymap_scanner.reconstruction.millipede.light import (
    ABSORB,
    BY_AXIS,
    BY_PSI,
    ONE,
    SCATTER,
    TAPER,
    THREE,
    TWO,
    ZERO,
    F,
    exponential,
    shaped,
    taper,
    turned,
)

_LENGTH = F(TABLE_SCATTERING)
_HALF, _THREE_HALVES = F(0.5), F(1.5)
_LAST_TIME = F(N_TIME - 1.001)
_NEXT_ANGLE, _NEXT_RADIUS = N_TIME, N_TIME * N_TIME_ANGLE
_TERMS = TERMS.astype(np.float32)


@inlined
def charge_slopes(
    d: np.float32,
    cos_psi: np.float32,
    cos_eta: np.float32,
    cos_layers: np.float32,
    cos_flow: np.float32,
    axis_z: np.float32,
    at: np.int32,
    by_root: np.float32,
    by_cosine: np.float32,
    reach: np.float32,
    event: EventArrays,
) -> tuple[tuple[np.float32, np.float32, np.float32], tuple[np.float32, ...]]:
    """Return the derivatives of the scattering rate that sets the delays, and of ln(charge), for a source and a DOM.

    The rate's in the distance, in the height of the source in the layers, and in its place along the flow; those of
    ln(charge) in the same, in cos psi, in the axis' vertical component, and in the source's z. ``cos_layers``,
    ``cos_flow``: differences in height and along the flow, over the distance. ``at``, ``by_root`` and ``by_cosine``:
    `light.layer_place`.
    """
    tables, inverse = event.tables, ONE / d
    b, b_d, b_h = layer_slopes(at + SCATTER, by_root, by_cosine, d, cos_layers, event.layers)
    a, a_d, a_h = layer_slopes(at + ABSORB, by_root, by_cosine, d, cos_layers, event.layers)
    by_axis, by_axis_d, by_axis_h = layer_slopes(at + BY_AXIS, by_root, by_cosine, d, cos_layers, event.layers)
    by_psi, by_psi_d, by_psi_h = layer_slopes(at + BY_PSI, by_root, by_cosine, d, cos_layers, event.layers)
    kappa = kappa_of(cos_flow, event.anisotropy)
    # the source's place along the flow changes the cosine by -1/d for each metre
    kappa_w = -kappa_slope(cos_flow, event.anisotropy) * inverse
    kappa_d = kappa_w * cos_flow
    scale = _LENGTH * b
    by_scaled, by_cos = fluence_slopes(d * scale, cos_psi, event)
    root, reference = np.sqrt(THREE * a * b), tables.reference_decay * _LENGTH
    seen_by_cos, seen_by_psi, seen_by_axis, seen_by_lengths = acceptance_slopes(cos_eta, cos_psi, axis_z, d * b)
    root_d, root_h = _THREE_HALVES * (a * b_d + b * a_d) / root, _THREE_HALVES * (a * b_h + b * a_h) / root
    far = way(d, b, a)
    forgotten = forgotten_slope(d * b)
    far_d, far_h = root + d * root_d + forgotten * (b + d * b_d), d * (root_h + forgotten * b_h)
    log_d = (
        by_scaled * (scale + d * _LENGTH * b_d)
        - (root - reference * b)
        - d * (root_d - reference * b_d)
        + TWO * b_d / b
        + seen_by_lengths * (b + d * b_d)
        - seen_by_cos * cos_eta * inverse
        + by_axis_d * axis_z
        + by_psi_d * cos_psi
        - kappa_d * far
        - kappa * far_d
        + fade_slope(d, reach) / max(taper(d, reach), F(1e-12))
    )
    log_h = (
        by_scaled * d * _LENGTH * b_h
        - d * (root_h - reference * b_h)
        + TWO * b_h / b
        + seen_by_lengths * d * b_h
        + by_axis_h * axis_z
        + by_psi_h * cos_psi
        - kappa * far_h
    )
    slower = delayed(ONE, kappa)
    return (
        (b_d * slower + b * DELAY * kappa_d, b_h * slower, b * DELAY * kappa_w),
        (log_d, log_h, -kappa_w * far, by_cos + seen_by_psi + by_psi, seen_by_axis + by_axis, -seen_by_cos * inverse),
    )


@inlined
def acceptance_slopes(
    cos_eta: np.float32, cos_psi: np.float32, axis_z: np.float32, lengths: np.float32
) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Return the derivatives of ln `light.acceptance` of turned light.

    In cos eta, in cos psi, in the axis' vertical component, and in the number of scattering lengths.
    """
    x, e = turned(cos_eta, cos_psi, axis_z, lengths), exponential(-lengths)
    end = ONE / (ONE + F(TURN_END) * lengths * lengths)
    turn, across = F(TURN) * lengths * end, axis_z - cos_psi * cos_eta
    turn_by_lengths = F(TURN) * end * (TWO * end - ONE)
    value, by_x, by_e = ZERO, ZERO, ZERO
    for k in range(_TERMS.shape[0] - 1, -1, -1):
        term, slope = ZERO, ZERO
        for i in range(_TERMS.shape[1] - 1, -1, -1):
            slope = slope * x + term
            term = term * x + _TERMS[k, i]
        by_e = by_e * e + value
        value = value * e + term
        by_x = by_x * e + slope
    by_x /= value
    return (
        by_x * (ONE + turn * cos_psi),
        by_x * turn * cos_eta,
        -by_x * turn,
        -by_e * e / value - by_x * turn_by_lengths * across,
    )


@inlined
def forgotten_slope(lengths: np.float32) -> np.float32:
    """Return the derivative of the last term of `directions.way` in the number of scattering lengths."""
    return FORGET / ((lengths + FORGET) * (lengths + FORGET))


@inlined
def layer_slopes(
    k: np.int32, radial: np.float32, angular: np.float32, distance: np.float32, cosine: np.float32, layers: Single
) -> tuple[np.float32, np.float32, np.float32]:
    """Return a number of the layers, and its derivatives in the distance (at fixed heights) and the source's height."""
    n = k + N_DISTANCE * N_NUMBER
    inner, outer = layers[k + N_NUMBER] - layers[k], layers[n + N_NUMBER] - layers[n]
    near, far = layers[k] + radial * inner, layers[n] + radial * outer
    # tilted layers may be farther apart in height than the places are; the table ends there
    inside = -ONE < cosine < ONE
    by_cosine = (far - near) * F((N_COSINE - 1) / 2) / distance if inside else ZERO
    by_root = (inner + angular * (outer - inner)) * F(1 / LAYER_ROOT_STEP)
    by_root = by_root if distance < F(FARTHEST) else ZERO
    return near + angular * (far - near), _HALF * by_root / np.sqrt(distance) - by_cosine * cosine, -by_cosine


@inlined
def fade_slope(distance: np.float32, reach: np.float32) -> np.float32:
    """Return the derivative of `light.taper` in the distance."""
    u = (reach - distance) * F(1 / TAPER)
    u = min(max(u, ZERO), ONE)
    return -F(6 / TAPER) * u * (ONE - u)


@inlined
def fluence_slopes(r: np.float32, cos_psi: np.float32, event: EventArrays) -> tuple[np.float32, np.float32]:
    """Return the derivatives of ln fluence in the scaled distance and in cos psi."""
    tables = event.tables
    root = np.sqrt(r)
    u = (root - F(ROOT_MIN)) * F(1 / ROOT_STEP)
    last = F(tables.log_fluence.size) / tables.angles - F(1.001)
    inside = u > ZERO and u < last
    u = min(max(u, ZERO), last)
    i = np.floor(u)
    f = u - i
    v = (cos_psi - tables.angle_first) * tables.angle_density
    j = np.floor(min(max(v, ZERO), tables.angles - F(1.001)))
    g = v - j
    k, n = int(i * tables.angles + j), int(tables.angles)
    table = tables.log_fluence
    near = table[k] + g * (table[k + 1] - table[k])
    far = table[k + n] + g * (table[k + n + 1] - table[k + n])
    by_radius = (far - near) * F(1 / ROOT_STEP) * _HALF / root if inside else ZERO
    by_angle = (table[k + 1] - table[k]) * (ONE - f) + (table[k + n + 1] - table[k + n]) * f
    return by_radius, by_angle * tables.angle_density


@inlined
def arrival_slopes(
    place: int,
    radial: np.float32,
    angular: np.float32,
    t: np.float32,
    knee: np.float32,
    r: np.float32,
    tables: LightTables,
) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Return the share of the light that has come, and its derivatives in scaled distance, cos psi and scaled time.

    ``place``, ``radial``, ``angular`` and ``knee``: `light.arrival_place`; ``t``: scaled time; ``r``: scaled distance.
    """
    arrival, inverse = tables.arrival, ONE / (t + knee)
    w = t * inverse * F(N_TIME - 1)
    moving = t > ZERO and w < _LAST_TIME
    w = min(w, _LAST_TIME)
    node = np.floor(w)
    f = w - node
    p = place + int(node)
    p1, p2, p3 = p + _NEXT_ANGLE, p + _NEXT_RADIUS, p + _NEXT_ANGLE + _NEXT_RADIUS
    s0, s1 = arrival[p + 1] - arrival[p], arrival[p1 + 1] - arrival[p1]
    s2, s3 = arrival[p2 + 1] - arrival[p2], arrival[p3 + 1] - arrival[p3]
    v0, v1, v2, v3 = arrival[p] + f * s0, arrival[p1] + f * s1, arrival[p2] + f * s2, arrival[p3] + f * s3
    near, far = v0 + angular * (v1 - v0), v2 + angular * (v3 - v2)
    by_cos = ((v1 - v0) + radial * ((v3 - v2) - (v1 - v0))) * tables.time_angle_density
    slope_near = s0 + angular * (s1 - s0)
    by_w = slope_near + radial * (s2 + angular * (s3 - s2) - slope_near)
    w_t = F(N_TIME - 1) * knee * inverse * inverse if moving else ZERO
    w_knee = -F(N_TIME - 1) * t * inverse * inverse if moving else ZERO
    knee_r = F(KNEE_RATE) * r * (r + TWO * F(KNEE_LENGTH)) / ((r + F(KNEE_LENGTH)) * (r + F(KNEE_LENGTH)))
    by_r = (far - near) * _HALF / (np.sqrt(r) * F(TIME_ROOT_STEP)) + by_w * w_knee * knee_r
    return near + radial * (far - near), by_r, by_cos, by_w * w_t


@inlined
def shape_slopes(
    share: np.float32, sooner: np.float32, wider: np.float32
) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Return `light.shaped`, and its derivatives in ``share``, ``sooner`` and ``wider``."""
    both, more = share * (ONE - share), ONE - TWO * share
    gain = ONE + sooner * more + wider * (ONE - F(6) * both)
    return shaped(share, sooner, wider), gain, both, both * more
