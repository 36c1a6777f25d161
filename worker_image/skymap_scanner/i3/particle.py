"""I3Particle and its enumerations (format sections 4 and 9)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from math import nan
from typing import Final

from skymap_scanner.i3.basic_objects import I3Direction, I3Position
from skymap_scanner.i3.particle_types import ParticleType

#: Speed of light in vacuum (m/ns), as I3Constants::c has it.
SPEED_OF_LIGHT: Final = 0.299792458


class ParticleShape(IntEnum):
    """I3Particle::ParticleShape."""

    Null = 0
    Primary = 10
    TopShower = 20
    Cascade = 30
    CascadeSegment = 31
    InfiniteTrack = 40
    StartingTrack = 50
    StoppingTrack = 60
    ContainedTrack = 70
    MCTrack = 80
    MCTrackSegment = 81
    MCTrackSegmentSlow = 82
    Dark = 90


class FitStatus(IntEnum):
    """I3Particle::FitStatus."""

    NotSet = -1
    OK = 0
    GeneralFailure = 10
    InsufficientHits = 20
    FailedToConverge = 30
    MissingSeed = 40
    InsufficientQuality = 50


class LocationType(IntEnum):
    """I3Particle::LocationType."""

    Anywhere = 0
    IceTop = 10
    InIce = 20
    InActiveVolume = 30


@dataclass(frozen=True, slots=True)
class I3Particle:
    """A particle or a fitted track.

    ``pos`` in metres, ``dir`` where it comes from, ``time`` ns, ``energy`` GeV, ``length`` m, ``speed`` m/ns; NaN where
    not set. Enumerations hold a plain int where the number has no name.
    """

    minor_id: int = 0
    major_id: int = 0
    pdg_encoding: int = ParticleType.unknown
    shape: int = ParticleShape.Null
    fit_status: int = FitStatus.NotSet
    pos: I3Position = field(default_factory=I3Position)
    dir: I3Direction = field(default_factory=I3Direction)
    time: float = nan
    energy: float = nan
    length: float = nan
    speed: float = SPEED_OF_LIGHT
    location_type: int = LocationType.Anywhere


@dataclass(frozen=True, slots=True)
class I3VectorI3Particle:
    """Several particles: the losses along a track."""

    value: tuple[I3Particle, ...] = ()
