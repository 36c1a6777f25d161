"""Encodes and decodes the P frames of tasks and fits. The keys are those of the original scanner.

The frame of a fit is the frame of its task with the result added, so every fit is complete in itself. All of it is a
function of the event and the task: fitting a task twice gives the same bytes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple, get_args

from skymap_api.text import bounded_line
from skymap_scanner.errors import BrokerError, I3Error
from skymap_scanner.event.model import PreparedEvent, Topology
from skymap_scanner.i3 import (
    FitStatus,
    Frame,
    I3Bool,
    I3Direction,
    I3Double,
    I3EventHeader,
    I3Int,
    I3LogLikelihoodFitParams,
    I3Particle,
    I3Position,
    I3String,
    I3VectorI3Particle,
    LocationType,
    ParticleShape,
    ParticleType,
)
from skymap_scanner.i3.archive import Reader
from skymap_scanner.reconstruction.protocol import Fit, Loss, Start, failed_fit
from skymap_scanner.scan.pixels import Pixel, is_resimulation

SEED = "MillipedeSeedParticle"
HEADER = "I3EventHeader"
NSIDE = "SCAN_HealpixNSide"
PIXEL = "SCAN_HealpixPixel"
VARIATION = "SCAN_PositionVariationIndex"
EVENT_INDEX = "SCAN_EventOverallIndex"
EVENT_NAME = "SCAN_EventName"
#: Whether the seed comes from a nearby fit, so that the fine stage suffices.
WARM = "SCAN_WarmStart"

TRACK = "MillipedeStarting2ndPass"
LOSSES = f"{TRACK}Params"
FIT_PARAMETERS = f"{TRACK}_millipedellh"
ENERGY_IN = f"{TRACK}_totalRecoLossesInside"
ENERGY_TOTAL = f"{TRACK}_totalRecoLossesTotal"
#: -ln L again, for readers without the class I3LogLikelihoodFitParams.
LLH = "SCAN_NegLogLikelihood"
RECONSTRUCTION = "SCAN_Reconstruction"
#: Hypothesis that won (track, cascade), and identity of the likelihood; absent if the reconstruction does not say.
TOPOLOGY = "SCAN_Topology"
LIKELIHOOD = "SCAN_Likelihood"
#: Reason of a failed fit; absent if the fit succeeded.
REASON = "SCAN_FailureReason"

#: Bounds of plausible values: -ln L, vertex coordinate (m) and time (ns), each far beyond that of any event.
_MAX_LLH, _MAX_COORDINATE, _MAX_TIME = 1e12, 1e6, 1e9
#: Greatest length of the name of a reconstruction, and of the identity of a likelihood.
_MAX_NAME = 200
#: Longest frame of a fit (bytes): it becomes a part of the results. One of `MAX_LOSSES` losses, of 124 bytes each, has
#: half of that. Longest reason of a failed fit (characters).
MAX_FIT_BYTES, MAX_LOSSES, MAX_REASON = 256 << 10, 1000, 1000


@dataclass(frozen=True, slots=True)
class Task:
    """The fit of one pixel from one seed, or of one re-simulation, still to be done."""

    pixel: Pixel
    seed: int
    start: Start

    @property
    def name(self) -> str:
        """The task's name in log lines."""
        if is_resimulation(self.pixel):
            return f"re-simulation {self.pixel.index}"
        return f"pixel {self.pixel.index} of nside {self.pixel.nside}, seed {self.seed}"


@dataclass(frozen=True, slots=True)
class PixelFit:
    """Values of one fit: -ln L (NaN: failed), vertex (m), time (ns), energies (GeV; NaN: unknown)."""

    pixel: Pixel
    seed: int
    llh: float
    position: tuple[float, float, float]
    time: float
    energy_in: float
    energy_total: float


class Provenance(NamedTuple):
    """The reconstruction that made a fit, and the identity of its likelihood; empty where the fit does not say."""

    reconstruction: str = ""
    likelihood: str = ""

    def __str__(self) -> str:
        name = self.reconstruction or "an unnamed reconstruction"
        return f"{name} ({self.likelihood})" if self.likelihood else name


_UNSTATED = Provenance()


@dataclass(frozen=True, slots=True)
class DecodedFit:
    """A fit, its provenance, and the names of its task in the frame.

    ``event``: name of the event; ``run``, ``number`` and ``sub_event``: from the header; ``identifiers``: those of the
    particles; ``directions``: those of the seed and of the fit (zenith, azimuth; rad).
    """

    fit: PixelFit
    event: str
    run: int
    number: int
    sub_event: int
    identifiers: frozenset[int]
    directions: tuple[tuple[float, float], ...]
    warm: bool
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class FitStatement:
    """What a fit states besides its numbers: the hypothesis that won, its provenance, and its losses.

    ``reason``: why it failed, in one line; empty if it did not.
    """

    topology: Topology | None = None
    provenance: Provenance = _UNSTATED
    losses: tuple[Loss, ...] = ()
    reason: str = ""


