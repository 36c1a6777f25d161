from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console
from tests.unit.kubectl.scans import (
    DEGRADED,
    FAILED,
    NOW,
    SCANNING,
    STARTED,
    SUCCEEDED,
    SUSPENDED,
    document,
    scan,
)

from skymap_scanner.cli.describe import age, event_text, line, next_steps, row, story, table
from skymap_scanner.cli.status import lines
from skymap_scanner.errors import ClusterError, ClusterUnavailable
from skymap_scanner.kubectl.scans import SeenScan, follow


def call(*words: str) -> str:
    return " ".join(["skymap-scanner", *words, "--namespace", "sky"])


def told(seen: SeenScan) -> list[str]:
    """The story as lines of text."""
    out = io.StringIO()
    Console(file=out, width=100).print(story(seen, NOW, call))
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
def test_a_row_of_the_table(status: dict[str, Any] | None, cells: list[str]) -> None:
    assert row(scan(status), NOW) == cells


def test_the_table_lines_up() -> None:
    scans = [scan(SCANNING), scan(FAILED, "a-longer-name")]
    assert table(scans, NOW).splitlines() == [
        "NAME           PHASE                      LEVEL  DONE      BEST FIT       90 % AREA  WORKERS  AGE",
        "demo           Scanning                   64     812/3072  77.41° +5.71°  12.3 deg²  14/16    3m",
        "a-longer-name  Failed (EventUnreachable)                                                      3m",
    ]
    assert [one.split()[:2] for one in table(scans, NOW, everywhere=True).splitlines()] == [
        ["NAMESPACE", "NAME"],
        ["sky", "demo"],
        ["sky", "a-longer-name"],
    ]


def test_the_story_of_a_scan_on_its_way() -> None:
    lines = told(scan(SCANNING))
    assert lines[0] == "demo in namespace sky: Scanning, running for 3:10"
    assert [one.split()[0:2] + one.split()[-2:] for one in lines[1:3]] == [
        ["nside", "8", "768/768", "pixels"],
        ["nside", "64", "1", "failed"],
    ]
    assert lines[3].endswith("about 1536 pixels")
    assert lines[4:-2] == [
        "event        https://example.org/e.json",
        "best so far  RA 77.41° Dec +5.71° (nside 64, pixel 21234, 90 % region 12.3 deg²)",
        "workers      12 busy, 14 ready, 16 wanted: 16 end within 900 s",
        "waiting      1234 fits, 0.83 s each",
        "rate         3.2 pixels/s",
        "done         in 3:20, at 12:06:40 UTC, if it goes on like this",
        "image        worker:1",
        "Pulsar       pulsar://p:6650",
        "",
        "Conditions",
        "  Succeeded    Unknown  InProgress  3m",
        "  Progressing  True     Scanning    3m  pixels are fitted",
        "  Degraded     False    AsExpected  3m",
        "",
        "What next",
    ]
    assert lines[-2:] == [f"  {call('status', 'demo', '--watch')}", f"  {call('logs', 'demo', '--follow')}"]


def test_the_story_of_a_result() -> None:
    lines = told(scan(SUCCEEDED))
    assert lines[0] == "demo in namespace sky: Succeeded after 2:00, 70s ago"
    assert "best fit  RA 77.41° Dec +5.71° (nside 64, pixel 21234, 90 % region 12.3 deg²)" in lines
    place = lines.index("results   claim demo-results, folder demo")
    assert lines[place + 1 : place + 3] == ["          a.i3.zst", "          a.json"]
    assert not [one for one in lines if one.startswith(("workers", "waiting", "done", "rate"))]
    assert lines[-1] == f"  {call('fetch', 'demo')}"


