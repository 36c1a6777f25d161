"""Simulate an event: draw missing parameters, then energy losses, light, and the readout of the detector."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.coordinates import equatorial_to_detector, travel_direction
from skymap_scanner.detector.geometry import Geometry
from skymap_scanner.detector.ic86 import ic86
from skymap_scanner.detector.ice import ice_model
from skymap_scanner.errors import InputError
from skymap_scanner.event.model import Event, Topology
from skymap_scanner.i3 import I3RecoPulseSeriesMap
from skymap_scanner.reconstruction.millipede.segments import InstrumentedVolume, span_in_cube
from skymap_scanner.simulation.medium import south_pole
from skymap_scanner.simulation.photoelectrons import draw_photoelectrons
from skymap_scanner.simulation.pmt import amplify
from skymap_scanner.simulation.propagated_light import draw_propagated
from skymap_scanner.simulation.propagation import Sources
from skymap_scanner.simulation.readout import (
    READOUT,
    TRIGGER_DOMS,
    Hits,
    draw_charges,
    draw_noise,
    find_trigger,
    in_coincidence,
    merge,
    pulse_map,
)
from skymap_scanner.simulation.showers import MAX_MUONS, Showers, bundle_showers, cascade_showers, electron_shower
from skymap_scanner.simulation.simulated_frames import event_header, simulated_event
from skymap_scanner.simulation.truth import Light, Truth
from skymap_scanner.simulation.variation import NOMINAL, Variation

#: Default time of simulated events: 2024-01-01 (UTC).
DEFAULT_MJD = 60310.0
#: A muon is followed inside the cube |x|, |y|, |z| <= this, m: light from farther away does not reach a DOM.
HALF_CUBE = 800.0
#: Time of the trigger's first hit, ns after the event's time 0, as in IceCube's events.
TRIGGER_TIME = 10_000.0
#: Maximum energy, GeV.
MAX_ENERGY = 1e9
#: Event numbers have 32 bits.
MAX_SEED = 2**32 - 1


class _Draws(NamedTuple):
    """Independent streams of random numbers, so that a given direction does not change what else is drawn."""

    direction: np.random.Generator
    vertex: np.random.Generator
    losses: np.random.Generator
    light: np.random.Generator
    electronics: np.random.Generator
    noise: np.random.Generator
    photomultiplier: np.random.Generator


def simulate(
    topology: Topology,
    *,
    ra: float | None = None,
    dec: float | None = None,
    energy: float,
    seed: int,
    vertex: tuple[float, float, float] | None = None,
    ice: str = "spice_mie",
    mjd: float = DEFAULT_MJD,
    variation: Variation = NOMINAL,
    light: Light = "table",
    muons: int = 1,
) -> Event:
    """Make an event with a known direction; equal arguments give equal frames (see ``docs/explanation/simulation.md``).

    Parameters
    ----------
    topology
        ``track``: a muon that crosses the detector; ``cascade``: one shower.
    ra, dec
        Where it comes from, degrees (ICRS); None: drawn, evenly over the sky.
    energy
        GeV. A cascade's visible energy; a muon's where it enters the cube of +-800 m around the detector.
    seed
        From 0 to 2^32 - 1; also the number of the event.
    vertex
        Where the cascade is, or a point on the muon's line; metres, detector frame. None: drawn, evenly in the
        instrumented volume.
    ice
        Name of the ice model.
    mjd
        Time of the event (UTC, days).
    variation
        How the physics of light differs from that of the ice model and the fit.
    light
        ``table``: from the photon table of the fit; ``propagated``: from photons that are followed one by one, with a
        cascade's hadrons, the length of showers, tilted and anisotropic ice, and the photomultiplier's late pulses,
        afterpulses and saturation.
    muons
        How many muons share the energy of a track, with ``light`` ``propagated``.

    Raises
    ------
    InputError
        For an impossible argument, or an event that would not have triggered the detector.
    """
    _check(topology, ra, dec, energy, seed, vertex)
    _check_light(topology, light, muons)
    draws = _draws(seed)
    geometry = ic86()
    if ra is None or dec is None:
        ra = 360 * draws.direction.random()  # evenly over the sky
        dec = math.degrees(math.asin(2 * draws.direction.random() - 1))
    if vertex is None:
        vertex = _draw_vertex(draws.vertex, geometry)
    zenith, azimuth = (float(angle) for angle in equatorial_to_detector(math.radians(ra), math.radians(dec), mjd))
    along = travel_direction(zenith, azimuth)
    showers = _draw_showers(draws.losses, topology, energy, np.array(vertex), along, light, muons)
    # The particle is at the vertex at 0 ns, until the trigger sets the time.
    truth = Truth(topology, ra, dec, zenith, azimuth, energy, vertex, 0.0, showers.losses, ice, variation, light, muons)
    return _observe(draws, truth, showers, geometry, seed, mjd)


def resimulate(truth: Truth, seed: int, geometry: Geometry, mjd: float) -> Event:
    """Make an event with the losses of ``truth``, in its ice and variation; equal arguments give equal frames.

    Its light is that of the photon table, its time is set by the trigger; ``mjd`` is the time of the event (UTC, days).
    Raises InputError for an event that would not have triggered the detector, or with more light than is simulated.
    """
    count = len(truth.losses.s)
    points = Showers(truth.losses, np.zeros(count, bool), np.zeros((count, 2)))
    return _observe(_draws(seed), replace(truth, time=0.0, light="table"), points, geometry, seed, mjd)


def _draws(seed: int) -> _Draws:
    return _Draws(*map(np.random.default_rng, np.random.SeedSequence(seed).spawn(7)))


def _observe(draws: _Draws, truth: Truth, showers: Showers, geometry: Geometry, seed: int, mjd: float) -> Event:
    """Draw the light of a particle that is at its vertex at 0 ns, and read the detector out."""
    sources = showers.sources(np.array(truth.vertex), travel_direction(truth.zenith, truth.azimuth))
    pulses, fired = _detect(draws, truth, sources, geometry)
    hlc = in_coincidence(fired, geometry)
    trigger = find_trigger(fired, hlc)
    if isinstance(trigger, int):
        raise _untriggered(truth, trigger)
    truth = replace(truth, time=TRIGGER_TIME - trigger[0])
    window, records = _read_out(pulses, hlc, trigger, geometry)
    return simulated_event(event_header(seed, mjd, window), window, records, truth, geometry)


def _check(
    topology: str,
    ra: float | None,
    dec: float | None,
    energy: float,
    seed: int,
    vertex: tuple[float, float, float] | None,
) -> None:
    """Raise InputError for an impossible argument."""
    if topology not in {"track", "cascade"}:
        raise InputError(f"topology {topology!r}: choose track or cascade")
    if (ra is None) != (dec is None):
        raise InputError("a direction needs both ra and dec; without both it is drawn")
    if ra is not None and not math.isfinite(ra):
        raise InputError(f"ra {ra} is not a number")
    if dec is not None and not -90 <= dec <= 90:
        raise InputError(f"dec {dec} is not between -90 and 90 degrees")
    if not 0 < energy <= MAX_ENERGY:
        raise InputError(f"energy {energy} is not between 0 and {MAX_ENERGY:g} GeV")
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed {seed} is not between 0 and {MAX_SEED}")
    if vertex is not None and not all(abs(x) <= HALF_CUBE for x in vertex):
        raise InputError(
            f"vertex {vertex} is farther than {HALF_CUBE:g} m from the detector's centre: no light would arrive"
        )


def _check_light(topology: str, light: str, muons: int) -> None:
    """Raise InputError for an impossible way to simulate light."""
    if light not in get_args(Light):
        raise InputError(f"light {light!r}: choose {' or '.join(get_args(Light))}")
    if not 1 <= muons <= MAX_MUONS:
        raise InputError(f"muons {muons} is not between 1 and {MAX_MUONS}")
    if muons > 1 and (topology != "track" or light != "propagated"):
        raise InputError("muons: several muons need topology track and light propagated")


def _draw_vertex(random: np.random.Generator, geometry: Geometry) -> tuple[float, float, float]:
    """Draw a point (m) evenly in the volume that the strings span."""
    volume = InstrumentedVolume(geometry)
    low, high = geometry.position.min(axis=0), geometry.position.max(axis=0)
    upwards = np.array([0.0, 0.0, 1.0])
    while True:
        point = random.uniform(low, high)
        span = volume.span(point, upwards)
        if span is not None and span[0] <= 0 <= span[1]:
            x, y, z = point.tolist()
            return x, y, z


def _draw_showers(
    random: np.random.Generator,
    topology: Topology,
    energy: float,
    vertex: NDArray[np.float64],
    along: NDArray[np.float64],
    light: Light,
    muons: int,
) -> Showers:
    """Draw what gives light. In the fit's table, a cascade is one point without hadrons."""
    if topology == "cascade":
        return cascade_showers(random, energy) if light == "propagated" else electron_shower(energy)
    span = span_in_cube(vertex, along, HALF_CUBE)
    assert span is not None  # noqa: S101 - the vertex lies in the cube
    return bundle_showers(random, *span, energy, muons)


