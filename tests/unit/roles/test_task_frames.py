from __future__ import annotations

import gzip
import math
from dataclasses import replace
from pathlib import Path

import pytest

from skymap_scanner.errors import BrokerError
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.i3 import FitStatus, Frame, I3Double, I3Int, read_frames
from skymap_scanner.reconstruction.protocol import Fit, Loss, Start
from skymap_scanner.roles.task_frames import (
    MAX_FIT_BYTES,
    MAX_LOSSES,
    MAX_REASON,
    FitStatement,
    PixelFit,
    Provenance,
    Task,
    checked_fit,
    decode_fits,
    decode_statement,
    decode_task,
    encode_task,
    fit_frame,
    implausible,
)
from skymap_scanner.scan.pixels import Pixel

TASK = Task(Pixel(512, 1234567), 3, Start(1.5, 0.25, (1.0, -2.0, 3.5), 9876.5, warm=True))
FIT = Fit(
    status=FitStatus.OK,
    llh=5195.68,
    zenith=1.5,
    azimuth=0.25,
    position=(4.0, 5.0, 6.0),
    time=9800.25,
    energy_in=1.5e5,
    energy_total=2.5e5,
    losses=(Loss((1.0, 2.0, 3.0), 9700.0, 1e5), Loss((2.0, 3.0, 4.0), 9710.0, 1.5e5)),
    evaluations=250,
)


def read_best(payload: bytes) -> PixelFit:
    [answer] = decode_fits(payload)
    return answer.fit


def test_task_round_trips(prepared: PreparedEvent) -> None:
    task, frame = decode_task(encode_task(TASK, prepared, 7))
    assert task == TASK
    header = frame["I3EventHeader"]
    assert header.sub_event_stream == "SCAN_nside0512_pixel1234567_posvar0003"
    assert header.sub_event_id == 1234567
    assert (header.run_id, header.event_id) == (prepared.header.run_id, prepared.header.event_id)


def test_fit_round_trips(prepared: PreparedEvent) -> None:
    _, frame = decode_task(encode_task(TASK, prepared, 7))
    payload = fit_frame(frame, FIT, "millipede")
    assert read_best(payload) == PixelFit(TASK.pixel, 3, FIT.llh, FIT.position, FIT.time, 1.5e5, 2.5e5)
    [first, second] = decode_fits(payload + payload)  # as where all seeds are kept
    assert first == second
    assert (first.event, first.run, first.number, first.sub_event) == (prepared.name, 1, 2, TASK.pixel.index)
    assert first.directions == ((1.5, 0.25), (1.5, 0.25))
    assert first.warm
    stored = Frame.from_bytes(payload)
    assert stored["MillipedeStarting2ndPass_millipedellh"].logl == FIT.llh
    losses = stored["MillipedeStarting2ndPassParams"].value
    assert [loss.energy for loss in losses] == [1e5, 1.5e5]
    assert len({loss.minor_id for loss in losses}) == 2
    assert stored["SCAN_Reconstruction"].value == "millipede"
    assert "SCAN_FailureReason" not in stored


def test_statement_round_trips(prepared: PreparedEvent) -> None:
    _, frame = decode_task(encode_task(TASK, prepared, 7))
    stated = replace(FIT, topology="cascade", likelihood="millipede 7; table 1a2b")
    payload = fit_frame(frame.copy(), stated, "millipede")
    second = fit_frame(frame.copy(), replace(FIT, topology="track"), "millipede")
    provenance = Provenance("millipede", "millipede 7; table 1a2b")
    assert decode_statement(payload + second) == FitStatement("cascade", provenance, FIT.losses)
    assert [fit.provenance for fit in decode_fits(payload + second)] == [provenance, Provenance("millipede")]
    assert decode_statement(fit_frame(frame.copy(), FIT, "dummy")) == FitStatement(
        None, Provenance("dummy"), FIT.losses
    )


@pytest.mark.parametrize("name", ["two\nlines", "x" * 201, "Wilks’ theorem"])
def test_unreadable_statements_count_as_missing(name: str, prepared: PreparedEvent) -> None:
    _, frame = decode_task(encode_task(TASK, prepared, 7))
    fit = replace(FIT, topology="muon", likelihood=name)  # type: ignore[arg-type]
    assert decode_statement(fit_frame(frame.copy(), fit, name)) == FitStatement(losses=FIT.losses)
    other = fit_frame(frame.copy(), FIT, "dummy")
    numbered = Frame.from_bytes(other)
    numbered["SCAN_Reconstruction"] = I3Double(1.0)
    assert decode_statement(numbered.to_bytes()) == FitStatement(losses=FIT.losses)
    assert decode_fits(numbered.to_bytes())[0].provenance == Provenance()
    assert decode_statement(frame.to_bytes()) == FitStatement()
    assert decode_statement(b"nonsense") == FitStatement()