@pytest.mark.parametrize(
    ("seen", "steps"),
    [
        (scan(), ["no operator has looked at it for 3m: does one run, and does it look after this namespace?"]),
        (scan(creationTimestamp=NOW.isoformat()), ["wait: the operator has not looked at it yet"]),
        (scan(STARTED | {"phase": "Pending"}), [call("status", "demo", "--watch"), call("logs", "demo", "--follow")]),
        (
            scan(SCANNING, generation=2),
            [
                "wait: the operator has not seen the latest change yet",
                call("status", "demo", "--watch"),
                call("logs", "demo", "--follow"),
            ],
        ),
        (
            scan(DEGRADED),
            [
                "do what Degraded says; the scan then goes on by itself",
                call("status", "demo", "--watch"),
                call("logs", "demo", "--follow"),
            ],
        ),
        (scan(SUSPENDED), [f"{call('abort', 'demo', '--resume')} lets it go on where it was"]),
        (scan(SUCCEEDED), [call("fetch", "demo")]),
        (
            scan(FAILED),
            [call("logs", "demo"), f"then mend what failed, {call('abort', 'demo', '--delete')}, and submit it again"],
        ),
        (
            scan(SCANNING, deletionTimestamp=NOW.isoformat()),
            ["wait: it goes when its pods and topics are gone; its results stay on the claim"],
        ),
    ],
    ids=["unseen", "new", "pending", "changed", "degraded", "suspended", "succeeded", "failed", "deleting"],
)
def test_what_next(seen: SeenScan, steps: list[str]) -> None:
    assert next_steps(seen, NOW, call) == steps
    assert told(seen)[-len(steps) :] == [f"  {step}" for step in steps]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (None, "demo: New"),
        (DEGRADED | {"best": None}, "demo: Scanning (Unschedulable) 812/3072 pixels; no room: add nodes"),
        (
            SUCCEEDED | {"best": SCANNING["best"] | {"area90": None}},
            "demo: Succeeded 3072/3072 pixels; best fit RA 77.41° Dec +5.71° (nside 64, pixel 21234)",
        ),
    ],
)
def test_one_line(status: dict[str, Any] | None, text: str) -> None:
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
def test_the_event_is_named(event: dict[str, Any], text: str) -> None:
    written = document()
    written["spec"]["event"] = event
    assert event_text(SeenScan.read(written)) == text


def test_claim_and_folder_are_those_of_the_operator() -> None:
    seen = scan(name="x" * 60)
    assert (seen.claim, seen.folder) == (f"{seen.base}-results", "x" * 60)
    assert len(seen.base) == 47
    written = document()
    written["spec"]["output"] = {"claim": {"name": "archive"}, "path": "2026/demo"}
    seen = SeenScan.read(written)
    assert (seen.claim, seen.folder) == ("archive", "2026/demo")


def test_a_status_of_another_version_is_told() -> None:
    with pytest.raises(ClusterError, match="status of SkymapScan demo was written by another version"):
        scan({"phase": "Dreaming"})


def test_following_ends_with_the_scan_and_waits_for_a_cluster_that_is_away() -> None:
    answers = [scan(), None, scan(SCANNING), scan(SUCCEEDED)]
    slept: list[float] = []

    def look() -> SeenScan:
        answer = answers.pop(0)
        if answer is None:
            raise ClusterUnavailable("away")
        return answer

    shown: list[str] = []
    ended = follow(look, lambda seen: shown.append(seen.phase), slept.append)
    assert shown == ["New", "Scanning", "Succeeded"]
    assert ended.phase == "Succeeded"
    assert slept == [2.0, 2.0, 2.0]

    def never() -> SeenScan:
        raise ClusterUnavailable("away")

    slept.clear()
    with pytest.raises(ClusterUnavailable):
        follow(never, lambda _: None, slept.append)
    assert sum(slept) == timedelta(minutes=5).total_seconds()


def test_without_a_terminal_a_line_is_printed_for_news_and_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([100.0, 101.0, 110.0, 112.0, 113.0, 114.0])
    show = lines(lambda: next(times))
    for progress in ("1/9", "2/9", "3/9"):
        show(scan(SCANNING | {"progress": progress}))
    show(scan(DEGRADED | {"progress": "4/9"}))
    show(scan(DEGRADED | {"progress": "5/9"}))
    show(scan(SUCCEEDED))
    printed = capsys.readouterr().out.splitlines()
    assert [text.split(" pixels")[0].split()[-1] for text in printed] == ["1/9", "3/9", "4/9", SUCCEEDED["progress"]]
