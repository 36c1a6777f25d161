"""Make an event: draw what is not given, let it lose its energy, let the light arrive, and read the detector out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.coordinates import direction, equatorial_to_detector
from skymap_scanner.detector.geometry import Geometry
from skymap_scanner.detector.ic86 import ic86
from skymap_scanner.detector.ice import ice_model
from skymap_scanner.errors import InputError
from skymap_scanner.event.model import Event
from skymap_scanner.reconstruction.millipede.segments import InstrumentedVolume, span_in_cube
from skymap_scanner.simulation.frames import event_header, simulated_event
from skymap_scanner.simulation.light import draw_photoelectrons
from skymap_scanner.simulation.losses import Losses, cascade_losses, muon_losses
from skymap_scanner.simulation.pulses import (
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
from skymap_scanner.simulation.truth import Topology, Truth

#: When simulated events happen, unless told otherwise: 2024-01-01 (UTC).
DEFAULT_MJD = 60310.0
#: A muon is followed inside the cube |x|, |y|, |z| <= this, m: light from farther away does not reach a DOM.
HALF_CUBE = 800.0
#: When the trigger's first hit comes, ns after the event's time 0: so it is in IceCube's events.
TRIGGER_TIME = 10_000.0
#: No event has more energy, GeV.
MAX_ENERGY = 1e9
#: Event numbers have 32 bits.
MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class _Draws:
    """Independent streams of random numbers, so that a given direction does not change what else is drawn."""

    direction: np.random.Generator
    vertex: np.random.Generator
    losses: np.random.Generator
    light: np.random.Generator
    electronics: np.random.Generator
    noise: np.random.Generator

    @classmethod
    def of(cls, seed: int) -> _Draws:
        children = np.random.SeedSequence(seed).spawn(6)
        return cls(*(np.random.Generator(np.random.PCG64(child)) for child in children))


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
) -> Event:
    """Make an event with a known direction; equal arguments give equal frames (see ``docs/simulation.md``).

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

    Raises
    ------
    InputError
        For an impossible argument, or an event that would not have triggered the detector.
    """
    _check(topology, ra, dec, energy, seed, vertex)
    draws = _Draws.of(seed)
    geometry = ic86()
    if ra is None or dec is None:
        ra, dec = _draw_direction(draws.direction)
    zenith, azimuth = (float(angle) for angle in equatorial_to_detector(math.radians(ra), math.radians(dec), mjd))
    if vertex is None:
        vertex = _draw_vertex(draws.vertex, geometry)
    along = direction(zenith, azimuth)
    losses = _losses(draws.losses, topology, np.array(vertex), along, energy)

    dom, time = draw_photoelectrons(draws.light, losses, np.array(vertex), along, geometry, ice_model(ice))
    pulses, hlc = _read_out(draws, dom, time, geometry)
    trigger = find_trigger(pulses, hlc)
    if isinstance(trigger, int):
        raise InputError(
            f"this {topology} would not have triggered the detector: {trigger} DOMs in local coincidence within 5 us, "
            f"at least {TRIGGER_DOMS} are needed. Give more energy than {energy:g} GeV, or a vertex nearer to the "
            f"strings than ({vertex[0]:.0f}, {vertex[1]:.0f}, {vertex[2]:.0f}) m"
        )
    first, last = trigger
    inside = (pulses.time >= first + READOUT[0]) & (pulses.time <= last + READOUT[1])
    shift = TRIGGER_TIME - first
    seen = Hits(pulses.dom[inside], pulses.time[inside] + shift, pulses.charge[inside])
    window = (TRIGGER_TIME + READOUT[0], last + shift + READOUT[1])
    truth = Truth(topology, ra, dec, zenith, azimuth, energy, vertex, shift, losses, ice)
    records = pulse_map(seen, hlc[inside], geometry)
    return simulated_event(event_header(seed, mjd, window), window, records, truth, geometry)


def _check(
    topology: str,
    ra: float | None,
    dec: float | None,
    energy: float,
    seed: int,
    vertex: tuple[float, float, float] | None,
) -> None:
    """Refuse arguments that no event can have; raises InputError."""
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


def _draw_direction(random: np.random.Generator) -> tuple[float, float]:
    """Draw (ra, dec) in degrees, evenly over the sky."""
    return 360 * random.random(), math.degrees(math.asin(2 * random.random() - 1))


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


def _losses(
    random: np.random.Generator,
    topology: Topology,
    vertex: NDArray[np.float64],
    along: NDArray[np.float64],
    energy: float,
) -> Losses:
    if topology == "cascade":
        return cascade_losses(energy)
    span = span_in_cube(vertex, along, HALF_CUBE)
    assert span is not None  # noqa: S101 - the vertex lies in the cube
    return muon_losses(random, *span, energy)


def _read_out(
    draws: _Draws, dom: NDArray[np.intp], time: NDArray[np.float64], geometry: Geometry
) -> tuple[Hits, NDArray[np.bool_]]:
    """Add noise around the light, give charges, make pulses; return them and which are in local coincidence."""
    begin, end = (float(time.min()), float(time.max())) if len(time) else (0.0, 0.0)
    noise_dom, noise_time = draw_noise(draws.noise, geometry, begin + 2 * READOUT[0], end + 2 * READOUT[1])
    charge = draw_charges(draws.electronics, len(dom) + len(noise_dom))
    pulses = merge(Hits(np.concatenate([dom, noise_dom]), np.concatenate([time, noise_time]), charge))
    return pulses, in_coincidence(pulses, geometry)