def test_failed_fit_has_a_reason_and_is_nan(prepared: PreparedEvent) -> None:
    _, frame = decode_task(encode_task(TASK, prepared, 7))
    failed = Fit(
        FitStatus.GeneralFailure, math.nan, 1.5, 0.25, (1, 2, 3), 4.0, math.nan, math.nan, (), reason="no light"
    )
    payload = fit_frame(frame, failed, "millipede")
    assert math.isnan(read_best(payload).llh)
    assert Frame.from_bytes(payload)["SCAN_FailureReason"].value == "no light"


def test_equal_tasks_have_equal_bytes_and_others_other_ids(prepared: PreparedEvent) -> None:
    assert encode_task(TASK, prepared, 7) == encode_task(TASK, prepared, 7)
    other = Task(TASK.pixel, 4, TASK.start)
    ids = [decode_task(encode_task(task, prepared, 7))[1]["MillipedeSeedParticle"].major_id for task in (TASK, other)]
    assert len(set(ids)) == 2


def test_task_has_the_keys_and_classes_of_the_original(prepared: PreparedEvent, shared: Path) -> None:
    original = next(f for f in read_frames(shared / "data/i3/scan_like.i3") if "MillipedeSeedParticle" in f)
    ours = decode_task(encode_task(TASK, prepared, 7))[1]
    assert {key: ours.type_name(key) for key in original} == {key: original.type_name(key) for key in original}


@pytest.mark.parametrize(
    "payload",
    [b"", b"nonsense", Frame("P").to_bytes(), gzip.compress(Frame("P").to_bytes())],
    ids=["nothing", "nonsense", "no task", "no task, compressed"],  # gzip's bytes have the time in them
)
def test_foreign_messages_are_rejected_with_advice(payload: bytes) -> None:
    for read in (decode_task, decode_fits):
        with pytest.raises(BrokerError, match="does another program use its topics"):
            read(payload)


def test_task_without_seed_is_rejected_with_its_pixel() -> None:
    frame = Frame("P")
    frame["SCAN_HealpixNSide"], frame["SCAN_HealpixPixel"], frame["SCAN_PositionVariationIndex"] = (
        I3Int(8),
        I3Int(5),
        I3Int(0),
    )
    with pytest.raises(BrokerError, match="task of pixel 8/5"):
        decode_task(frame.to_bytes())


@pytest.mark.parametrize(
    "nonsense",
    [
        {"llh": math.inf},
        {"llh": -math.inf},
        {"position": (math.nan, 5.0, 6.0)},
        {"position": (4.0, 5.0, math.inf)},
        {"time": math.nan},
        {"llh": -1e308},
        {"position": (4.0, 5.0, 1e300)},
        {"time": -1e12},
        {"energy_in": -1.0},
        {"energy_total": math.inf},
    ],
)
def test_implausible_values_fail_a_fit(nonsense: dict[str, object], prepared: PreparedEvent) -> None:
    bad = replace(FIT, **nonsense)  # type: ignore[arg-type]
    checked = checked_fit(bad, TASK.start)
    assert (checked.status, math.isnan(checked.llh)) == (FitStatus.GeneralFailure, True)
    assert (checked.position, checked.time, checked.evaluations) == (TASK.start.position, TASK.start.time, 250)
    assert checked.reason.startswith("the reconstruction returned ")
    _, frame = decode_task(encode_task(TASK, prepared, 7))
    unchecked = fit_frame(frame, bad, "another program")
    assert f"the reconstruction returned {implausible(read_best(unchecked))}" == checked.reason


def test_fit_of_too_many_losses_or_words_is_cut(prepared: PreparedEvent) -> None:
    many = checked_fit(replace(FIT, losses=FIT.losses[:1] * (MAX_LOSSES + 1)), TASK.start)
    assert (many.status, len(many.losses)) == (FitStatus.GeneralFailure, 0)
    assert many.reason == "the reconstruction returned 1001 losses, more than 1000"
    wordy = replace(FIT, llh=math.nan, reason="no minimum " * 1000)
    assert len(checked_fit(wordy, TASK.start).reason) == MAX_REASON
    largest = replace(FIT, losses=FIT.losses[:1] * MAX_LOSSES, reason="é" * MAX_REASON, likelihood="l" * 200)
    assert checked_fit(largest, TASK.start) == largest
    _, frame = decode_task(encode_task(TASK, prepared, 7))
    assert len(fit_frame(frame, largest, "millipede")) < MAX_FIT_BYTES / 1.5


def test_plausible_and_failed_fits_stay_unchanged() -> None:
    failed = replace(FIT, llh=math.nan, status=FitStatus.FailedToConverge, reason="no minimum")
    assert checked_fit(FIT, TASK.start) is FIT
    assert checked_fit(failed, TASK.start) is failed
