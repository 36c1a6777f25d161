from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skymap_scanner.detector.coordinates import equatorial_to_detector, travel_direction
from skymap_scanner.errors import InputError, ReconstructionError
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.event.preparation import prepare as prepare_event
from skymap_scanner.event.sources import read_event
from skymap_scanner.i3 import FitStatus, Pulses
from skymap_scanner.reconstruction.millipede import Millipede, search
from skymap_scanner.reconstruction.millipede.fitter import MillipedeFitter
from skymap_scanner.reconstruction.millipede.gradient import gradient
from skymap_scanner.reconstruction.millipede.likelihood import evaluate
from skymap_scanner.reconstruction.millipede.search import HOPELESS, OF_CASCADE, OF_TRACK, fit_cascade, fit_track
from skymap_scanner.reconstruction.millipede.segments import make_line
from skymap_scanner.reconstruction.protocol import Fit, Start
from skymap_scanner.scan.seeds import seed_positions
from skymap_scanner.simulation import Variation, read_truth, simulate

from .conftest import AZIMUTH, ENERGIES, VERTEX, ZENITH, draw_pulses


def start(event: PreparedEvent, zenith: float = ZENITH, azimuth: float = AZIMUTH, **changes: object) -> Start:
    whole = Start(zenith, azimuth, tuple(event.vertex.tolist()), event.vertex_time)
    return replace(whole, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def truth_fit(event: PreparedEvent, fitter: MillipedeFitter) -> Fit:
    return fitter.fit(start(event))


def test_fit_recovers_position_and_energies_of_a_track(truth_fit: Fit) -> None:
    assert truth_fit.status is FitStatus.OK
    assert truth_fit.reason == ""
    strongest = max(truth_fit.losses, key=lambda loss: loss.energy)
    assert np.linalg.norm(np.array(strongest.position) - VERTEX) < 20
    assert truth_fit.energy_total == pytest.approx(sum(ENERGIES.values()), rel=0.15)
    assert truth_fit.energy_in <= truth_fit.energy_total
    assert truth_fit.energy_in == pytest.approx(sum(ENERGIES.values()), rel=0.15)
    assert math.fsum(loss.energy for loss in truth_fit.losses) == pytest.approx(truth_fit.energy_total)
    assert all(loss.energy > 0 for loss in truth_fit.losses)
    assert 50 < truth_fit.evaluations < 200


def test_losses_lie_on_the_track_in_step_with_light(truth_fit: Fit) -> None:
    direction = travel_direction(ZENITH, AZIMUTH)
    for loss in truth_fit.losses:
        away = np.array(loss.position) - truth_fit.position
        along = float(away @ direction)
        assert np.linalg.norm(away - along * direction) < 1e-6
        assert loss.time - truth_fit.time == pytest.approx(along / 0.299792458, abs=1e-6)
        assert along / 5.0 == pytest.approx(round(along / 5.0), abs=1e-4)


def test_cascade_fit_of_nan_never_beats_the_track(
    event: PreparedEvent, fitter: MillipedeFitter, truth_fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "fit_cascade", lambda *given: fit_cascade(*given)._replace(f=math.nan))
    assert fitter.fit(start(event)) == truth_fit


def test_true_direction_is_the_best_fit_of_its_neighbourhood(
    event: PreparedEvent, fitter: MillipedeFitter, truth_fit: Fit
) -> None:
    for zenith, azimuth in ((ZENITH + 0.4, AZIMUTH), (ZENITH, AZIMUTH + 0.4), (math.pi - ZENITH, AZIMUTH + math.pi)):
        assert fitter.fit(start(event, zenith, azimuth)).llh > truth_fit.llh + 3


def test_fits_are_bitwise_equal_in_any_order_thread_and_fitter(event: PreparedEvent, fitter: MillipedeFitter) -> None:
    starts = [
        start(event, zenith, azimuth, position=position, warm=warm)
        for zenith, azimuth in ((1.2, 2.0), (2.5, 4.0))
        for position in seed_positions(event.vertex, 3)
        for warm in (False, True)
    ]
    first = [fitter.fit(one) for one in starts]
    order = np.random.default_rng(3).permutation(len(starts))
    shuffled = {int(i): fitter.fit(starts[i]) for i in order}
    other = Millipede().set_up(event)
    again = [other.fit(one) for one in starts[:3]]
    with ThreadPoolExecutor(2) as threads:
        beside = list(threads.map(fitter.fit, starts))
    assert [shuffled[i] for i in range(len(starts))] == first
    assert again == first[:3]
    assert beside == first


def test_fit_started_at_its_result_is_as_good_and_cheaper(
    event: PreparedEvent, fitter: MillipedeFitter, truth_fit: Fit
) -> None:
    warm = fitter.fit(start(event, position=truth_fit.position, time=truth_fit.time, warm=True))
    assert warm.llh < truth_fit.llh + 0.5
    assert warm.evaluations < 0.4 * truth_fit.evaluations


@pytest.mark.parametrize("turn", [0.001, 0.01, 0.1])
def test_warm_start_from_any_distance_is_as_good(
    event: PreparedEvent, fitter: MillipedeFitter, truth_fit: Fit, turn: float
) -> None:
    cold = fitter.fit(start(event, ZENITH + turn))
    warm = fitter.fit(start(event, ZENITH + turn, position=truth_fit.position, time=truth_fit.time, warm=True))
    assert warm.llh < cold.llh + 0.1
    assert warm.evaluations < 0.4 * cold.evaluations


def test_cascade_far_above_a_track_is_given_up_early(fitter: MillipedeFitter, truth_fit: Fit) -> None:
    event = fitter._surfaces.event
    line = make_line(np.array(truth_fit.position), travel_direction(ZENITH, AZIMUTH))
    time, track = truth_fit.time - fitter._reference, truth_fit.llh - fitter._constant
    alone = fit_cascade(event, [(line, time)], OF_CASCADE, math.inf)
    beside = fit_cascade(event, [(line, time)], OF_CASCADE, track)
    assert track + HOPELESS < alone.f < beside.f
    assert beside.evaluations < 0.2 * alone.evaluations


@pytest.mark.parametrize("warm", [False, True])
def test_track_that_leaves_the_cube_has_no_fit(
    fitter: MillipedeFitter, truth_fit: Fit, monkeypatch: pytest.MonkeyPatch, warm: bool
) -> None:
    def leave(_likelihood: object, time: float, _how: object) -> search.Refined:
        return search.Refined(line.moved(2000.0, 0.0, 0.0), time, np.zeros(0), np.zeros(0), 0.0, 1)

    line = make_line(np.array(truth_fit.position), travel_direction(ZENITH, AZIMUTH))
    monkeypatch.setattr(search, "descended", leave)
    time = truth_fit.time - fitter._reference
    assert fit_track(fitter._surfaces.event, line, time, OF_TRACK, warm=warm) is None


@pytest.mark.parametrize("zenith", [0.0, math.pi / 2, math.pi])
def test_directions_along_an_axis_are_fitted(event: PreparedEvent, fitter: MillipedeFitter, zenith: float) -> None:
    fit = fitter.fit(start(event, zenith, 0.0))
    assert fit.status is FitStatus.OK
    assert math.isfinite(fit.llh)


@pytest.mark.parametrize(
    "change",
    [
        {"zenith": math.nan},
        {"time": math.inf},
        {"position": (0.0, math.nan, 0.0)},
        {"position": (5000.0, 5000.0, 5000.0), "zenith": 0.0},
    ],
)
def test_hopeless_seed_is_a_failed_fit_with_a_reason(
    event: PreparedEvent, fitter: MillipedeFitter, change: dict[str, object]
) -> None:
    fit = fitter.fit(start(event, **change))  # type: ignore[arg-type]
    assert fit.status is FitStatus.MissingSeed
    assert math.isnan(fit.llh)
    assert fit.losses == ()
    assert "not finite" in fit.reason or "does not cross" in fit.reason


def test_located_direction_is_the_best_and_its_covariance_honest(
    event: PreparedEvent, fitter: MillipedeFitter, truth_fit: Fit
) -> None:
    away = start(event, ZENITH + 0.02, AZIMUTH - 0.02, position=truth_fit.position, time=truth_fit.time, warm=True)
    located = fitter.locate(away)
    assert located.fit.llh < min(truth_fit.llh, fitter.fit(away).llh)
    offset = np.array([located.fit.zenith - ZENITH, (located.fit.azimuth - AZIMUTH) * math.sin(ZENITH)])
    chi_square = float(offset @ np.linalg.solve(located.covariance, offset))
    assert chi_square < 14  # 0.1 % of a chi square with two degrees of freedom
    assert math.degrees(math.sqrt(np.linalg.det(located.covariance)) ** 0.5) < 10
    # the parabola holds: one sigma away, on both sides on average, -ln L is half a unit higher
    sigma = math.sqrt(located.covariance[0, 0] - located.covariance[0, 1] ** 2 / located.covariance[1, 1])
    beside = [
        fitter.fit(Start(located.fit.zenith + step, located.fit.azimuth, located.fit.position, located.fit.time, True))
        for step in (sigma, -sigma)
    ]
    assert np.mean([fit.llh for fit in beside]) - located.fit.llh == pytest.approx(0.5, abs=0.25)


def test_hypothesis_of_one_cascade_wins_where_it_is_true(prepare: Callable[..., PreparedEvent]) -> None:
    one = prepare(draw_pulses({0.0: 30_000.0}))
    fit = Millipede().set_up(one).fit(start(one))
    assert fit.topology == "cascade"
    assert len(fit.losses) == 1
    assert fit.losses[0].energy == pytest.approx(30_000, rel=0.1)
    assert np.linalg.norm(np.array(fit.position) - VERTEX) < 10


def test_cascade_in_other_ice_is_still_a_cascade() -> None:
    """A track fits better by 15 in ln L, since its losses adapt to unexpected light."""
    other = Variation(absorption=0.93, hole_ice=0.83)
    simulated = simulate("cascade", energy=138_424, seed=3761665870, ice="spice_ftp_v3m", variation=other)
    event, truth = prepare_event(simulated), read_truth(simulated.frames["P"])
    assert truth is not None
    fit = Millipede().set_up(event).fit(start(event, truth.zenith, truth.azimuth))
    assert fit.topology == "cascade"


@pytest.mark.parametrize("change", [{"time": 1e9}, {"time": -1e9}, {"position": (3000.0, 0.0, 0.0), "azimuth": 0.0}])
def test_distant_seed_gives_a_finite_result_or_a_reason(
    event: PreparedEvent, fitter: MillipedeFitter, change: dict[str, object]
) -> None:
    fit = fitter.fit(start(event, math.pi / 2, **change))  # type: ignore[arg-type]
    assert math.isfinite(fit.llh) or fit.reason


def test_one_dom_with_pulses_is_enough_for_an_answer(prepare: Callable[..., PreparedEvent], pulses: Pulses) -> None:
    busiest = np.argmax(np.bincount(pulses.string * 100 + pulses.om))
    one = (pulses.string * 100 + pulses.om) == busiest
    columns = {name: getattr(pulses, name)[one] for name in ("string", "om", "pmt", "time", "charge", "width", "flags")}
    event = prepare(Pulses(**columns))
    fit = Millipede().set_up(event).fit(start(event))
    assert fit.status is FitStatus.OK
    assert math.isfinite(fit.llh)


def test_compiling_ahead_calls_the_kernels_of_a_fit(capsys: pytest.CaptureFixture[str]) -> None:
    Millipede().compile()
    assert capsys.readouterr().out == ""
    assert gradient.signatures == gradient.signatures[:1]  # one specialisation serves all fits
    assert evaluate.signatures == evaluate.signatures[:1]


def test_event_without_charge_is_rejected(prepare: Callable[..., PreparedEvent], pulses: Pulses) -> None:
    columns = {name: getattr(pulses, name)[:0] for name in ("string", "om", "pmt", "time", "charge", "width", "flags")}
    with pytest.raises(ReconstructionError, match="no charge of pulses is left to fit"):
        Millipede().set_up(prepare(Pulses(**columns)))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"ice": "snow"}, "snow"),
        ({"light_range": 5.0}, "light_range"),
        ({"light_range": math.nan}, "light_range"),
        ({"bin_width": 1.0}, "bin_width"),
        ({"bin_width": math.nan}, "bin_width"),
        ({"model_error": -0.1}, "model_error"),
        ({"model_error": math.nan}, "model_error"),
        ({"photon_table": "no/such.npz"}, "cannot read the photon table"),
    ],
)
def test_invalid_parameters_are_rejected(event: PreparedEvent, parameters: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Millipede(**parameters).set_up(event)  # type: ignore[arg-type]


def test_parameters_change_the_fit(event: PreparedEvent, truth_fit: Fit) -> None:
    other_ice = Millipede(ice="spice_lea").set_up(event).fit(start(event, warm=True))
    farther = Millipede(light_range=450.0).set_up(event).fit(start(event, warm=True))
    finer = Millipede(bin_width=20.0).set_up(event).fit(start(event, warm=True))
    certain = Millipede(model_error=0.0).set_up(event).fit(start(event, warm=True))
    fits = (truth_fit, other_ice, farther, finer, certain)
    assert len({fit.llh for fit in fits}) == len({fit.likelihood for fit in fits}) == 5


def test_best_pixel_of_a_real_track_agrees_with_icecube(shared: Path) -> None:
    """Of the 12 pixels of nside 1, Millipede's and SplineMPE's best is pixel 6; here against its best rivals."""
    event = prepare_event(read_event(str(shared / "data/events/138632_31747601.json")))
    fitter = Millipede().set_up(event)
    llh = {}
    for pixel, ra, dec in ((6, 180.0, 0.0), (9, 135.0, -41.8103), (1, 135.0, 41.8103)):
        zenith, azimuth = equatorial_to_detector(math.radians(ra), math.radians(dec), event.mjd)
        llh[pixel] = min(
            fitter.fit(Start(float(zenith), float(azimuth), position, event.vertex_time)).llh
            for position in seed_positions(event.vertex, 3)
        )
    assert min(llh, key=lambda pixel: llh[pixel]) == 6
    assert llh[6] < llh[9] - 150
