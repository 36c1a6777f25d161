"""Decisions of the collector, without a broker."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

import pytest

from skymap_scanner.broker import Message, Outgoing
from skymap_scanner.errors import SoftwareMismatchError
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.reconstruction.dummy import Dummy
from skymap_scanner.reconstruction.protocol import Fit
from skymap_scanner.roles.collector.decisions import Decision, PixelCollector, Republication
from skymap_scanner.roles.fit_validation import FitValidator, RejectedFitError
from skymap_scanner.roles.producer.planning import ScanSettings, scan_entry
from skymap_scanner.roles.task_frames import PixelFit, Task, decode_fits, decode_task, fit_frame
from skymap_scanner.roles.tasks import TaskMaker
from skymap_scanner.roles.work import WORK_PROPERTY, Work, encode_work
from skymap_scanner.scan.levels import parse_levels
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.plan import Plan
from skymap_scanner.scan.plan_entries import ScanEntry, level_entry, seeds_entry
from skymap_scanner.scan.seeds import Round

A, B = Pixel(1, 4), Pixel(1, 7)


class Fits:
    """Makes the fits of a scan with two seeds, as messages with increasing ids; the best one has seed 0."""

    def __init__(
        self,
        prepared: PreparedEvent,
        *,
        levels: str = "1:0",
        keep_all_seeds: bool = False,
        first_seeds: int | None = None,
    ) -> None:
        settings = ScanSettings(
            "scan",
            parse_levels(levels),
            seeds=2,
            first_seeds=first_seeds,
            reconstruction="dummy",
            keep_all_seeds=keep_all_seeds,
        )
        self.scan: ScanEntry = scan_entry(settings, prepared, ("mf_a",), "")
        self.plan = Plan()
        self.plan.add(self.scan)
        self._prepared = prepared
        self._maker = TaskMaker(self.scan, prepared)
        self._fitter = Dummy(ra=200.0, dec=20.0).set_up(prepared)
        self._number = 0

    def start(self, *pixels: Pixel) -> None:
        self.plan.add(level_entry(1, pixels, []))

    def of(self, pixel: Pixel, seed: int, **changes: object) -> Message:
        rounds = (self._maker.tasks(pixel, self._prepared, number) for number in range(self.scan.seeding.rounds))
        return self.answer([task for tasks in rounds for task in tasks][seed], **changes)

    def second_round(self, pixel: Pixel) -> list[Task]:
        return [*self._maker.tasks(pixel, self._prepared, 1)]

    def answer(self, task: Task, **changes: object) -> Message:
        fit: Fit = replace(self._fitter.fit(task.start), **changes)  # type: ignore[arg-type]
        sent = self._maker.message(task)
        return self.message(fit_frame(decode_task(sent.payload)[1], fit, "dummy"), sent)

    def message(self, payload: bytes, sent: Outgoing | None = None) -> Message:
        self._number += 1
        sent = sent or Outgoing(payload)
        return Message(self._number, payload, sent.key, sent.properties)

    def pixel_collector(self) -> PixelCollector:
        return PixelCollector(FitValidator(self.scan), "scanned")


@pytest.fixture
def fits(prepared: PreparedEvent) -> Fits:
    made = Fits(prepared)
    made.start(A, B)
    return made


def decide(
    pixel_collector: PixelCollector, messages: list[Message], fits: Fits, collected: Collection[Pixel] = ()
) -> Decision:
    stored = [PixelFit(pixel, 0, 5.0, (0.0, 0.0, 0.0), 0.0, 1.0, 1.0) for pixel in collected]
    return pixel_collector.decide(pixel_collector.validate(messages), fits.plan, stored)


def seeds(sent: Outgoing) -> list[int]:
    return [decoded.fit.seed for decoded in decode_fits(sent.payload)]


def test_pixel_is_stored_and_acknowledged_with_its_last_seed(fits: Fits) -> None:
    pixel_collector, first, last = fits.pixel_collector(), fits.of(A, 1), fits.of(A, 0)
    decision = decide(pixel_collector, [first], fits)
    assert (decision.best_fits, decision.to_acknowledge, decision.republications) == ([], [], [])
    decision = decide(pixel_collector, [last], fits)
    assert [(sent.key, seeds(sent)) for sent in decision.best_fits] == [("1/4", [0])]
    assert decision.to_acknowledge == [first, last]
    assert Round(A, 0) in pixel_collector.done
    assert len(pixel_collector.done) == 1


def test_all_seeds_are_stored_best_first_on_request(prepared: PreparedEvent) -> None:
    fits = Fits(prepared, keep_all_seeds=True)
    fits.start(A)
    (sent,) = decide(fits.pixel_collector(), [fits.of(A, 1), fits.of(A, 0)], fits).best_fits
    assert seeds(sent) == [0, 1]


def test_failed_fit_never_wins(fits: Fits) -> None:
    (sent,) = decide(fits.pixel_collector(), [fits.of(A, 0, llh=math.nan), fits.of(A, 1)], fits).best_fits
    assert seeds(sent) == [1]


def test_duplicate_fits_are_acknowledged_with_or_after_their_pixel(fits: Fits) -> None:
    pixel_collector = fits.pixel_collector()
    messages = [fits.of(A, 0), fits.of(A, 0), fits.of(A, 1), fits.of(A, 1)]
    decision = decide(pixel_collector, messages, fits)
    assert len(decision.best_fits) == 1
    assert decision.to_acknowledge == messages
    assert pixel_collector.duplicates == 2


def test_fits_of_pixels_stored_elsewhere_are_acknowledged(fits: Fits) -> None:
    pixel_collector, first, second, other = fits.pixel_collector(), fits.of(A, 0), fits.of(A, 1), fits.of(B, 0)
    decide(pixel_collector, [first, other], fits)
    assert decide(pixel_collector, [], fits, [A]).to_acknowledge == [first]
    decision = decide(pixel_collector, [second], fits)
    assert (decision.best_fits, decision.to_acknowledge) == ([], [second])
    assert pixel_collector.drop_incomplete() == [other]


def test_task_of_an_invalid_fit_is_republished_unless_answered(fits: Fits) -> None:
    pixel_collector = fits.pixel_collector()
    bad = fits.of(A, 1, position=(math.nan, 0.0, 0.0))
    (republication,) = decide(pixel_collector, [bad], fits).republications
    assert (republication.pixel, republication.seeds, republication.given_up) == (A, {1}, set())
    assert pixel_collector.rejected.kept == bad
    again = fits.of(A, 1, time=math.inf)
    decision = decide(pixel_collector, [fits.of(A, 1), again], fits)
    assert decision.republications == []
    assert decision.to_acknowledge == [again]


def test_fit_of_a_pixel_outside_the_plan_is_rejected(fits: Fits) -> None:
    pixel_collector = fits.pixel_collector()
    early = fits.of(Pixel(1, 0), 0)
    assert decide(pixel_collector, [early], fits).republications == []
    assert pixel_collector.rejected.kept == early


def test_finer_level_rejects_seeds_of_the_first_level(prepared: PreparedEvent) -> None:
    """Its only fit is the neighbour's, so such a fit would complete the second round."""
    fits = Fits(prepared, levels="1:0 4:1", first_seeds=1)
    assert [task.seed for task in fits.second_round(A)] == [1, 2]
    (task,) = fits.second_round(Pixel(4, 64))
    validator = FitValidator(fits.scan)
    assert validator.fit(fits.answer(task)).seed == task.seed == 2
    with pytest.raises(RejectedFitError, match="no seed 1 at nside 4"):
        validator.fit(fits.answer(replace(task, seed=1)))


