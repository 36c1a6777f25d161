from __future__ import annotations

import io
import itertools
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console
from tests.unit.kubectl.scans import (
    DEGRADED,
    FAILED,
    NOW,
    OUTPUT_FAILED,
    SCANNING,
    STARTED,
    SUCCEEDED,
    SUSPENDED,
    condition,
    document,
    scan,
)

from skymap_scanner.cli.describe import describe, describe_event, line, next_steps, row, table
from skymap_scanner.cli.display import age
from skymap_scanner.cli.status import print_lines
from skymap_scanner.errors import ClusterError, ClusterUnavailable
from skymap_scanner.kubectl.scans import ClusterScan, watch_until_finished


def call(*words: str) -> str:
    return " ".join(["skymap-scanner", *words, "--namespace", "sky"])


def description(seen: ClusterScan) -> list[str]:
    """The description as lines of text."""
    out = io.StringIO()
    Console(file=out, width=100).print(describe(seen, NOW, call))
    return [one.rstrip() for one in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172_799, "47h"), (1e6, "11d")],
)
def test_ages_are_written_as_kubectl_does(seconds: float, text: str) -> None:
    assert age(seconds) == text


@pytest.mark.parametrize(
    ("status", "cells"),
    [
        (None, ["demo", "New", "", "", "", "", "", "3m"]),
        (SCANNING, ["demo", "Scanning", "64", "812/3072", "77.41° +5.71°", "12.3 deg²", "14/16", "3m"]),
        (DEGRADED, ["demo", "Scanning (Unschedulable)", "64", "812/3072", "77.41° +5.71°", "12.3 deg²", "14/16", "3m"]),
        (FAILED, ["demo", "Failed (EventUnreachable)", "", "", "", "", "", "3m"]),
        (SUCCEEDED | {"best": None}, ["demo", "Succeeded", "64", "3072/3072", "", "", "14/16", "3m"]),
    ],
)
def test_table_row_shows_phase_progress_and_best_fit(status: dict[str, Any] | None, cells: list[str]) -> None:
    assert row(scan(status), NOW) == cells


def test_table_columns_are_aligned() -> None:
    scans = [scan(SCANNING), scan(FAILED, "a-longer-name")]
    assert table(scans, NOW).splitlines() == [
        "NAME           PHASE                      LEVEL  DONE      BEST FIT       90 % AREA  WORKERS  AGE",
        "demo           Scanning                   64     812/3072  77.41° +5.71°  12.3 deg²  14/16    3m",
        "a-longer-name  Failed (EventUnreachable)                                                      3m",
    ]
    assert [one.split()[:2] for one in table(scans, NOW, all_namespaces=True).splitlines()] == [
        ["NAMESPACE", "NAME"],
        ["sky", "demo"],
        ["sky", "a-longer-name"],
    ]


def test_notices_are_described() -> None:
    sent = {"to": "slack", "type": "update", "state": "Sent", "sent": "2026-01-01T00:00:00Z"}
    failed = {"to": "webhook=https://a.org/", "type": "update", "state": "Failed", "message": "404\x1b"}
    lines = description(scan(SUCCEEDED | {"notices": {"destinations": [sent, failed], "fault": "no outbox"}}))
    told = [" ".join(one.split()) for one in lines if one.startswith("notices")]
    assert told == [
        "notices no outbox",
        "notices update notice to slack: sent",
        "notices update notice to webhook=https://a.org/: failed (404\\x1b)",
    ]


def test_running_scan_is_described() -> None:
    lines = description(scan(SCANNING))
    assert lines[0] == "demo in namespace sky: Scanning, running for 3:10"
    assert [one.split()[0:2] + one.split()[-2:] for one in lines[1:3]] == [
        ["nside", "8", "768/768", "pixels"],
        ["nside", "64", "1", "failed"],
    ]
    assert lines[3].endswith("about 1536 pixels")
    assert lines[4:-2] == [
        "event            https://example.org/e.json",
        "best fit so far  RA 77.41° Dec +5.71° (nside 64, pixel 21234, calibrated 90 % region 12.3 deg²)",
        "workers          12 busy, 14 ready, 16 desired: 16 end within 900 s",
        "waiting          1234 fits, 0.83 s each",
        "rate             3.2 fits/s",
        "done             in 3:20, at 12:06:40 UTC, at the current rate",
        "image            worker:1",
        "Pulsar           pulsar://p:6650",
        "",
        "Conditions",
        "  Succeeded    Unknown  InProgress  3m",
        "  Progressing  True     Scanning    3m  the workers are fitting pixels",
        "  Degraded     False    AsExpected  3m",
        "",
        "Next steps",
    ]
    assert lines[-2:] == [f"  {call('status', 'demo', '--watch')}", f"  {call('logs', 'demo', '--follow')}"]


