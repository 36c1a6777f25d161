"""Whole scans in threads of one process, with injected faults."""

from __future__ import annotations

import json
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from astropy.coordinates import SkyCoord
from astropy_healpix.core import healpix_to_lonlat
from tests.unit.roles.conftest import Scan

from skymap_api.progress import Progress, ProgressPhase
from skymap_scanner.broker import open_broker
from skymap_scanner.broker.protocol import Outgoing, SubscriptionType
from skymap_scanner.errors import InputError, ReconstructionError
from skymap_scanner.event.preparation import NO_BAD_DOMS
from skymap_scanner.healpix import pixel_area
from skymap_scanner.i3 import FitStatus, read_frames
from skymap_scanner.reconstruction.protocol import Fit, Start
from skymap_scanner.results.calibration import read_calibration
from skymap_scanner.roles.producer.producer import produce
from skymap_scanner.roles.saver import progress_reporter, scan_state
from skymap_scanner.roles.saver.saver import save
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.topics import create_topics

MakeScan = Callable[..., Scan]


def rows(scan: Scan) -> dict[str, list[list[float]]]:
    return {level: content["data"] for level, content in json.loads(scan.json).items()}


def progress(scan: Scan) -> Iterator[Progress]:
    with open_broker(scan.url) as broker, broker.reader(scan.topics.progress) as reader:
        while (message := reader.receive(0)) is not None:
            yield Progress.model_validate_json(message.payload)


def test_scan_finds_the_minimum_and_writes_pixels_in_order(scan: MakeScan) -> None:
    one = scan("1:0 4:3 8:4")
    one.run()
    found = rows(one)
    assert {level: len(data) for level, data in found.items()} == {"nside-1": 12, "nside-4": 48, "nside-8": 16}
    best = min(found["nside-8"], key=lambda row: row[1])
    frames = list(read_frames(one.folder / "scan.i3"))
    assert [frame.stop for frame in frames[:5]] == list("GCDQp")
    assert "I3Geometry" in frames[0]
    pixels = [(f["SCAN_HealpixNSide"].value, f["SCAN_HealpixPixel"].value) for f in frames[5:]]
    assert pixels == sorted(pixels)
    assert len(pixels) == 12 + 48 + 16
    centre = SkyCoord(*healpix_to_lonlat(int(best[0]), 8, order="ring"))
    assert centre.separation(SkyCoord(200, 20, unit="deg")).deg < 8
    last = list(progress(one))[-1]
    assert last.phase is ProgressPhase.DONE
    assert [(level.done, level.planned, level.decided) for level in last.levels] == [
        (12, 12, True),
        (48, 48, True),
        (16, 16, True),
    ]
    assert last.best is not None
    assert last.best.pixel == best[0]


def test_best_seed_is_kept_or_all_on_request(scan: MakeScan) -> None:
    best, every = scan("1:0", "best"), scan("1:0", "every", keep_all_seeds=True)
    best.run()
    every.run()
    seeds = Counter(
        frame["SCAN_PositionVariationIndex"].value for frame in list(read_frames(best.folder / "scan.i3"))[5:]
    )
    assert seeds == {0: 12}  # the dummy's best seed is the vertex itself
    frames = list(read_frames(every.folder / "scan.i3"))[5:]
    assert Counter(frame["SCAN_PositionVariationIndex"].value for frame in frames) == {0: 12, 1: 12, 2: 12}
    first_of_each = frames[::3]
    assert {frame["SCAN_PositionVariationIndex"].value for frame in first_of_each} == {0}
    assert rows(best) == rows(every)


@pytest.mark.parametrize("predictive", [0.2, 0.8])
def test_predicted_levels_give_the_same_files(scan: MakeScan, predictive: float) -> None:
    plain, ahead = scan("1:0 4:3 8:4", "plain"), scan("1:0 4:3 8:4", "ahead", predictive=predictive)
    plain.run(workers=1)
    ahead.run(workers=3)
    assert ahead.json == plain.json
    assert ahead.i3 == plain.i3