def test_received_fit_names_its_round_valid_or_rejected(prepared: PreparedEvent) -> None:
    fits = Fits(prepared, first_seeds=1)
    messages = [fits.of(A, 0), fits.of(B, 1, time=math.inf), fits.message(b"not a fit")]
    received = fits.pixel_collector().validate(messages)
    assert [one.rounds(fits.scan.seeding) for one in received] == [{Round(A, 0)}, {Round(B, 1)}, set()]


def test_rounds_of_a_pixel_are_stored_one_by_one(prepared: PreparedEvent) -> None:
    fits = Fits(prepared, first_seeds=1)
    fits.start(A, B)
    pixel_collector, first, second, neighbour = fits.pixel_collector(), fits.of(A, 0), fits.of(A, 1), fits.of(A, 2)
    assert not pixel_collector.known(pixel_collector.validate([second]), fits.plan)
    (sent,) = decide(pixel_collector, [first], fits).best_fits
    assert seeds(sent) == [0]
    fits.plan.add(seeds_entry(1, [A]))
    assert pixel_collector.known(pixel_collector.validate([second]), fits.plan)
    assert [*pixel_collector.missing(fits.plan)] == [
        Republication(A, "no fit has arrived, but one was rejected", {1, 2}),
        Republication(B, "no fit has arrived, but one was rejected", {0}),
    ]
    decision = decide(pixel_collector, [fits.of(A, 0), second], fits)
    assert (decision.best_fits, pixel_collector.duplicates) == ([], 1)
    (sent,) = decide(pixel_collector, [neighbour], fits).best_fits
    assert seeds(sent) == [2]  # without a neighbour it starts from the vertex, where the dummy is lowest
    assert len(pixel_collector.done) == 2