def test_missing_workers_are_described() -> None:
    workers = SCANNING["workers"] | {"obstacle": "w-15: 3 Insufficient cpu."}
    lines = description(scan(SCANNING | {"workers": workers}))
    assert f"{'':17}14 of 16 workers run: w-15: 3 Insufficient cpu." in lines
    assert not any("workers run" in one for one in description(scan(SUCCEEDED | {"workers": workers})))


def test_calibration_of_the_event_is_described() -> None:
    lines = description(scan(SCANNING | {"calibration": {"done": 12, "planned": 100, "failed": 1}}))
    assert "calibration      12/100 re-simulations, 1 failed" in lines
    assert not any("re-simulations" in line for line in description(scan(SCANNING)))


def test_succeeded_scan_is_described_with_its_files() -> None:
    lines = description(scan(SUCCEEDED))
    assert lines[0] == "demo in namespace sky: Succeeded after 2:00, 70s ago"
    assert "best fit  RA 77.41° Dec +5.71° (nside 64, pixel 21234, calibrated 90 % region 12.3 deg²)" in lines
    place = lines.index("results   claim demo-results, folder demo")
    assert lines[place + 1 : place + 3] == ["          a.i3.zst", "          a.json"]
    assert not [one for one in lines if one.startswith(("workers", "waiting", "done", "rate"))]
    assert lines[-1] == f"  {call('fetch', 'demo')}"


@pytest.mark.parametrize(
    ("seen", "steps"),
    [
        (scan(), ["no operator has seen it for 3m: check that one runs and watches this namespace"]),
        (scan(creationTimestamp=NOW.isoformat()), ["wait until the operator has seen it"]),
        (scan(STARTED | {"phase": "Pending"}), [call("status", "demo", "--watch"), call("logs", "demo", "--follow")]),
        (
            scan(SCANNING, generation=2),
            [
                "wait until the operator has seen the latest change",
                call("status", "demo", "--watch"),
                call("logs", "demo", "--follow"),
            ],
        ),
        (
            scan(DEGRADED),
            [
                "do what condition Degraded says; the scan then continues by itself",
                call("status", "demo", "--watch"),
                call("logs", "demo", "--follow"),
            ],
        ),
        (scan(SUSPENDED), [f"{call('abort', 'demo', '--resume')} resumes it"]),
        (scan(SUCCEEDED), [call("fetch", "demo")]),
        (
            scan(FAILED),
            [
                call("logs", "demo"),
                f"fix the cause, run {call('abort', 'demo', '--delete')}, submit again",
            ],
        ),
        (
            scan(OUTPUT_FAILED),
            [
                call("logs", "demo", "--role", "saver"),
                "remove the cause, or change spec.output",
                f"{call('abort', 'demo', '--resume')} then saves again",
            ],
        ),
        (
            scan(SCANNING, deletionTimestamp=NOW.isoformat()),
            ["wait until its pods and topics are deleted; its results stay on the claim"],
        ),
    ],
    ids=["unseen", "new", "pending", "changed", "degraded", "suspended", "succeeded", "failed", "output", "deleting"],
)
def test_next_steps_depend_on_the_phase(seen: ClusterScan, steps: list[str]) -> None:
    assert next_steps(seen, NOW, call) == steps
    assert description(seen)[-len(steps) :] == [f"  {step}" for step in steps]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (None, "demo: New"),
        (DEGRADED | {"best": None}, "demo: Scanning (Unschedulable) 812/3072 pixels"),
        (
            SUCCEEDED | {"best": SCANNING["best"] | {"area90": None}},
            "demo: Succeeded 3072/3072 pixels; best fit RA 77.41° Dec +5.71° (nside 64, pixel 21234)",
        ),
    ],
)
def test_line_shows_phase_progress_and_degraded_reason(status: dict[str, Any] | None, text: str) -> None:
    assert line(scan(status)) == text


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"configMap": {"name": "a-event-1", "key": "e.json"}}, "e.json in ConfigMap a-event-1"),
        ({"persistentVolumeClaim": {"claimName": "events", "path": "x/e.i3"}}, "x/e.i3 in claim events"),
        ({"simulate": {}}, "simulated track, 100000 GeV, seed 0"),
        ({"simulate": {"topology": "cascade", "energy": 2.5e6, "seed": 3}}, "simulated cascade, 2.5e+06 GeV, seed 3"),
    ],
)
def test_event_source_is_described(event: dict[str, Any], text: str) -> None:
    written = document()
    written["spec"]["event"] = event
    assert describe_event(ClusterScan.read(written)) == text