def encode_task(task: Task, event: PreparedEvent, seeds: int) -> bytes:
    """Return a task of the event as a serialized P frame; each pixel has ``seeds`` seeds."""
    pixel, start = task.pixel, task.start
    frame = Frame("P")
    frame[EVENT_NAME] = I3String(event.name)
    frame[HEADER] = replace(
        event.header,
        sub_event_id=pixel.index,
        sub_event_stream=f"SCAN_nside{pixel.nside:04d}_pixel{pixel.index:04d}_posvar{task.seed:04d}",
    )
    frame[NSIDE] = I3Int(pixel.nside)
    frame[PIXEL] = I3Int(pixel.index)
    frame[VARIATION] = I3Int(task.seed)
    frame[EVENT_INDEX] = I3Int((pixel.index * seeds + task.seed) % 2**31)  # counts the frames of a level
    frame[WARM] = I3Bool(start.warm)
    frame[SEED] = I3Particle(
        minor_id=0,
        major_id=task_identifier(event.name, pixel, task.seed),
        shape=ParticleShape.InfiniteTrack,
        fit_status=FitStatus.OK,
        pos=I3Position(*start.position),
        dir=I3Direction(start.zenith, start.azimuth),
        time=start.time,
    )
    return frame.to_bytes()


def decode_task(payload: bytes) -> tuple[Task, Frame]:
    """Return a task, and its frame, to which the result is added; raises BrokerError if ``payload`` is not a task."""
    with _as_broker_error("a message"):
        frame = Frame.from_bytes(payload)
        pixel, seed = _task_of(frame)
    with _as_broker_error(f"the task of pixel {pixel.key}"):
        particle = frame.expect(SEED, I3Particle)
        warm = frame.expect(WARM, I3Bool).value
    position = (particle.pos.x, particle.pos.y, particle.pos.z)
    number = pixel.index if is_resimulation(pixel) else 0
    start = Start(particle.dir.zenith, particle.dir.azimuth, position, particle.time, warm, number)
    return Task(pixel, seed, start), frame


def checked_fit(fit: Fit, start: Start) -> Fit:
    """Return ``fit``, or a failed fit if its values are implausible: it must neither win nor seed a finer level."""
    reason = implausible(PixelFit(Pixel(1, 0), 0, fit.llh, fit.position, fit.time, fit.energy_in, fit.energy_total))
    if len(fit.losses) > MAX_LOSSES:
        reason = f"{len(fit.losses)} losses, more than {MAX_LOSSES}"
    if not reason:
        return fit if len(fit.reason) <= MAX_REASON else replace(fit, reason=fit.reason[:MAX_REASON])
    return failed_fit(start, FitStatus.GeneralFailure, f"the reconstruction returned {reason}", fit.evaluations)


def implausible(fit: PixelFit) -> str:
    """Return the implausible value of a fit; empty if there is none, or if the fit failed (-ln L NaN)."""
    if math.isnan(fit.llh):
        return ""
    if not abs(fit.llh) <= _MAX_LLH:
        return f"-ln L {fit.llh}"
    if not all(abs(x) <= _MAX_COORDINATE for x in fit.position):
        return f"the vertex {fit.position} m"
    if not abs(fit.time) <= _MAX_TIME:
        return f"the time {fit.time} ns"
    for energy in (fit.energy_in, fit.energy_total):
        if energy < 0 or math.isinf(energy):  # NaN: unknown
            return f"the energy {energy} GeV"
    return ""


def fit_frame(task: Frame, fit: Fit, reconstruction: str) -> bytes:
    """Add the result to a task's frame and serialize it."""
    major = task.expect(SEED, I3Particle).major_id
    status = FitStatus(fit.status)
    task[TRACK] = I3Particle(
        minor_id=1,
        major_id=major,
        pdg_encoding=ParticleType.MuMinus,
        shape=ParticleShape.InfiniteTrack,
        fit_status=status,
        pos=I3Position(*fit.position),
        dir=I3Direction(fit.zenith, fit.azimuth),
        time=fit.time,
        energy=fit.energy_total,
        location_type=LocationType.InIce,
    )
    task[LOSSES] = I3VectorI3Particle(_loss_particles(fit.losses, fit, major))
    task[FIT_PARAMETERS] = I3LogLikelihoodFitParams(logl=fit.llh, rlogl=math.nan, ndof=-1, nmini=fit.evaluations)
    task[ENERGY_IN] = I3Double(fit.energy_in)
    task[ENERGY_TOTAL] = I3Double(fit.energy_total)
    task[LLH] = I3Double(fit.llh)
    task[RECONSTRUCTION] = I3String(reconstruction)
    if fit.topology:
        task[TOPOLOGY] = I3String(fit.topology)
    if fit.likelihood:
        task[LIKELIHOOD] = I3String(fit.likelihood)
    if fit.reason:
        task[REASON] = I3String(fit.reason)
    return task.to_bytes()


