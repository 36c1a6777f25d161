"""The pages of a cluster's scans: what a user sees, and for how long."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from testing.waiting import eventually
from tests.unit.live.cluster.conftest import (
    ADA,
    BOB,
    ClusterServer,
    FakeApi,
    ServeCluster,
    condition,
    document,
    runs_with,
    runs_with_other,
)
from tests.unit.live.conftest import MakeScan, kinds

from skymap_api.names import Names
from skymap_scanner.broker import Broker
from skymap_scanner.errors import BrokerDenied, BrokerUnavailable
from skymap_scanner.live import followers
from skymap_scanner.live.cluster import access
from skymap_scanner.live.cluster import server as module


def test_hostile_texts_stay_text(serve_cluster: ServeCluster) -> None:
    wrong = condition("Degraded", "True", "ClaimFull", "<script>alert(1)</script>")
    api = FakeApi([document(conditions=[wrong])], tokens={ADA: "<b>ada"}, rights={("<b>ada", "list", "")})
    with serve_cluster(api).client(ADA) as client:
        text = client.get("/").text
    assert "&lt;script&gt;alert(1)" in text
    assert "<b>ada" not in text


def resource_events(chunk: bytes) -> list[dict[str, Any]]:
    """Return the data of the events about the resource."""
    events = [one.splitlines() for one in chunk.decode().split("\n\n")]
    return [json.loads(one[1].removeprefix("data: ")) for one in events if one[:1] == ["event: resource"]]


def read_until(lines: Any, words: str) -> str:
    return next(line for line in lines if words in line)


def test_stream_follows_the_resource_of_an_unread_scan(server: ClusterServer) -> None:
    with server.client(ADA) as client, client.stream("GET", "/scans/north.a/events") as stream:
        lines = stream.iter_lines()
        first = json.loads(read_until(lines, '"backlog":3').removeprefix("data: "))
        assert (first["phase"], [point[1] for point in first["backlogs"]]) == ("Scanning", [3])
        assert "a Pulsar of its own" in read_until(lines, "unread")
        server.api.changes.put(("MODIFIED", document("north", "a", backlog=1, phase="Scanning")))
        changed = json.loads(read_until(lines, '"backlog":1').removeprefix("data: "))
        assert [point[1] for point in changed["backlogs"]] == [3, 1]
        server.api.changes.put(("DELETED", document("north", "a")))
        read_until(lines, '"gone":true')
        assert not list(lines)[1:]


@pytest.mark.parametrize("revoke", [lambda api: api.tokens.clear(), lambda api: api.rights.clear()])
def test_stream_ends_when_the_user_may_see_it_no_longer(
    server: ClusterServer, monkeypatch: pytest.MonkeyPatch, revoke: Callable[[FakeApi], None]
) -> None:
    """The stream is silent and the answers about the user are remembered all the while; neither may delay the end."""
    monkeypatch.setattr(module, "CHECK_INTERVAL", 1.0)
    with server.client(ADA) as client, client.stream("GET", "/scans/north.a/events") as stream:
        lines = stream.iter_lines()
        read_until(lines, "unread")
        server.api.asked.clear()
        eventually(lambda: len(server.api.asked) >= 2)
        revoke(server.api)
        began = time.monotonic()
        assert not [line for line in lines if line]
        assert time.monotonic() - began < 5  # less than a keep-alive


def test_streams_of_a_user_are_bounded(server: ClusterServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.pages, "most_streams", 1)
    with server.client(ADA) as ada, ada.stream("GET", "/scans/north.a/events") as first:
        assert first.status_code == 200
        assert ada.get("/scans/north.a/events").status_code == 503
        with server.client(BOB) as bob, bob.stream("GET", "/scans/south.b/events") as other:
            assert other.status_code == 200

    def again() -> int:
        with server.client(ADA) as client, client.stream("GET", "/scans/north.a/events") as stream:
            return stream.status_code

    eventually(again, lambda status: status == 200, within=10)


def test_scans_that_a_user_opens_are_bounded(serve_cluster: ServeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    scans = [document("north", name, **runs_with_other()) for name in ("a", "b")]
    server = serve_cluster(FakeApi(scans, rights={("ada", "get", "north")}))
    monkeypatch.setattr(server.pages, "most_scans", 1)
    with server.client(ADA) as ada, ada.stream("GET", "/scans/north.a/events") as first:
        with ada.stream("GET", "/scans/north.a/events") as again:
            assert (first.status_code, again.status_code) == (200, 200)
        assert ada.get("/scans/north.b/events").status_code == 503


def test_report_alone_follows_no_scan(scan: MakeScan, serve_cluster: ServeCluster) -> None:
    one = scan("1:0")
    api = FakeApi([document(runsWith=runs_with(one.url), phase="Scanning")], rights={("ada", "get", "north")})
    server = serve_cluster(api, one.open, one.url)
    with server.client(ADA) as client:
        assert client.get("/scans/north.alert/report").headers["Location"] == "/scans/north.alert/"
    assert server.pages._followers.get("uid-north-alert") is None


def test_lists_of_a_user_at_a_time_are_bounded(server: ClusterServer, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, leave, listed = threading.Event(), threading.Event(), server.pages._listed

    def slow(user: access.User, signed_in: bool) -> bytes:
        if user.name == "ada":
            entered.set()
            assert leave.wait(30)
        return listed(user, signed_in)

    monkeypatch.setattr(module, "MAX_LISTS_OF_USER", 1)
    monkeypatch.setattr(server.pages, "_listed", slow)
    with server.client(ADA) as ada, server.client(BOB) as bob, ThreadPoolExecutor(1) as pool:
        first = pool.submit(ada.get, "/")
        assert entered.wait(30)
        assert (ada.get("/").status_code, bob.get("/").status_code) == (503, 200)
        leave.set()
        assert first.result(30).status_code == 200
        assert ada.get("/").status_code == 200


def test_scan_is_followed_and_becomes_its_report(scan: MakeScan, serve_cluster: ServeCluster) -> None:
    one, names = scan("1:0 4:2"), Names.of("north", "alert")
    one.rename(names.scan)
    one.topics = names.topics("icecube")
    api = FakeApi([document(runsWith=runs_with(one.url), phase="Scanning")], rights={("ada", "get", "north")})
    server = serve_cluster(api, one.open, one.url)
    with server.client(ADA) as client:
        assert "north/alert" in client.get("/scans/north.alert/").text
        one.run()
        with client.stream("GET", "/scans/north.alert/events") as stream:
            chunk = stream.read()
        assert kinds(chunk)[-1] == "end"
        assert resource_events(chunk)[0]["phase"] == "Scanning"
        report = client.get("/scans/north.alert/report")
        assert b'id="card"' in report.content
        # Its topics are deleted afterwards, and the report stays.
        api.changes.put(("MODIFIED", document(phase="Succeeded")))
        eventually(lambda: server.resources.get("north", "alert"), lambda found: found is not None and found.finished)
        assert client.get("/scans/north.alert/report").content == report.content


def test_failed_follower_begins_anew_for_the_next_page(scan: MakeScan, serve_cluster: ServeCluster) -> None:
    one, names = scan("1:0"), Names.of("north", "alert")
    one.rename(names.scan)
    one.topics = names.topics("icecube")
    one.run()
    denied = [BrokerDenied("not permitted yet")]

    def opened() -> Broker:
        if denied:
            raise denied.pop()
        return one.open()

    api = FakeApi([document(runsWith=runs_with(one.url), phase="Scanning")], rights={("ada", "get", "north")})
    with serve_cluster(api, opened, one.url).client(ADA) as client:
        assert b"not permitted yet" in client.get("/scans/north.alert/events").content
        assert b'{"report":true}' in client.get("/scans/north.alert/events").content


def test_stream_ends_once_another_pulsar_is_known(scan: MakeScan, serve_cluster: ServeCluster) -> None:
    one = scan("1:0")
    api = FakeApi([document(phase="Queued")], rights={("ada", "get", "north")})
    with serve_cluster(api, one.open, one.url).client(ADA) as client:
        with client.stream("GET", "/scans/north.alert/events") as stream:
            lines = stream.iter_lines()
            read_until(lines, '"waiting"')
            api.changes.put(("MODIFIED", document(**runs_with_other())))
            assert "event: end" not in list(lines)
        with client.stream("GET", "/scans/north.alert/events") as stream:
            assert "a Pulsar of its own" in read_until(stream.iter_lines(), "unread")


def test_finished_scan_without_topics_names_the_command(scan: MakeScan, serve_cluster: ServeCluster) -> None:
    one = scan("1:0")
    api = FakeApi([document(runsWith=runs_with(one.url), phase="Failed")], rights={("ada", "get", "north")})
    with serve_cluster(api, one.open, one.url).client(ADA) as client:
        chunk = client.get("/scans/north.alert/events").content
    assert kinds(chunk) == ["begin", "resource", "status", "end"]
    assert b"skymap-scanner fetch alert --namespace north" in chunk
    assert b'{"report":false}' in chunk


@pytest.mark.parametrize("phase", ["Succeeded", "Scanning"])
def test_scan_whose_map_cannot_be_shown_has_its_status(
    serve_cluster: ServeCluster, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    monkeypatch.setattr(followers, "MAX_FOLLOWERS", 0)

    def fail() -> Broker:
        raise BrokerUnavailable("no broker\x1b[2J")

    api = FakeApi([document(runsWith=runs_with(), phase=phase, backlog=5)], rights={("ada", "get", "north")})
    with serve_cluster(api, fail).client(ADA) as client, client.stream("GET", "/scans/north.alert/events") as stream:
        lines = stream.iter_lines()
        assert json.loads(read_until(lines, '"backlog":5').removeprefix("data: "))["phase"] == phase
        said = json.loads(read_until(lines, "unread").removeprefix("data: "))["trouble"]
    reason = "no broker\\x1b[2J" if phase == "Succeeded" else "0 scans are shown already"
    assert said.startswith(f"The map cannot be shown: {reason}")