def test_fit_of_a_round_that_the_plan_lacks_is_rejected(prepared: PreparedEvent) -> None:
    fits = Fits(prepared, first_seeds=1)
    fits.start(A)
    pixel_collector, early = fits.pixel_collector(), fits.of(A, 1)
    decide(pixel_collector, [early], fits)
    assert pixel_collector.rejected.kept == early


def test_missing_tasks_are_those_of_started_pixels_without_a_fit(fits: Fits) -> None:
    pixel_collector = fits.pixel_collector()
    decide(pixel_collector, [fits.of(A, 0)], fits)
    reason = "no fit has arrived, but one was rejected"
    assert [*pixel_collector.missing(fits.plan)] == [Republication(A, reason, {1}), Republication(B, reason, {0, 1})]
    decide(pixel_collector, [fits.of(A, 1)], fits, [B])
    assert [*pixel_collector.missing(fits.plan)] == []


def stated(fits: Fits, seed: int, likelihood: str, **changes: object) -> Message:
    """Return worker host-1's fit of pixel A with this likelihood."""
    message = fits.of(A, seed, likelihood=likelihood, **changes)
    work = encode_work(Work(worker="host-1", began=1.0, ended=2.0, attempt=1))
    return replace(message, properties=dict(message.properties) | {WORK_PROPERTY: work})


def test_fit_of_another_likelihood_is_rejected_with_its_worker(fits: Fits) -> None:
    pixel_collector, other = fits.pixel_collector(), stated(fits, 1, "bowl 2", llh=-5.0)
    decide(pixel_collector, [stated(fits, 0, "bowl 1")], fits)
    (republished,) = decide(pixel_collector, [other], fits).republications
    assert (republished.pixel, republished.seeds) == (A, {1})
    assert republished.reason.startswith("the worker host-1 fits by dummy (bowl 2), the fits before by dummy (bowl 1),")
    (sent,) = decide(pixel_collector, [stated(fits, 1, "bowl 1")], fits).best_fits
    assert seeds(sent) == [0]


def test_failed_fit_needs_no_likelihood(fits: Fits) -> None:
    pixel_collector = fits.pixel_collector()
    failed, fitted = stated(fits, 1, "", llh=math.nan), stated(fits, 0, "bowl 1")
    for messages in ([failed, fitted], [fitted, failed]):
        pixel_collector = fits.pixel_collector()
        (sent,) = decide(pixel_collector, messages, fits).best_fits
        assert seeds(sent) == [0]


def test_stored_best_fits_decide_what_makes_the_map(prepared: PreparedEvent) -> None:
    fits = Fits(prepared, keep_all_seeds=True)
    validator = FitValidator(fits.scan)
    validator.best_fit(stated(fits, 0, "bowl 1"))
    with pytest.raises(RejectedFitError, match="one map must not be made by both: stop this worker"):
        validator.fit(stated(fits, 0, "bowl 2"))
    for payload in (stated(fits, 0, "").payload, stated(fits, 0, "bowl 1").payload + stated(fits, 1, "bowl 2").payload):
        with pytest.raises(SoftwareMismatchError, match="scan again under another name"):
            validator.best_fit(fits.message(payload))
