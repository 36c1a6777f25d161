"""Re-simulations of an event: pure functions of the event, the start and their number."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_scanner.detector.coordinates import angular_separation, travel_direction
from skymap_scanner.detector.ic86 import ic86
from skymap_scanner.errors import InputError, ReconstructionError
from skymap_scanner.event.model import PreparedEvent, Topology
from skymap_scanner.event.preparation import prepare
from skymap_scanner.i3 import FitStatus, OMKey
from skymap_scanner.reconstruction.dummy import Dummy
from skymap_scanner.reconstruction.locate import check_can_locate
from skymap_scanner.reconstruction.protocol import Fit, Located, Loss, Start, failed_fit
from skymap_scanner.simulation import simulate
from skymap_scanner.simulation.resimulation import (
    AROUND,
    FARTHEST,
    NEAREST,
    REACH,
    Resimulations,
    directions_around,
    draw_event,
    truth_of,
    turned,
)
from skymap_scanner.simulation.truth import Truth

simulation = importlib.import_module("skymap_scanner.simulation.simulate")  # the package has a function of this name

ANGLES = st.tuples(st.floats(0.01, 3.13), st.floats(0, 6.28))
START = Start(1.0, 2.0, (50.0, 50.0, -100.0), 10_000.0, warm=True)


def fit_at(start: Start, llh: float, energies: tuple[float, ...] = (3e4,)) -> Fit:
    along = travel_direction(start.zenith, start.azimuth)
    losses = tuple(
        Loss(tuple((np.array(start.position) + 10 * place * along).tolist()), start.time, energy)
        for place, energy in enumerate(energies)
    )
    return Fit(
        FitStatus.OK, llh, start.zenith, start.azimuth, start.position, start.time, 1.0, 2.0, losses,
        topology="cascade", likelihood="test 1",
    )  # fmt: skip


class Fitter:
    """A locator whose -ln L is that of ``values``: at a fixed direction, and at the best one."""

    def __init__(self, fixed: float, best: float) -> None:
        self.fixed, self.best = fixed, best
        self.located: list[Start] = []

    def fit(self, start: Start) -> Fit:
        return fit_at(start, self.fixed)

    def locate(self, start: Start) -> Located:
        self.located.append(start)
        return Located(fit_at(start, self.best), np.eye(2) * math.radians(1) ** 2)


class Fitters:
    """A reconstruction that keeps the events it was set up for."""

    identity = "test"

    def __init__(self, fixed: float = 7.0, best: float = 4.5) -> None:
        self.fixed, self.best = fixed, best
        self.events: list[PreparedEvent] = []

    def set_up(self, event: PreparedEvent) -> Fitter:
        self.events.append(event)
        return Fitter(self.fixed, self.best)

    def compile(self) -> None:
        """Do nothing."""


@pytest.fixture(scope="module")
def original() -> PreparedEvent:
    return prepare(simulate("cascade", ra=10.0, dec=10.0, energy=3e4, seed=4, vertex=(50.0, 50.0, -100.0)))


def bits(event: PreparedEvent) -> tuple[bytes, bytes]:
    return event.pulses.time.tobytes(), event.pulses.charge.tobytes()


def test_fit_states_the_difference_between_truth_and_best_fit(original: PreparedEvent) -> None:
    fit = Resimulations(Fitters(), "test", original).fit(replace(START, number=3))
    assert fit.llh == 2.5
    assert (fit.zenith, fit.azimuth, fit.position, fit.time) == (1.0, 2.0, START.position, START.time)
    assert (fit.energy_total, fit.topology, fit.likelihood, fit.losses) == (2.0, "cascade", "test 1", ())


def test_truth_better_than_the_best_fit_counts_as_0(original: PreparedEvent) -> None:
    assert Resimulations(Fitters(4.0, 4.5), "test", original).fit(START).llh == 0.0


def test_event_depends_on_its_number_alone(original: PreparedEvent) -> None:
    def events(*numbers: int) -> dict[int, tuple[bytes, bytes]]:
        fitters = Fitters()
        resimulations = Resimulations(fitters, "test", original)
        for number in numbers:
            assert resimulations.fit(replace(START, number=number)).reason == ""
        return dict(zip(numbers, map(bits, fitters.events[1:]), strict=True))

    once, again = events(0, 1, 2), events(2, 0)
    assert again == {number: once[number] for number in again}
    assert len(set(once.values())) == 3


def test_event_has_the_losses_detector_and_time_of_the_original(original: PreparedEvent) -> None:
    excluded = replace(original, excluded=original.excluded | {OMKey(26, 40)})
    truth = truth_of(fit_at(START, 1.0, (0.0, 2e4, 1e4)), original.mjd)
    assert truth.losses.s == pytest.approx([10, 20])
    assert (truth.losses.energy.tolist(), truth.energy, truth.topology) == ([2e4, 1e4], 3e4, "cascade")
    made = draw_event(truth, excluded, digest=5, number=1)
    assert OMKey(26, 40) in made.excluded
    assert made.mjd == pytest.approx(original.mjd, abs=1e-9)
    assert (made.geometry.position == original.geometry.position).all()


@pytest.mark.parametrize("topology", ["track", "cascade"])
def test_equal_losses_seed_and_physics_give_equal_events(topology: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    truths: list[Truth] = []
    detect = simulation._detect

    def seen(draws: Any, truth: Truth, *others: Any) -> Any:
        truths.append(truth)
        return detect(draws, truth, *others)

    monkeypatch.setattr(simulation, "_detect", seen)
    event = simulate(topology, ra=10.0, dec=10.0, energy=3e4, seed=5, vertex=(50.0, 50.0, -100.0))
    again = simulation.resimulate(truths[0], 5, ic86(), simulation.DEFAULT_MJD)
    assert {stop: frame.to_bytes() for stop, frame in again.frames.items()} == {
        stop: frame.to_bytes() for stop, frame in event.frames.items()
    }


def test_fit_without_losses_cannot_be_simulated(original: PreparedEvent) -> None:
    with pytest.raises(InputError, match="no energy losses"):
        truth_of(fit_at(START, 1.0, (0.0,)), original.mjd)


def test_event_that_does_not_trigger_is_a_failed_fit(original: PreparedEvent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fitter, "fit", lambda _, start: fit_at(start, 1.0, (0.5,)))
    fit = Resimulations(Fitters(), "test", original).fit(START)
    assert math.isnan(fit.llh)
    assert fit.reason.startswith(
        "re-simulation: none of 20 simulated events can be fitted; the last one: this cascade "
    )


def test_failed_fits_have_their_reason(original: PreparedEvent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Fitter, "locate", lambda _, start: Located(failed_fit(start, FitStatus.GeneralFailure, "dark"), np.eye(2))
    )
    assert Resimulations(Fitters(), "test", original).fit(START).reason == "re-simulation: dark"
    monkeypatch.setattr(Fitter, "fit", lambda _, start: failed_fit(start, FitStatus.GeneralFailure, "no start"))
    reason = Resimulations(Fitters(), "test", original).fit(START).reason
    assert reason == "re-simulation: the event cannot be fitted at its best direction: no start"


def test_simulated_event_that_cannot_be_set_up_is_a_failed_fit(original: PreparedEvent) -> None:
    class OnlyTheOriginal(Fitters):
        def set_up(self, event: PreparedEvent) -> Fitter:
            if self.events:
                raise ReconstructionError("nothing is left to fit")
            return super().set_up(event)

    fit = Resimulations(OnlyTheOriginal(), "test", original).fit(START)
    assert fit.reason == "re-simulation: nothing is left to fit"


@pytest.mark.parametrize("method", ["fit", "locate"])
def test_fault_of_the_machine_is_no_failed_fit(
    original: PreparedEvent, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def broken(*_: object) -> Fit:
        raise ReconstructionError("the kernels cannot be read")

    resimulations = Resimulations(Fitters(), "test", original)
    monkeypatch.setattr(Fitter, method, broken)
    with pytest.raises(ReconstructionError, match="the kernels cannot be read"):
        resimulations.fit(START)


def test_reconstruction_that_cannot_locate_is_named(original: PreparedEvent) -> None:
    with pytest.raises(ReconstructionError, match="reconstruction 'dummy' cannot fit a direction"):
        Resimulations(Dummy(), "dummy", original)
    with pytest.raises(ReconstructionError, match="reconstruction 'dummy' cannot fit a direction"):
        check_can_locate("dummy", {}, original)


@given(ANGLES, st.floats(-0.4, 0.4), st.floats(-0.4, 0.4))
def test_turned_direction_is_as_far_as_the_arc_is_long(angles: tuple[float, float], south: float, east: float) -> None:
    zenith, azimuth = turned(*angles, south, east)
    away = angular_separation(azimuth, math.pi / 2 - zenith, angles[1], math.pi / 2 - angles[0])
    assert float(away) == pytest.approx(math.hypot(south, east), abs=1e-7)
    near = turned(*angles, south * 1e-4, east * 1e-4)
    assert near[0] - angles[0] == pytest.approx(south * 1e-4, abs=1e-6)


@given(ANGLES, st.floats(1e-9, 1.0), st.floats(1e-9, 1.0), st.floats(-0.99, 0.99))
def test_starts_lie_where_the_region_of_99_percent_ends(
    angles: tuple[float, float], zz: float, aa: float, correlation: float
) -> None:
    fit = fit_at(replace(START, zenith=angles[0], azimuth=angles[1]), 1.0)
    za = correlation * math.sqrt(zz * aa)
    found = list(directions_around(Located(fit, np.array([[zz, za], [za, aa]])), fit))
    assert len(set(found)) == AROUND
    longest = REACH * math.sqrt((zz + aa + math.hypot(zz - aa, 2 * za)) / 2)
    for zenith, azimuth in found:
        away = float(angular_separation(azimuth, math.pi / 2 - zenith, angles[1], math.pi / 2 - angles[0]))
        assert NEAREST - 1e-7 <= away <= min(max(longest, NEAREST), FARTHEST) + 1e-7


@pytest.mark.parametrize("covariance", [[[math.nan] * 2] * 2, [[0.0] * 2] * 2, [[1.0, 2.0], [2.0, 1.0]]])
def test_unknown_covariance_gives_the_smallest_circle(covariance: list[list[float]]) -> None:
    fit = fit_at(START, 1.0)
    for zenith, azimuth in directions_around(Located(fit, np.array(covariance)), fit):
        away = float(angular_separation(azimuth, math.pi / 2 - zenith, START.azimuth, math.pi / 2 - START.zenith))
        assert away == pytest.approx(NEAREST)
