"""The reconstruction ``icetray``: IceCube's own Millipede, where IceTray can be imported.

The settings are those of IceCube's scans (https://github.com/icecube/skymap_scanner): direction fixed; a first pass
with vertex steps of 10 m, fixed time, and a loss every 5 m; a second with 2 m, 5 ns and 2.5 m; both by a simplex. The
public release of IceTray lacks the module ``millipede``, and the spline tables are IceCube's own: **this module is
written from public code and documentation and was never run by the project's tests**, but for the error that it gives
without IceTray.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skymap_scanner.detector.coordinates import travel_direction
from skymap_scanner.errors import InputError, ReconstructionError
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.i3 import FitStatus
from skymap_scanner.reconstruction.millipede.fitter import MARGIN
from skymap_scanner.reconstruction.millipede.segments import InstrumentedVolume
from skymap_scanner.reconstruction.protocol import EventFitter, Fit, Loss, Start, failed_fit

_MODULES = (
    "icetray",
    "dataclasses",
    "dataio",
    "gulliver",
    "gulliver_modules",
    "lilliput",
    "millipede",
    "photonics_service",
)
_PULSES, _EXCLUDED, _LATE = "SkymapPulses", "SkymapExcludedDOMs", "SkymapLateWindows"
_SEED, _FIRST, _SECOND = "MillipedeSeedParticle", "MillipedeStarting1stPass", "MillipedeStarting2ndPass"


class IceTrayMillipede:
    """Millipede in IceTray.

    Parameters
    ----------
    gcd
        Path of a full GCD file (geometry, calibration, detector status) of the event's season.
    cascade_amplitude, cascade_time
        Paths of the photon spline tables of cascades: ``...abs.fits`` and ``...prob.fits``.
    dom_efficiency
        Scale of the tables' light (IceCube's scans: 0.99 with SPICE Mie).
    photons_per_bin, bin_sigma
        How the likelihood bins time.

    Raises
    ------
    InputError
        When a parameter has no possible value.
    """

    def __init__(
        self,
        *,
        gcd: str | Path | None = None,
        cascade_amplitude: str | Path | None = None,
        cascade_time: str | Path | None = None,
        dom_efficiency: float = 0.99,
        photons_per_bin: float = 15,
        bin_sigma: float = 3,
    ) -> None:
        if not dom_efficiency > 0:
            raise InputError(f"icetray: dom_efficiency {dom_efficiency} must be positive")
        self._files = {"gcd": gcd, "cascade_amplitude": cascade_amplitude, "cascade_time": cascade_time}
        self._likelihood = {
            "DOMEfficiency": dom_efficiency,
            "PhotonsPerBin": photons_per_bin,
            "BinSigma": bin_sigma,
        }

    @property
    def identity(self) -> str:
        """Its name alone; IceTray's version is that of the environment."""
        return "icetray"

    def set_up(self, event: PreparedEvent) -> EventFitter:
        """Load the tables and make the frames of the event.

        Raises ReconstructionError when IceTray cannot be imported, or a file was not given or cannot be read.
        """
        modules = _import_icetray()
        paths = {}
        for name, path in self._files.items():
            if path is None:
                raise ReconstructionError(f"icetray needs the parameter {name!r}: the path of a file of IceCube's")
            if not Path(path).is_file():
                raise ReconstructionError(f"icetray: {name} {path} is no file")
            paths[name] = str(path)
        try:
            service = modules["photonics_service"].I3PhotoSplineService(
                paths["cascade_amplitude"], paths["cascade_time"], timingSigma=0.0
            )
            frames = list(modules["dataio"].I3File(paths["gcd"]))
        except RuntimeError as error:  # what IceTray's C++ throws
            raise ReconstructionError(f"icetray: {error}") from error
        return _IceTrayFitter(event, modules, service, frames, self._likelihood)

    def compile(self) -> None:
        """Do nothing: there is nothing to compile."""