def _detect(draws: _Draws, truth: Truth, sources: Sources, geometry: Geometry) -> tuple[Hits, Hits]:
    """Draw the light and noise around it, give charges, make pulses; return them, and with the times of the launches.

    A DOM is launched by its first photoelectron, a pulse stands where its charge is.
    """
    if truth.light == "propagated":
        medium = south_pole(truth.variation.change_ice(ice_model(truth.ice)))
        hits = amplify(draws.photomultiplier, *draw_propagated(draws.light, sources, geometry, medium, truth.variation))
    else:
        dom, time = draw_photoelectrons(
            draws.light,
            truth.losses,
            np.array(truth.vertex),
            sources.direction,
            geometry,
            ice_model(truth.ice),
            truth.variation,
        )
        hits = Hits(dom, time, np.ones(len(dom)))
    begin, end = (float(hits.time.min()), float(hits.time.max())) if len(hits.time) else (0.0, 0.0)
    noise_dom, noise_time = draw_noise(draws.noise, geometry, begin + 2 * READOUT[0], end + 2 * READOUT[1])
    if truth.light == "propagated":
        charge = np.concatenate([hits.charge, draw_charges(draws.electronics, len(noise_dom))])
    else:
        charge = draw_charges(draws.electronics, len(hits.dom) + len(noise_dom))
    pulses, first = merge(Hits(np.concatenate([hits.dom, noise_dom]), np.concatenate([hits.time, noise_time]), charge))
    return pulses, replace(pulses, time=first)


def _untriggered(truth: Truth, together: int) -> InputError:
    """Return the error for an event with at most ``together`` DOMs in one trigger window."""
    x, y, z = truth.vertex
    return InputError(
        f"this {truth.topology} would not have triggered the detector: {together} DOMs in local coincidence within "
        f"5 us, at least {TRIGGER_DOMS} are needed. Give more energy than {truth.energy:g} GeV, or a vertex nearer to "
        f"the strings than ({x:.0f}, {y:.0f}, {z:.0f}) m"
    )


def _read_out(
    pulses: Hits, hlc: NDArray[np.bool_], trigger: tuple[float, float], geometry: Geometry
) -> tuple[tuple[float, float], I3RecoPulseSeriesMap]:
    """Return the readout window (ns) and the pulses in it, the trigger's first hit at TRIGGER_TIME."""
    first, last = trigger
    shift = TRIGGER_TIME - first
    inside = (pulses.time >= first + READOUT[0]) & (pulses.time <= last + READOUT[1])
    seen = pulses.select(inside)
    window = (TRIGGER_TIME + READOUT[0], last + shift + READOUT[1])
    return window, pulse_map(replace(seen, time=seen.time + shift), hlc[inside], geometry)
