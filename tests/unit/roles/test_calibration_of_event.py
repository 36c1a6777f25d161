"""Whole scans that calibrate for their event: kills and resumes change no threshold."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from testing.plugins import install_reconstruction
from testing.processes import is_alive, roles
from testing.waiting import eventually
from tests.unit.roles.conftest import Command, Scan, running
from tests.unit.roles.test_save_now import unfinished_copy

from skymap_api.names import ScanTopics
from skymap_api.progress import Progress, ProgressPhase
from skymap_scanner.broker import open_broker
from skymap_scanner.broker.protocol import Message, Outgoing, arrived
from skymap_scanner.errors import ReconstructionError
from skymap_scanner.event.preparation import prepare
from skymap_scanner.i3 import FitStatus, Frame, I3Bool, I3Double, I3Int, read_frames
from skymap_scanner.reconstruction.protocol import Fit, Start, failed_fit
from skymap_scanner.results import calibration
from skymap_scanner.results.result import result_to_json
from skymap_scanner.roles.fit_validation import FitValidator, RejectedFitError
from skymap_scanner.roles.producer.planning import scan_entry
from skymap_scanner.roles.producer.producer import produce
from skymap_scanner.roles.readers import BestFits
from skymap_scanner.roles.saver.saver import save_now
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.task_frames import PixelFit, decode_task, fit_frame
from skymap_scanner.roles.tasks import TaskMaker
from skymap_scanner.roles.topics import create_topics
from skymap_scanner.roles.worker import worker
from skymap_scanner.scan.pixels import Pixel, resimulation, whole_sky
from skymap_scanner.scan.plan import Plan
from skymap_scanner.scan.plan_entries import CalibrationEntry, level_entry
from skymap_scanner.scan.seeds import Round

MakeScan = Callable[..., Scan]

#: A reconstruction of another package. Its -ln L is a bowl whose bottom follows the light, so that other ice moves it;
#: the event has one loss, at the place where the fit starts.
BOWLS = """
import math, time
import numpy as np
from skymap_scanner.detector.coordinates import travel_direction
from skymap_scanner.i3 import FitStatus
from skymap_scanner.reconstruction.locate import as_locator
from skymap_scanner.reconstruction.protocol import Fit, Located, Loss, failed_fit

class Bowls:
    identity = "bowls 1"

    def __init__(self, *, energy: float = 2e4, seconds: float = 0.0, fails: bool = False) -> None:
        self.energy, self.seconds, self.fails = energy, seconds, fails

    def set_up(self, event):
        return Bowl(self, event)

    def compile(self):
        pass

class Bowl:
    def __init__(self, bowls, event):
        self.bowls, self.resimulated = bowls, event.name.endswith(".simulation")
        place = event.vertex / 20 if self.resimulated else np.zeros(3)
        self.zenith = 1.0 + math.radians(place[2] % 3.0)
        self.azimuth = 2.0 + math.radians(place[0] % 3.0)

    def fit(self, start):
        if self.bowls.seconds:
            time.sleep(self.bowls.seconds)
        if self.resimulated and self.bowls.fails:
            return failed_fit(start, FitStatus.GeneralFailure, "too dark")
        cosine = float((travel_direction(start.zenith, start.azimuth)
                        * travel_direction(self.zenith, self.azimuth)).sum())
        degrees = math.degrees(math.acos(min(1.0, cosine)))
        return Fit(FitStatus.OK, 1000 + degrees**2 / 2, start.zenith, start.azimuth, start.position, start.time,
                   self.bowls.energy, self.bowls.energy, (Loss(start.position, start.time, self.bowls.energy),),
                   topology="cascade", likelihood="bowls 1")

    def locate(self, start):
        from dataclasses import replace
        return Located(self.fit(replace(start, zenith=self.zenith, azimuth=self.azimuth)), np.eye(2) * 3e-4)