def _import_icetray() -> dict[str, Any]:
    """Import the modules of IceTray that a fit needs; raises ReconstructionError when one is missing."""
    modules = {}
    for name in _MODULES:
        try:
            modules[name] = importlib.import_module(f"icecube.{name}")
        except ImportError as error:
            raise ReconstructionError(
                f"the reconstruction 'icetray' needs IceTray with the module icecube.{name} ({error}): run inside"
                " IceTray's environment (env-shell.sh) of a release with millipede, or use the built-in one: millipede"
            ) from error
    return modules


class _IceTrayFitter:
    """One event; a small tray runs for every fit, the tables are loaded once."""

    def __init__(
        self,
        event: PreparedEvent,
        modules: dict[str, Any],
        service: Any,
        frames: Sequence[Any],
        likelihood: dict[str, float],
    ) -> None:
        self._modules = modules
        self._service = service
        self._frames = frames
        self._likelihood = likelihood
        self._event = event
        self._volume = InstrumentedVolume(event.geometry)

    def fit(self, start: Start) -> Fit:
        """Fit the event from ``start`` in two passes; what IceTray throws is a failed fit."""
        if not all(math.isfinite(x) for x in (start.zenith, start.azimuth, *start.position, start.time)):
            return failed_fit(start, FitStatus.MissingSeed, "the start holds a number that is not finite")
        try:
            frame = self._run(self._physics_frame(start))
        except RuntimeError as error:
            return failed_fit(start, FitStatus.GeneralFailure, f"IceTray: {error}")
        if frame is None or _SECOND not in frame:
            return failed_fit(start, FitStatus.GeneralFailure, "Millipede gave no fit")
        return self._conclude(start, frame)

    def _physics_frame(self, start: Start) -> Any:
        """Make the P frame: header, pulses, readout window, exclusions, and the seed."""
        icetray, dataclasses = self._modules["icetray"], self._modules["dataclasses"]
        event, pulses = self._event, self._event.pulses
        frame = icetray.I3Frame(icetray.I3Frame.Physics)
        header = dataclasses.I3EventHeader()
        header.run_id, header.event_id = event.header.run_id, event.header.event_id
        header.sub_event_id, header.sub_event_stream = event.header.sub_event_id, event.header.sub_event_stream
        frame["I3EventHeader"] = header
        series = dataclasses.I3RecoPulseSeriesMap()
        for i in range(len(pulses.time)):
            pulse = dataclasses.I3RecoPulse()
            pulse.time, pulse.charge = float(pulses.time[i]), float(pulses.charge[i])
            pulse.width, pulse.flags = float(pulses.width[i]), int(pulses.flags[i])
            key = icetray.OMKey(int(pulses.string[i]), int(pulses.om[i]), int(pulses.pmt[i]))
            if key not in series:
                series[key] = dataclasses.I3RecoPulseSeries()
            series[key].append(pulse)
        frame[_PULSES] = series
        frame[f"{_PULSES}TimeRange"] = dataclasses.I3TimeWindow(*event.window)
        frame[_EXCLUDED] = dataclasses.I3VectorOMKey(
            [icetray.OMKey(key.string, key.om, key.pmt) for key in sorted(event.excluded | event.bright)]
        )
        windows = dataclasses.I3TimeWindowSeriesMap()
        for key in sorted(event.late.keys() | event.errata.keys()):
            time = min(event.late.get(key, math.inf), event.errata.get(key, math.inf))
            window = dataclasses.I3TimeWindow(time, math.inf)
            windows[icetray.OMKey(key.string, key.om, key.pmt)] = dataclasses.I3TimeWindowSeries([window])
        frame[_LATE] = windows
        seed = dataclasses.I3Particle()
        seed.shape = dataclasses.I3Particle.ParticleShape.InfiniteTrack
        seed.fit_status = dataclasses.I3Particle.FitStatus.OK
        seed.dir = dataclasses.I3Direction(start.zenith, start.azimuth)
        seed.pos = dataclasses.I3Position(*start.position)
        seed.time, seed.speed = start.time, dataclasses.I3Constants.c
        frame[_SEED] = seed
        return frame

    def _run(self, physics: Any) -> Any:
        """Run a tray over the frames of the detector and one P frame; return that frame afterwards."""
        icetray = self._modules["icetray"]
        pending = [*self._frames, physics]
        done: list[Any] = []

        class Source(icetray.I3Module):  # type: ignore[misc, name-defined]  # IceTray has no types
            """Gives out the frames."""

            def __init__(self, context: Any) -> None:
                super().__init__(context)
                self.AddOutBox("OutBox")

            def Configure(self) -> None:  # noqa: N802 - IceTray's name
                """Take no parameters."""

            def Process(self) -> None:  # noqa: N802 - IceTray's name
                """Give out the next frame."""
                if pending:
                    self.PushFrame(pending.pop(0))
                else:
                    self.RequestSuspension()

        tray = icetray.I3Tray()
        tray.AddModule(Source, "source")
        tray.AddService(
            "MillipedeLikelihoodFactory",
            "millipedellh",
            MuonPhotonicsService=None,
            CascadePhotonicsService=self._service,
            ShowerRegularization=0,
            ExcludedDOMs=[_EXCLUDED, _LATE],
            PartialExclusion=True,
            Pulses=_PULSES,
            ReadoutWindow=f"{_PULSES}TimeRange",
            **self._likelihood,
        )
        tray.AddService("I3GSLRandomServiceFactory", "I3RandomService")
        tray.AddService("I3GSLSimplexFactory", "simplex", MaxIterations=20000)
        _add_pass(tray, _FIRST, _SEED, position=10.0, time=0.0, spacing=5.0)
        _add_pass(tray, _SECOND, _FIRST, position=2.0, time=5.0, spacing=2.5)
        tray.AddModule(done.append, "collect", Streams=[icetray.I3Frame.Physics])
        tray.Execute()
        tray.Finish()
        return done[-1] if done else None

    def _conclude(self, start: Start, frame: Any) -> Fit:
        """Translate the second pass into the protocol's words."""
        track = frame[_SECOND]
        parameters = frame[f"{_SECOND}_millipedellh"]
        llh = float(parameters.logl)
        position = (float(track.pos.x), float(track.pos.y), float(track.pos.z))
        losses = tuple(
            Loss((float(p.pos.x), float(p.pos.y), float(p.pos.z)), float(p.time), float(p.energy))
            for p in frame[f"{_SECOND}Params"]
            if p.energy > 0
        )
        if not math.isfinite(llh):
            return failed_fit(start, FitStatus.GeneralFailure, "the likelihood is not finite")
        direction = travel_direction(start.zenith, start.azimuth)
        span = self._volume.span(np.array(position), direction)
        inside = 0.0
        if span is not None:
            for loss in losses:
                s = float(((np.array(loss.position) - position) * direction).sum())
                inside += loss.energy if span[0] - MARGIN <= s <= span[1] + MARGIN else 0.0
        return Fit(
            status=FitStatus(int(track.fit_status)),
            llh=llh,
            zenith=start.zenith,
            azimuth=start.azimuth,
            position=position,
            time=float(track.time),
            energy_in=inside,
            energy_total=math.fsum(loss.energy for loss in losses),
            losses=losses,
            evaluations=int(getattr(parameters, "nmini", 0)),
        )


def _add_pass(tray: Any, name: str, seed: str, *, position: float, time: float, spacing: float) -> None:
    """Add one pass: vertex and time from ``seed`` with these first steps (m, ns), a loss every ``spacing`` (m)."""
    tray.AddService(
        "MuMillipedeParametrizationFactory",
        f"{name}Parametrization",
        MuonSpacing=0.0,
        ShowerSpacing=spacing,
        StepX=position,
        StepY=position,
        StepZ=position,
        StepT=time,
        StepZenith=0.0,
        StepAzimuth=0.0,
    )
    tray.AddService(
        "I3BasicSeedServiceFactory",
        f"{name}Seed",
        FirstGuesses=[seed],
        TimeShiftType="TNone",
        PositionShiftType="None",
    )
    tray.AddModule(
        "I3SimpleFitter",
        name,
        OutputName=name,
        SeedService=f"{name}Seed",
        Parametrization=f"{name}Parametrization",
        LogLikelihood="millipedellh",
        Minimizer="simplex",
    )