def decode_fits(payload: bytes) -> list[DecodedFit]:
    """Return the fits in a message: one, or those of all seeds of a pixel, the best first.

    Raises BrokerError if the message holds no fit, or anything else.
    """
    fits: list[DecodedFit] = []
    with _as_broker_error("a message"):
        reader = Reader(payload)
        while reader.left or not fits:
            frame = Frame.read(reader)
            pixel, seed = _task_of(frame)
            with _as_broker_error(f"the fit of pixel {pixel.key}"):
                fits.append(_decoded_fit(frame, pixel, seed))
    return fits


def decode_statement(payload: bytes) -> FitStatement:
    """Return what the first fit of a message states beside its numbers.

    What is missing or unreadable is as if it was not stated: another program's fits need not have it.
    """
    try:
        frame = Frame.read(Reader(payload))
        losses = frame.expect(LOSSES, I3VectorI3Particle).value
        topology, reason = (frame.expect(key, I3String).value if key in frame else "" for key in (TOPOLOGY, REASON))
    except I3Error:
        return FitStatement()
    return FitStatement(
        topology=next((known for known in get_args(Topology) if known == topology), None),
        provenance=_provenance_of(frame),
        losses=tuple(Loss((one.pos.x, one.pos.y, one.pos.z), one.time, one.energy) for one in losses),
        reason=bounded_line(reason, MAX_REASON),
    )


def _decoded_fit(frame: Frame, pixel: Pixel, seed: int) -> DecodedFit:
    start, track = frame.expect(SEED, I3Particle), frame.expect(TRACK, I3Particle)
    header = frame.expect(HEADER, I3EventHeader)
    llh, energy_in, energy_total = (frame.expect(key, I3Double).value for key in (LLH, ENERGY_IN, ENERGY_TOTAL))
    position = (track.pos.x, track.pos.y, track.pos.z)
    return DecodedFit(
        fit=PixelFit(pixel, seed, llh, position, track.time, energy_in, energy_total),
        event=frame.expect(EVENT_NAME, I3String).value,
        run=header.run_id,
        number=header.event_id,
        sub_event=header.sub_event_id,
        identifiers=frozenset((start.major_id, track.major_id)),
        directions=((start.dir.zenith, start.dir.azimuth), (track.dir.zenith, track.dir.azimuth)),
        warm=frame.expect(WARM, I3Bool).value,
        provenance=_provenance_of(frame),
    )


def _provenance_of(frame: Frame) -> Provenance:
    return Provenance(*(_name(frame, key) for key in (RECONSTRUCTION, LIKELIHOOD)))


def _name(frame: Frame, key: str) -> str:
    try:
        name = frame.expect(key, I3String).value if key in frame else ""
    except I3Error:
        return ""
    return name if len(name) <= _MAX_NAME and name.isascii() and name.isprintable() else ""


def _task_of(frame: Frame) -> tuple[Pixel, int]:
    nside, index, seed = (frame.expect(key, I3Int).value for key in (NSIDE, PIXEL, VARIATION))
    return Pixel(nside, index), seed


@contextmanager
def _as_broker_error(what: str) -> Iterator[None]:
    try:
        yield
    except I3Error as error:
        raise BrokerError(
            f"{what} was not sent by this scanner ({error}): does another program use its topics?"
        ) from error


def _loss_particles(losses: Sequence[Loss], fit: Fit, major: int) -> tuple[I3Particle, ...]:
    direction = I3Direction(fit.zenith, fit.azimuth)
    return tuple(
        I3Particle(
            minor_id=number,
            major_id=major,
            pdg_encoding=ParticleType.EMinus,
            shape=ParticleShape.Cascade,
            fit_status=FitStatus.OK,
            pos=I3Position(*loss.position),
            dir=direction,
            time=loss.time,
            energy=loss.energy,
            length=0.0,
            location_type=LocationType.InIce,
        )
        for number, loss in enumerate(losses, start=2)
    )


def task_identifier(event: str, pixel: Pixel, seed: int) -> int:
    """Return the major id of a task's particles, a digest: IceTray's random id would differ in every file."""
    text = f"{event}/{pixel.key}/{seed}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