"""


@pytest.fixture(autouse=True)
def bowls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_reconstruction(tmp_path, monkeypatch, "bowls", BOWLS)


@pytest.fixture
def few(scan: MakeScan, monkeypatch: pytest.MonkeyPatch) -> MakeScan:
    """Make scans with 12 re-simulations, and thresholds from that few."""
    monkeypatch.setattr(calibration, "MIN_EVENTS", 10)

    def make(folder: str = "scan", levels: str = "1:0 4:2", **changes: Any) -> Scan:
        given = {"reconstruction": "bowls", "parameters": {}, "seeds": 1, "calibrate": 12} | changes
        return scan(levels, folder, **given)

    return make


def metadata(scan: Scan) -> dict[str, Any]:
    content = json.loads(scan.json)
    return dict(content[max(content, key=lambda key: int(key.partition("-")[2]))]["metadata"])


def resimulated(scan: Scan) -> list[Frame]:
    frames = list(read_frames(scan.folder / "scan.i3"))[5:]
    return [frame for frame in frames if frame["SCAN_HealpixNSide"].value == 0]


def test_results_state_thresholds_of_the_event(few: MakeScan) -> None:
    one = few()
    one.run()
    found = metadata(one)
    deltas = sorted(2 * frame["SCAN_NegLogLikelihood"].value for frame in resimulated(one))
    assert len(set(deltas)) == 12  # each in ice of its own
    assert found["contours"] == "calibrated"
    assert found["two_delta_llh_50"] == deltas[6]
    assert found["two_delta_llh_90"] == deltas[11]
    assert found["contours_statement"].startswith("Contours calibrated with 12 re-simulations of this event (ice")
    assert found["contours_source"].startswith("this scan, 12 re-simulations of its best fit, 0 without a fit; 68%")
    assert found["contours_source"].endswith("; bowls 1")
    frames = resimulated(one)
    assert [frame["SCAN_HealpixPixel"].value for frame in frames] == list(range(12))
    pixels = [frame for frame in read_frames(one.folder / "scan.i3") if "SCAN_NegLogLikelihood" in frame][:-12]
    best = min(pixels, key=lambda frame: frame["SCAN_NegLogLikelihood"].value)
    assert {frame["MillipedeSeedParticle"].dir.zenith for frame in frames} == {best["MillipedeSeedParticle"].dir.zenith}
    assert {"nside-1", "nside-4"} == set(json.loads(one.json))


def test_progress_counts_resimulations(few: MakeScan) -> None:
    one = few()
    one.run()
    with open_broker(one.url) as broker, broker.reader(one.topics.progress) as reader:
        snapshots = [Progress.model_validate_json(message.payload) for message in arrived(reader, 0)]
    last = snapshots[-1]
    assert last.phase is ProgressPhase.DONE
    assert last.calibration is not None
    assert (last.calibration.done, last.calibration.planned, last.calibration.failed) == (12, 12, 0)
    assert last.fits.done == last.fits.started == last.fits.planned == 12 + 32 + 12
    assert (last.done, last.planned) == (12 + 32, 12 + 32)
    for snapshot in snapshots:
        assert snapshot.calibration is not None
        assert snapshot.fits.done <= snapshot.fits.started <= snapshot.fits.planned


def test_scan_saved_before_its_last_resimulation_is_partial(few: MakeScan, tmp_path: Path) -> None:
    """All pixels are there and the plan has ended, but the contours are not those of the finished scan."""
    one = few(levels="1:0")
    one.run()
    for missing, complete in ((0, True), (1, False), (12, False)):
        folder = tmp_path / str(missing)
        url = f"sqlite:///{folder}.sqlite"
        unfinished_copy(one, url, plan=10**6, fits=12 + 12 - missing)
        with open_broker(url) as broker:
            saved = save_now(broker, one.topics, replace(one.saver, output=folder / "saved.i3", results=folder))
        assert saved.scanned == 12
        assert saved.complete is complete
        assert (b"".join(result_to_json(saved)) == one.json) is complete


@pytest.mark.parametrize("numbers", [{"workers": 1}, {"workers": 3, "producers": 2, "collectors": 2}])
def test_files_do_not_depend_on_roles(few: MakeScan, numbers: dict[str, int]) -> None:
    plain, other = few("plain"), few("other", predictive=0.5)
    plain.run()
    other.run(**numbers)
    assert (other.json, other.i3) == (plain.json, plain.i3)


def test_duplicate_lost_and_foreign_messages_change_nothing(few: MakeScan) -> None:
    plain, one, longer = few("plain"), few("one"), few("longer", calibrate=14)
    plain.run()
    longer.run()
    with open_broker(longer.url) as broker, broker.reader(longer.topics.scanned) as reader:
        foreign = [
            Outgoing(fit.payload, key=fit.key, properties=fit.properties)
            for fit in arrived(reader, 0)
            if fit.key in {"0/12", "0/13"}  # this scan has no such re-simulation
        ]
    assert len(foreign) == 2
    with open_broker(one.url) as broker:
        create_topics(broker, one.topics)
        with broker.producer(one.topics.scanned, "stranger") as stranger:
            stranger.send(*foreign)
    one.run()
    assert (one.json, one.i3) == (plain.json, plain.i3)
    with open_broker(one.url) as broker:
        for topic in (one.topics.to_be_scanned, one.topics.scanned, one.topics.collected):
            with broker.reader(topic) as reader, broker.producer(topic, "again") as again:
                messages = [Outgoing(m.payload, key=m.key, properties=m.properties) for m in arrived(reader, 0)]
                again.send(*messages)
    for path in (*one.folder.glob("*.json"), one.folder / "scan.i3"):
        path.unlink()
    one.run()  # as after a kill between the last file and the end of the process
    assert (one.json, one.i3) == (plain.json, plain.i3)


def test_invalid_fit_of_a_resimulation_is_made_again(few: MakeScan, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, one = few("plain"), few("one")
    plain.run()
    original, changed = worker.fit_frame, []

    def broken(frame: Frame, *rest: Any) -> bytes:
        payload = original(frame, *rest)
        made = Frame.from_bytes(payload)
        if made["SCAN_HealpixNSide"].value == 0 and len(changed) < 2:
            changed.append(made["SCAN_HealpixPixel"].value)
            made["SCAN_HealpixPixel"] = I3Int(11)
            made["SCAN_NegLogLikelihood"] = I3Double(1e9)
            return made.to_bytes()
        return payload

    monkeypatch.setattr(worker, "fit_frame", broken)
    one.run(workers=1)
    assert len(changed) == 2
    assert (one.json, one.i3) == (plain.json, plain.i3)


def test_resimulations_without_fit_leave_the_shipped_rule_with_the_reason(few: MakeScan) -> None:
    failing, dark = few("failing", parameters={"fails": True}), few("dark", parameters={"energy": 1.0})
    for one, reason in (
        (failing, "too dark"),
        (dark, "none of 20 simulated events can be fitted; the last one: this cascade"),
    ):
        one.run()
        found = metadata(one)
        assert (found["contours"], found["two_delta_llh_90"]) == ("wilks", 4.61)
        assert found["contours_statement"].endswith("Not calibrated for this event: 0 of 12 re-simulations have a fit.")
        assert {reason in frame["SCAN_FailureReason"].value for frame in resimulated(one)} == {True}


def test_workers_with_another_reconstruction_end_the_scan(few: MakeScan, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = worker.WorkerSettings(reconstruction="dummy")  # as with --fake-scan
    monkeypatch.setattr("tests.unit.roles.conftest.work", lambda *roles: worker.work(*roles, settings))
    one = few()
    one.run()
    assert (metadata(one)["contours"], metadata(one)["reconstruction"]) == ("wilks", "dummy")
    assert {"cannot fit a direction" in frame["SCAN_FailureReason"].value for frame in resimulated(one)} == {True}


def resimulation_fit(scan: Scan, number: int, **changes: Any) -> Message:
    """Return the message of a fit of a re-simulation, with ``changes`` of objects of its frame."""
    prepared = prepare(scan.event)
    entry = scan_entry(replace(scan.settings, calibrate=100), prepared, ("mf",), "software")
    plan = Plan()
    for one in (entry, level_entry(1, whole_sky(1), []), CalibrationEntry(nside=1, pixel=3)):
        plan.add(one)
    maker, fits = TaskMaker(entry, prepared), BestFits(entry.seeding)
    fits.add(PixelFit(Pixel(1, 3), 0, 5.0, (1.0, 2.0, 3.0), 4.0, 5.0, 6.0))
    (task,) = maker.tasks_of(Round(resimulation(number), 0), plan, fits) or ()
    sent = maker.message(task)
    decoded, frame = decode_task(sent.payload)
    assert decoded.start.number == number
    assert decoded.start.warm
    made = Frame.from_bytes(fit_frame(frame, failed_fit(task.start, FitStatus.GeneralFailure, "test"), "bowls"))
    for key, value in changes.items():
        made[key] = value
    return Message(0, made.to_bytes(), sent.key, sent.properties)


def test_fit_of_a_resimulation_must_be_of_this_scan(scan: MakeScan) -> None:
    one = scan("1:0", reconstruction="bowls", parameters={}, calibrate=60)

    def validator(calibrate: int) -> FitValidator:
        return FitValidator(
            scan_entry(replace(one.settings, calibrate=calibrate), prepare(one.event), ("mf",), "software")
        )

    assert validator(60).fit(resimulation_fit(one, 59)).pixel == resimulation(59)
    for message, calibrate, reason in (
        (resimulation_fit(one, 60), 60, "the scan has no re-simulation 60"),
        (resimulation_fit(one, 0), 0, "the scan has no re-simulation 0"),
        (resimulation_fit(one, 5, SCAN_HealpixPixel=I3Int(-1)), 60, "the scan has no re-simulation -1"),
        (resimulation_fit(one, 5, SCAN_HealpixPixel=I3Int(6)), 60, "has the identifiers of another task"),
        (resimulation_fit(one, 5, SCAN_PositionVariationIndex=I3Int(1)), 60, "the scan has no seed 1 at nside 0"),
        (resimulation_fit(one, 5, SCAN_WarmStart=I3Bool(False)), 60, "has a different start than its task"),
        (resimulation_fit(one, 5, SCAN_NegLogLikelihood=I3Double(math.inf)), 60, "has -ln L inf"),
    ):
        with pytest.raises(RejectedFitError, match=reason):
            validator(calibrate).fit(message)
    other = Frame.from_bytes(resimulation_fit(one, 5).payload)["MillipedeStarting2ndPass"]
    turned = replace(other, dir=replace(other.dir, zenith=other.dir.zenith + 0.1))
    with pytest.raises(RejectedFitError, match="has a different direction than the pixel"):
        validator(60).fit(resimulation_fit(one, 5, MillipedeStarting2ndPass=turned))


def test_scan_without_any_fit_simulates_nothing(
    few: MakeScan, change_fits: Callable[[Callable[[Start, Fit], Fit]], None]
) -> None:
    change_fits(lambda _, fit: replace(fit, llh=math.nan, status=FitStatus.GeneralFailure, reason="test"))
    one = few(levels="1:0")
    one.run()
    assert resimulated(one) == []


def test_reconstruction_that_cannot_locate_is_rejected_before_any_fit(few: MakeScan) -> None:
    one = few(reconstruction="dummy")
    with open_broker(one.url) as broker:
        with pytest.raises(ReconstructionError, match="reconstruction 'dummy' cannot fit a direction"):
            produce(broker, one.topics, one.event, one.settings, Stop())
        assert broker.topics("persistent://icecube/skymap/") == []


def test_run_rejects_it_before_it_writes_anything(
    command: Callable[..., Command], event_file: Path, tmp_path: Path
) -> None:
    words = ["run", event_file, "-o", "out", "--reconstruction", "dummy", "--calibrate", "60"]
    done = command(*words).run()
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: reconstruction 'dummy' cannot fit a direction")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_killed_run_continues_with_the_same_files(
    command: Callable[..., Command], event_file: Path, tmp_path: Path
) -> None:
    """Kill the run, and once each role, while the event is simulated again."""
    words = ["--levels", "1:0", "--seeds", "1", "--reconstruction", "bowls", "--parameter", "seconds=0.005"]
    words += ["--calibrate", "60", "--workers", "2", "--format", "json", "--format", "summary"]
    whole, killed = (["run", str(event_file), "-o", folder, *words] for folder in ("whole", "killed"))
    assert command(*whole).run().returncode == 0
    for role in ("worker", "collector", "producer", "saver", None):
        before = _resimulated(tmp_path / "killed")
        with running(command(*killed)) as run:
            if role != "producer":  # it may have nothing left to publish, and ends soon
                eventually(lambda run=run, n=before: run.poll() is not None or _resimulated(tmp_path / "killed") > n)
                assert run.poll() is None, "finished before it was killed"
            (pid, *_) = eventually(lambda run=run, role=role: roles(run.pid).get(role)) if role else [run.pid]
            os.kill(pid, signal.SIGKILL)
            eventually(lambda pid=pid: not is_alive(pid))
            run.kill()
            run.wait(60)
        if role == "worker":  # the first one: most re-simulations are still to be done
            assert not list((tmp_path / "killed").glob("run*"))
    assert command(*killed).run().returncode == 0
    files = {path.name: path.read_bytes() for path in (tmp_path / "whole").glob("run*")}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "killed").glob("run*")}
    (summary,) = (content for name, content in files.items() if name.endswith(".summary.txt"))
    assert b"Contours calibrated with 60 re-simulations of this event" in summary


def _resimulated(folder: Path) -> int:
    path = folder / "scan.sqlite"
    if not path.exists():
        return 0
    with open_broker(f"sqlite:///{path}") as broker, broker.reader(ScanTopics.of("scan").collected) as reader:
        return sum((message.key or "").startswith("0/") for message in arrived(reader, 0))