def test_results_and_progress_have_the_calibration_of_the_best_fit(
    scan: MakeScan,
    change_fits: Callable[[Callable[[Start, Fit], Fit]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thresholds = {"half": {"value": 60, "low": 50, "high": 70}, "ninety": {"value": 400, "low": 300, "high": 500}}
    content = {
        "version": "1", "likelihood": "test 1", "command": "test", "scanner_version": "0", "simulation": "none",
        "simulated": 200, "failed": 0,
        "ranges": [thresholds | {"topology": "track", "energy": [0, 1e6], "events": 200}],
    }  # fmt: skip
    file = read_calibration("test.json", json.dumps(content).encode())
    monkeypatch.setattr(scan_state, "shipped_calibrations", lambda: [file])
    found = {}
    for name, topology in (("calibrated", "track"), ("other", "cascade")):
        change_fits(lambda _, fit, topology=topology: replace(fit, topology=topology, likelihood="test 1"))  # type: ignore[misc]
        one = scan("4:0", name)
        one.run()
        best = list(progress(one))[-1].best
        assert best is not None
        assert best.contours == ("calibrated" if name == "calibrated" else "wilks")
        found[name] = (json.loads(one.json)["nside-4"]["metadata"], best.area_90)
    calibrated, other = found["calibrated"][0], found["other"][0]
    assert (calibrated["likelihood"], calibrated["topology"], calibrated["contours"]) == (
        "test 1",
        "track",
        "calibrated",
    )
    assert (calibrated["two_delta_llh_50"], calibrated["two_delta_llh_90"]) == (60, 400)
    assert calibrated["contours_source"].startswith("test.json, version 1, sha256 ")
    assert (other["topology"], other["contours"], other["two_delta_llh_90"]) == ("cascade", "wilks", 4.61)
    assert "Not calibrated: test.json has no cascades of 1 TeV." in other["contours_statement"]
    # the dummy's 2 delta ln L is the square of the distance in degrees: 400 ends 20 deg from its bottom
    assert found["calibrated"][1] == pytest.approx(math.pi * 20**2, rel=0.35)
    assert found["other"][1] == pytest.approx(pixel_area(4) * (180 / math.pi) ** 2)


def test_failed_pixels_neither_win_nor_stop_the_scan(
    scan: MakeScan, change_fits: Callable[[Callable[[Start, Fit], Fit]], None]
) -> None:
    good = scan("1:0 2:2", "good")
    good.run()
    best_zenith = min(
        (f["SCAN_NegLogLikelihood"].value, f["MillipedeSeedParticle"].dir.zenith)
        for f in list(read_frames(good.folder / "scan.i3"))[5:17]
    )[1]

    def fail_the_best(start: Start, fit: Fit) -> Fit:
        return (
            replace(fit, llh=math.nan, status=FitStatus.GeneralFailure, reason="test")
            if start.zenith == best_zenith
            else fit
        )

    change_fits(fail_the_best)
    bad = scan("1:0 2:2", "bad")
    bad.run()
    assert len(rows(bad)["nside-1"]) == 11  # the failed one is left out
    assert len(rows(bad)["nside-2"]) == 8
    last = list(progress(bad))[-1]
    assert last.levels[0].failed == 1
    assert last.best is not None
    assert not math.isnan(last.best.llh)


def test_scan_ends_without_best_fit_if_all_fits_fail(
    scan: MakeScan, change_fits: Callable[[Callable[[Start, Fit], Fit]], None]
) -> None:
    change_fits(lambda _, fit: replace(fit, llh=math.nan, status=FitStatus.GeneralFailure, reason="test"))
    one = scan("1:0 2:2")
    one.run()
    assert list(rows(one)) == ["nside-1"]
    last = list(progress(one))[-1]
    assert last.best is None
    assert last.levels[0].failed == 12


def test_scan_ends_once_the_area_is_known(
    scan: MakeScan, change_fits: Callable[[Callable[[Start, Fit], Fit]], None], caplog: pytest.LogCaptureFixture
) -> None:
    """With a width of 20 degrees the region holds 27 pixels of nside 4, and 108 of nside 8."""
    caplog.set_level("INFO")
    change_fits(lambda _, fit: replace(fit, llh=1000.0 + (fit.llh - 1000.0) / 400))
    one = scan("4:0 8:0.999:192 16:0.999:96 32:12", seeds=1)
    one.run()
    assert list(rows(one)) == ["nside-4", "nside-8"]
    found = list(progress(one))
    assert [level.nside for level in found[-1].levels] == [4, 8]
    assert found[-1].done == found[-1].planned
    assert found[-1].best is not None
    for snapshot in found:
        if snapshot.best is not None and snapshot.levels[0].done < 192:
            assert (snapshot.best.area_90, snapshot.best.caution) == (None, None)
    assert any("preview at nside 8: RA " in record.getMessage() for record in caplog.records)


def test_duplicate_messages_change_nothing(scan: MakeScan) -> None:
    once, twice = scan("1:0 4:2", "once"), scan("1:0 4:2", "twice")
    once.run()
    twice.run()
    with open_broker(twice.url) as broker:
        for topic in (twice.topics.to_be_scanned, twice.topics.scanned, twice.topics.collected):
            with broker.reader(topic) as reader, broker.producer(topic, "again") as again:
                messages = []
                while (message := reader.receive(0)) is not None:
                    messages.append(Outgoing(message.payload, key=message.key, properties=message.properties))
                again.send(*messages)
    for path in (*twice.folder.glob("*.json"), twice.folder / "scan.i3"):
        path.unlink()
    twice.run()
    assert twice.json == once.json
    assert twice.i3 == once.i3


def test_roles_may_restart_after_the_end(scan: MakeScan) -> None:
    one = scan("1:0 4:2")
    one.run()
    json_before, i3_before = one.json, one.i3
    for path in (*one.folder.glob("*.json"), one.folder / "scan.i3"):
        path.unlink()
    one.run()  # as after a kill between the last file and the end of the process
    assert (one.json, one.i3) == (json_before, i3_before)


def test_finished_scan_leaves_no_unacknowledged_message(scan: MakeScan) -> None:
    one = scan("1:0")
    one.run()
    with open_broker(one.url) as broker:
        for topic, subscription in (
            (one.topics.to_be_scanned, "workers"),
            (one.topics.scanned, "collector"),
        ):
            backlog = broker.backlog(topic, subscription)
            assert (backlog.waiting, backlog.unacked) == (0, 0), topic


def test_task_that_is_delivered_again_and_again_is_fitted(scan: MakeScan) -> None:
    one = scan("1:0", seeds=1)
    with open_broker(one.url) as broker:
        produce(broker, one.topics, one.event, one.settings, Stop())
        with broker.consumer(one.topics.to_be_scanned, "workers", SubscriptionType.SHARED) as tasks:
            for _ in range(10):  # as after ten power cuts during its fit
                message = tasks.receive(1)
                assert message is not None
                tasks.nack(message)
    one.run()
    assert len(rows(one)["nside-1"]) == 12


@pytest.mark.parametrize(
    ("expected", "why"),
    [
        ({"nside": 8}, "not nside 8 alone"),
        ({"area": "1,2,3"}, "has the area whole sky"),
        ({"pixels": "1"}, "has the pixels whole sky"),
    ],
)
def test_saver_rejects_an_unexpected_scan(scan: MakeScan, expected: dict[str, object], why: str) -> None:
    one = scan("1:0")
    one.saver = replace(one.saver, **expected)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=why):
        one.run()


@pytest.mark.parametrize(
    ("invalid", "why"),
    [
        ({"output": Path("out.fits")}, r"out\.fits: the name must end in \.i3"),
        ({"area": "x,y"}, "is not NSIDE,PIXEL,COUNT"),
        ({"pixels": "abc"}, "is neither a pixel nor a range"),
    ],
)
def test_invalid_option_ends_the_saver_before_a_scan(scan: MakeScan, invalid: dict[str, object], why: str) -> None:
    one = scan("1:0")
    with one.open() as broker, pytest.raises(InputError, match=why):
        save(broker, one.topics, replace(one.saver, **invalid), Stop())  # type: ignore[arg-type]


def test_different_scan_of_the_same_name_is_rejected(scan: MakeScan) -> None:
    one = scan("1:0")
    one.run()
    one.settings = replace(one.settings, seeds=2)
    with open_broker(one.url) as broker, pytest.raises(InputError, match="with seeds 3, not 2"):
        produce(broker, one.topics, one.event, one.settings, Stop())


def test_unknown_reconstruction_or_parameter_is_named(scan: MakeScan) -> None:
    with pytest.raises(ReconstructionError, match=r"no reconstruction is named 'magic': there are .*dummy"):
        scan("1:0", "a", reconstruction="magic").run()
    with pytest.raises(ReconstructionError, match=r"no parameter 'colour': it knows ra, dec"):
        scan("1:0", "b", parameters={"colour": 1}).run()


def test_results_say_that_bad_doms_were_not_known(scan: MakeScan) -> None:
    one = scan("1:0", seeds=1)
    one.saver = replace(one.saver, formats=("json", "summary"))
    one.run(workers=1)
    (text,) = one.folder.glob("*.summary.txt")
    assert "\nCAUTION: the event has no BadDomsList, so the DOMs " in text.read_text()
    (result,) = one.folder.glob("*_1.json")
    assert json.loads(result.read_text())["nside-1"]["metadata"]["caution"] == NO_BAD_DOMS


def test_foreign_messages_change_nothing(scan: MakeScan, caplog: pytest.LogCaptureFixture) -> None:
    plain, one = scan("1:0 2:2", "plain"), scan("1:0 2:2", "disturbed")
    plain.run()
    another = scan("2:0 4:1", "another", seeds=4)
    another.run()
    with open_broker(another.url) as broker, broker.reader(another.topics.scanned) as reader:
        fits = iter(lambda: reader.receive(0), None)
        foreign = [Outgoing(b"hello", key="x")]
        foreign += [Outgoing(fit.payload, key=fit.key, properties=fit.properties) for fit in fits]
    assert len(foreign) == 1 + (48 + 4) * 4
    with open_broker(one.url) as broker:
        create_topics(broker, one.topics)
        for topic in (one.topics.to_be_scanned, one.topics.collected):
            with broker.producer(topic, "stranger") as stranger:
                stranger.send(*foreign[:1])
        with broker.producer(one.topics.scanned, "stranger") as stranger:
            stranger.send(*foreign)
    one.run()
    assert (one.json, one.i3) == (plain.json, plain.i3)
    with open_broker(one.url) as broker:
        assert broker.backlog(one.topics.scanned, "collector").waiting == 0
        assert broker.backlog(one.topics.to_be_scanned, "workers").waiting == 0
    warned = [record.getMessage() for record in caplog.records if "rejected" in record.getMessage()]
    for topic in ("to_be_scanned", "scanned", "collected"):
        assert any("rejected a message (key x) on" in text and f"scan-{topic}: " in text for text in warned)


@pytest.mark.parametrize(
    "nonsense",
    [{"llh": -math.inf}, {"llh": math.inf}, {"position": (math.nan, 0.0, 0.0)}, {"time": math.inf}],
)
def test_implausible_fit_becomes_a_failed_fit(
    nonsense: dict[str, object], scan: MakeScan, change_fits: Callable[[Callable[[Start, Fit], Fit]], None]
) -> None:
    change_fits(lambda start, fit: replace(fit, **nonsense) if start.zenith > 1.6 else fit)  # type: ignore[arg-type]
    one = scan("1:0 2:2", seeds=1)
    one.run()
    failed = [f for f in read_frames(one.folder / "scan.i3") if "SCAN_FailureReason" in f]
    assert [f["MillipedeSeedParticle"].dir.zenith > 1.6 for f in failed] == [True] * len(failed)
    assert len(failed) >= 4
    assert all("the reconstruction returned" in f["SCAN_FailureReason"].value for f in failed)
    last = list(progress(one))[-1]
    assert last.best is not None
    assert math.isfinite(last.best.llh)


def test_partial_result_is_readable_during_the_scan(scan: MakeScan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_reporter, "PARTIAL_INTERVAL", 0.0)
    seen: list[int] = []
    original = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.name == progress_reporter.PARTIAL:
            seen.append(len(json.loads(path.read_text())["nside-1"]["data"]))
        original(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    one = scan("1:0")
    one.run()
    assert len(seen) == 1
    assert 1 <= seen[0] <= 12
    assert not (one.folder / progress_reporter.PARTIAL).exists()


def test_progress_of_a_new_saver_starts_where_the_last_one_ended(scan: MakeScan) -> None:
    one = scan("1:0 4:3")
    one.run()
    before = len(list(progress(one)))
    with one.open() as broker:
        assert save(broker, one.topics, one.saver, Stop())
    again = list(progress(one))[before:]
    assert again, "the new saver reports"
    assert {snapshot.done for snapshot in again} == {60}, "none has fewer pixels than the topics hold"


def test_progress_falls_back_if_the_fits_are_lost(scan: MakeScan) -> None:
    one = scan("1:0")
    one.run()
    with one.open() as broker:
        broker.delete_topic(one.topics.collected)
        create_topics(broker, one.topics)
        reader = broker.reader(one.topics.progress)
        while reader.receive(0) is not None:
            pass
        stop = Stop()
        saving = threading.Thread(target=lambda: save(broker, one.topics, one.saver, stop))
        saving.start()
        message = reader.receive(60)
        stop.request()
        saving.join(60)
    assert message is not None
    assert Progress.model_validate_json(message.payload).done == 0
