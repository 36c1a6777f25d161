"""The true parameters of a simulated event, stored as objects in its P frame.

=====================  ===================  ===========================================================================
key                    class                what
=====================  ===================  ===========================================================================
``MCTrack``            I3Particle           the muon or the cascade: where from, vertex, time there, energy
``MCLosses``           I3VectorI3Particle   every cascade that gave light, along the line
``MCDepositedEnergy``  I3Double             the sum of their energies, GeV
``MCDirection``        I3MapStringDouble    ``ra`` and ``dec`` of the direction, degrees (ICRS)
``MCTopology``         I3String             ``track`` or ``cascade``
``MCIce``              I3String             name of the ice model
``MCVariation``        I3MapStringDouble    how the physics differs (``Variation``); absent: it does not
``MCLight``            I3String             ``propagated``; absent: the light of the photon table
``MCMuons``            I3Double             number of muons of a bundle; absent: one
=====================  ===================  ===========================================================================

The seed is the number of the event in its header.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from skymap_scanner.detector.coordinates import travel_direction
from skymap_scanner.errors import I3Error, InputError
from skymap_scanner.event.model import Topology
from skymap_scanner.i3 import (
    FitStatus,
    Frame,
    I3Direction,
    I3Double,
    I3MapStringDouble,
    I3Particle,
    I3Position,
    I3String,
    I3VectorI3Particle,
    LocationType,
    ParticleShape,
    ParticleType,
)
from skymap_scanner.i3.particle import SPEED_OF_LIGHT
from skymap_scanner.simulation.losses import Losses
from skymap_scanner.simulation.variation import NAMES, NOMINAL, Variation

Light = Literal["table", "propagated"]

TRACK = "MCTrack"
LOSSES = "MCLosses"
DEPOSITED = "MCDepositedEnergy"
DIRECTION = "MCDirection"
TOPOLOGY = "MCTopology"
ICE = "MCIce"
VARIATION = "MCVariation"
LIGHT = "MCLight"
MUONS = "MCMuons"

#: Numbers of the particles: all have the same major number, the muon or cascade is 0, its losses count from 1.
_MAJOR_ID = 1


@dataclass(frozen=True)
class Truth:
    """A simulated particle: ``ra``, ``dec`` in degrees (ICRS); ``zenith``, ``azimuth`` (rad) of where it comes from.

    ``energy`` (GeV) is a cascade's visible energy, or a muon's where the simulation begins. ``vertex`` (m) is a
    point on its line, ``time`` (ns) when it was there; ``losses`` lie along the line, from the vertex.
    """

    topology: Topology
    ra: float
    dec: float
    zenith: float
    azimuth: float
    energy: float
    vertex: tuple[float, float, float]
    time: float
    losses: Losses
    ice: str
    variation: Variation = NOMINAL
    light: Light = "table"
    muons: int = 1


def put_truth(frame: Frame, truth: Truth) -> None:
    """Write the truth into the frame, rounded far below what matters: to 1 mm, 0.01 ns, 1e-9 rad, 1 MeV.

    So the bytes do not depend on the last bit of a processor's logarithm.
    """
    if truth.topology == "track":
        kind, shape, loss = ParticleType.MuMinus, ParticleShape.MCTrack, ParticleType.DeltaE
    else:
        kind, shape, loss = ParticleType.EMinus, ParticleShape.Cascade, ParticleType.EMinus
    places = zip(truth.losses.s.tolist(), truth.losses.energy.tolist(), strict=True)
    frame[TRACK] = _particle(truth, 0, (kind, shape), 0.0, truth.energy)
    frame[LOSSES] = I3VectorI3Particle(
        tuple(
            _particle(truth, number, (loss, ParticleShape.Cascade), s, energy)
            for number, (s, energy) in enumerate(places, start=1)
        )
    )
    frame[DEPOSITED] = I3Double(round(float(truth.losses.energy.sum()), 3))
    frame[DIRECTION] = I3MapStringDouble({"dec": round(truth.dec, 9), "ra": round(truth.ra, 9)})
    frame[TOPOLOGY] = I3String(truth.topology)
    frame[ICE] = I3String(truth.ice)
    if not truth.variation.is_nominal:
        frame[VARIATION] = I3MapStringDouble(dict(sorted(truth.variation.as_dict().items())))
    if truth.light != "table":
        frame[LIGHT] = I3String(truth.light)
    if truth.muons != 1:
        frame[MUONS] = I3Double(float(truth.muons))


def read_truth(frame: Frame) -> Truth | None:
    """Return the truth that the P frame of an event holds, or None for an event that was not simulated here.

    Raises I3Error when the truth is incomplete or damaged.
    """
    if TRACK not in frame:
        return None
    track = frame.expect(TRACK, I3Particle)
    losses = frame.expect(LOSSES, I3VectorI3Particle).value
    sky = frame.expect(DIRECTION, I3MapStringDouble).value
    topology = frame.expect(TOPOLOGY, I3String).value
    if topology not in get_args(Topology) or not {"ra", "dec"} <= sky.keys():
        raise I3Error(f"the truth is damaged: topology {topology!r}, direction {dict(sky)}", key=TOPOLOGY)
    return Truth(
        topology="track" if topology == "track" else "cascade",
        ra=sky["ra"],
        dec=sky["dec"],
        zenith=track.dir.zenith,
        azimuth=track.dir.azimuth,
        energy=track.energy,
        vertex=(track.pos.x, track.pos.y, track.pos.z),
        time=track.time,
        losses=Losses(
            s=np.array([(loss.time - track.time) * SPEED_OF_LIGHT for loss in losses]),
            energy=np.array([loss.energy for loss in losses]),
        ),
        ice=frame.expect(ICE, I3String).value,
        variation=_read_variation(frame),
        light=_read_light(frame),
        muons=int(frame.expect(MUONS, I3Double).value) if MUONS in frame else 1,
    )


def _read_light(frame: Frame) -> Light:
    """Return how the light of a P frame was simulated."""
    light = frame.expect(LIGHT, I3String).value if LIGHT in frame else "table"
    if light not in get_args(Light):
        raise I3Error(f"the truth is damaged: light {light!r}", key=LIGHT)
    return "propagated" if light == "propagated" else "table"


def _read_variation(frame: Frame) -> Variation:
    """Return the variation that a P frame holds, the nominal one when it holds none."""
    if VARIATION not in frame:
        return NOMINAL
    numbers = frame.expect(VARIATION, I3MapStringDouble).value
    if set(numbers) != set(NAMES):
        raise I3Error(
            f"the truth is damaged: a variation has {', '.join(NAMES)}, found {sorted(numbers)}", key=VARIATION
        )
    try:
        return Variation(**numbers)
    except InputError as error:
        raise I3Error(f"the truth is damaged: {error}", key=VARIATION) from error


def _particle(
    truth: Truth, number: int, kind: tuple[ParticleType, ParticleShape], s: float, energy: float
) -> I3Particle:
    """Make the particle that is ``s`` m behind the vertex."""
    x, y, z = (np.array(truth.vertex) + s * travel_direction(truth.zenith, truth.azimuth)).tolist()
    return I3Particle(
        minor_id=number,
        major_id=_MAJOR_ID,
        pdg_encoding=kind[0],
        shape=kind[1],
        fit_status=FitStatus.OK,
        pos=I3Position(round(x, 3), round(y, 3), round(z, 3)),
        dir=I3Direction(round(truth.zenith, 9), round(truth.azimuth, 9)),
        time=round(truth.time + s / SPEED_OF_LIGHT, 2),
        energy=round(energy, 3),
        speed=SPEED_OF_LIGHT,
        location_type=LocationType.InIce,
    )