def test_claim_and_folder_match_those_of_the_operator() -> None:
    seen = scan(name="x" * 60)
    assert (seen.claim, seen.folder) == (f"{seen.base}-results", "x" * 60)
    assert len(seen.base) == 47
    written = document()
    written["spec"]["output"] = {"claim": {"name": "archive"}, "path": "2026/demo"}
    seen = ClusterScan.read(written)
    assert (seen.claim, seen.folder) == ("archive", "2026/demo")


def test_status_of_another_version_is_rejected() -> None:
    with pytest.raises(ClusterError, match="status of SkymapScan demo was written by another version"):
        scan({"phase": "Dreaming"})


def test_watch_tolerates_an_outage_and_ends_with_the_scan() -> None:
    answers = [scan(), None, scan(SCANNING), scan(SUCCEEDED)]
    slept: list[float] = []

    def look() -> ClusterScan:
        answer = answers.pop(0)
        if answer is None:
            raise ClusterUnavailable("unavailable")
        return answer

    shown: list[str] = []
    ended = watch_until_finished(look, lambda seen: shown.append(seen.phase), slept.append)
    assert shown == ["New", "Scanning", "Succeeded"]
    assert ended.phase == "Succeeded"
    assert slept == [2.0, 2.0, 2.0]

    def never() -> ClusterScan:
        raise ClusterUnavailable("unavailable")

    slept.clear()
    with pytest.raises(ClusterUnavailable):
        watch_until_finished(never, lambda _: None, slept.append)
    assert sum(slept) == timedelta(minutes=5).total_seconds()


def test_lines_are_printed_on_changes_and_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([100.0, 101.0, 110.0, 112.0, 113.0, 114.0])
    show = print_lines(lambda: next(times))
    for progress in ("1/9", "2/9", "3/9"):
        show(scan(SCANNING | {"progress": progress}))
    show(scan(DEGRADED | {"progress": "4/9"}))
    show(scan(DEGRADED | {"progress": "5/9"}))
    show(scan(SUCCEEDED))
    printed = capsys.readouterr().out.splitlines()
    assert [text.split(" pixels")[0].split()[-1] for text in printed] == ["1/9", "3/9", "4/9", SUCCEEDED["progress"]]


def printed(states: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what is printed of a scan that is seen in these states, a minute apart."""
    clock = itertools.count(60, 60)
    show = print_lines(lambda: next(clock))
    for number, status in enumerate(states, 1):
        show(scan(status | {"progress": f"{number}/9", "best": None}))
    return [text.removeprefix("demo: ") for text in capsys.readouterr().out.splitlines()]


def test_obstacle_is_told_once_and_again_when_it_changes(capsys: pytest.CaptureFixture[str]) -> None:
    other = SCANNING | {"conditions": [condition("Degraded", "True", "Unschedulable", "no\x1b[2J GPU")]}
    assert printed([SCANNING, DEGRADED, DEGRADED, other, other, SCANNING, DEGRADED], capsys) == [
        "Scanning 1/9 pixels",
        "Scanning (Unschedulable) 2/9 pixels; no room: add nodes",
        "Scanning (Unschedulable) 3/9 pixels",
        r"Scanning (Unschedulable) 4/9 pixels; no\x1b[2J GPU",
        "Scanning (Unschedulable) 5/9 pixels",
        "Scanning 6/9 pixels",
        "Scanning (Unschedulable) 7/9 pixels; no room: add nodes",
    ]


def test_missing_workers_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    w15, w16 = (
        SCANNING | {"workers": SCANNING["workers"] | {"obstacle": f"{name}: no room"}} for name in ("w-15", "w-16")
    )
    assert printed([w15, w15, w16, SCANNING, w16], capsys) == [
        "Scanning 1/9 pixels; 14 of 16 workers run: w-15: no room",
        "Scanning 2/9 pixels",
        "Scanning 3/9 pixels",
        "Scanning 4/9 pixels",
        "Scanning 5/9 pixels; 14 of 16 workers run: w-16: no room",
    ]


def test_raised_memory_is_described_with_its_reason() -> None:
    lines = description(scan(OUTPUT_FAILED))
    assert any("memory limit raised to 4096Mi: its memory limit of 2Gi was too low" in line for line in lines)


def test_formats_that_are_left_out_are_described() -> None:
    lines = description(scan(SUCCEEDED | {"leftOut": "the format png is left out"}))
    assert any(line.split() == ["left", "out", "the", "format", "png", "is", "left", "out"] for line in lines)
