"""Whom the page of a cluster admits: tokens, forms, proxies, strangers."""

from __future__ import annotations

import logging
import select
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from testing.waiting import eventually
from tests.unit.live.cluster.conftest import (
    ADA,
    BOB,
    PROXY_SECRET,
    ClusterServer,
)

from skymap_scanner.errors import ClusterUnavailable
from skymap_scanner.live.cluster import access
from skymap_scanner.live.cluster import server as module
from skymap_scanner.live.server import HEADERS, MAX_REQUESTS, Places

PATHS = ("/", "/scans/north.a/", "/scans/north.a/events", "/scans/north.a/report", "/scans/none/")


def test_requests_without_a_user_are_refused(server: ClusterServer) -> None:
    proxied = "Basic " + b64encode(b"ada:wrong").decode()
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": proxied}, {"X-Forwarded-User": "ada"}):
        for path in PATHS:
            answer = httpx.get(f"{server.url}{path}", headers=headers | {"Cookie": f"{module.COOKIE}=wrong"})
            assert (answer.status_code, "north" in answer.text) == (401, False), path
            assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


def test_browser_without_a_user_gets_the_form(server: ClusterServer) -> None:
    with server.client() as client:
        answer = client.get("/")
        assert (answer.status_code, 'action="/sign-in"' in answer.text) == (401, True)
        assert 'http-equiv="refresh"' not in answer.text
        assert 'http-equiv="refresh"' in client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).text
        assert 'http-equiv="refresh"' not in client.get("/?again", headers={"Sec-Fetch-Site": "cross-site"}).text
        wrong = {"Cookie": f"{module.COOKIE}=wrong", "Sec-Fetch-Site": "cross-site"}
        answer = client.get("/", headers=wrong)
        assert ('http-equiv="refresh"' in answer.text, "Sign in again" in answer.text) == (False, True)


def test_users_see_the_scans_that_they_may_list(server: ClusterServer) -> None:
    for token, own, other in ((ADA, "north/a", "south/b"), (BOB, "south/b", "north/a")):
        with server.client(token) as client:
            found = client.get("/")
            assert (found.status_code, own in found.text, other in found.text) == (200, True, False)
            assert found.headers["Content-Encoding"] == "deflate"
            mine, hidden = f"/scans/{own.replace('/', '.')}/", f"/scans/{other.replace('/', '.')}/"
            assert client.get(mine).status_code == 200
            for what in ("", "events", "report"):
                missing, none = client.get(hidden + what), client.get("/scans/north.none/" + what)
                assert (missing.status_code, missing.text) == (404, none.text)


def test_sign_in_keeps_the_token_in_a_safe_cookie(server: ClusterServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with server.client() as client:
        refused = client.post("/sign-in", data={"token": "wrong"})
        assert (refused.status_code, "not accepted" in refused.text) == (401, True)
        assert "Set-Cookie" not in refused.headers
        accepted = client.post("/sign-in", data={"token": f" {ADA}\n"})
        assert (accepted.status_code, accepted.headers["Location"]) == (303, "/")
        cookie = accepted.headers["Set-Cookie"]
        name, _, rest = cookie.partition("=")
        assert name.startswith("__Host-")
        # Without Max-Age or Expires, it ends with the browser.
        assert set(rest.split("; ")[1:]) == {"HttpOnly", "Secure", "SameSite=Strict", "Path=/"}
        assert client.get("/", headers={"Cookie": f"{name}={ADA}"}).status_code == 200
        gone = client.post("/sign-out", headers={"Cookie": f"{name}={ADA}"})
        assert (gone.status_code, "Max-Age=0" in gone.headers["Set-Cookie"]) == (303, True)
    assert "ada has signed in" in caplog.text
    ours = [one.getMessage() for one in caplog.records if not one.name.startswith(("httpx", "httpcore"))]
    assert [line for line in ours if ADA in line] == []


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}],
)
def test_forms_of_other_sites_are_refused(server: ClusterServer, headers: dict[str, str]) -> None:
    for path in ("/sign-in", "/sign-out"):
        answer = httpx.post(f"{server.url}{path}", data={"token": ADA}, headers=headers)
        assert (answer.status_code, "Set-Cookie" in answer.headers) == (403, False)


def test_form_of_the_page_itself_is_accepted(server: ClusterServer) -> None:
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": server.url}):
        assert httpx.post(f"{server.url}/sign-in", data={"token": ADA}, headers=headers).status_code == 303


@pytest.mark.parametrize("size", [access.MAX_TOKEN + 1, 10**6])
def test_long_tokens_are_refused(server: ClusterServer, size: int) -> None:
    answer = httpx.post(f"{server.url}/sign-in", data={"token": "x" * size})
    assert answer.status_code in {401, 413}
    assert server.api.asked == []


def test_token_may_also_be_a_file_or_missing(server: ClusterServer) -> None:
    for given in ({"files": {"token": b"token-of-ada"}}, {"data": {}}, {"content": b"\xff\x00"}):
        assert httpx.post(f"{server.url}/sign-in", **given).status_code == 401  # type: ignore[arg-type]


def test_proxy_vouches_for_a_user(server: ClusterServer) -> None:
    login = "Basic " + b64encode(f"ada:{PROXY_SECRET}".encode()).decode()
    found = httpx.get(server.url, headers={"Authorization": login, "X-Forwarded-Groups": "shift"})
    assert (found.status_code, "north/a" in found.text, "south/b" in found.text) == (200, True, False)
    assert "Sign out" not in found.text
    masters = httpx.get(server.url, headers={"Authorization": login, "X-Forwarded-Groups": "system:masters"})
    assert masters.status_code == 401


def test_probes_need_no_user(server: ClusterServer) -> None:
    assert [httpx.get(f"{server.url}/{path}").status_code for path in ("healthz", "readyz")] == [200, 200]


@contextmanager
def unfinished_forms(url: str, count: int) -> Iterator[list[socket.socket]]:
    """Begin to send many forms without an end; yield their connections."""
    place = urlsplit(url)
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            one = stack.enter_context(socket.create_connection((place.hostname, place.port or 0), timeout=60))
            kind = "application/x-www-form-urlencoded"
            head = f"POST /sign-in HTTP/1.1\r\nHost: page\r\nContent-Type: {kind}\r\nContent-Length: 100\r\n\r\n"
            one.sendall(head.encode() + b"t")
            found.append(one)
        yield found


def test_unfinished_forms_take_no_place_of_users(server: ClusterServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FORM_TIMEOUT", 300.0)
    with unfinished_forms(server.url, MAX_REQUESTS) as forms, server.client(ADA) as ada:
        refused = MAX_REQUESTS - module.MAX_STRANGERS
        found = eventually(lambda: select.select(forms, [], [], 0)[0], lambda ready: len(ready) == refused)
        assert {one.recv(12) for one in found} == {b"HTTP/1.1 503"}
        assert [ada.get(path).status_code for path in ("/healthz", "/readyz", "/")] == [200, 200, 200]


def test_form_that_does_not_arrive_ends(server: ClusterServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FORM_TIMEOUT", 0.1)
    with unfinished_forms(server.url, module.MAX_STRANGERS // 2) as forms:
        assert {one.recv(12) for one in forms} == {b"HTTP/1.1 408"}
    assert httpx.post(f"{server.url}/sign-in", data={"token": ADA}).status_code == 303


def test_rights_are_asked_for_also_without_a_scan(server: ClusterServer) -> None:
    with server.client(ADA) as client:
        for name in ("south.b", "south.none"):
            server.api.asked.clear()
            assert client.get(f"/scans/{name}/").status_code == 404
            assert ("SubjectAccessReview", "ada") in server.api.asked


def ask_as(server: ClusterServer, token: str) -> int:
    return httpx.get(server.url, headers={"Authorization": f"Bearer {token}"}).status_code


def test_unknown_tokens_take_no_place_of_users(server: ClusterServer, monkeypatch: pytest.MonkeyPatch) -> None:
    review, asked, leave = server.api.review, threading.Semaphore(0), threading.Event()

    def slow(group: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
        if spec.get("token", "").startswith("random"):
            asked.release()
            assert leave.wait(30)
        return review(group, kind, spec)

    server.pages._strangers = Places(2)
    with server.client(ADA) as ada, ThreadPoolExecutor(2) as pool:
        assert ada.get("/").status_code == 200
        monkeypatch.setattr(server.api, "review", slow)
        strangers = [pool.submit(ask_as, server, f"random-{i}") for i in range(2)]
        assert all(asked.acquire(timeout=30) for _ in strangers)
        assert ask_as(server, "random-2") == 503
        server.pages._access._users._seconds = 0.0  # the answer about her is too old, and asked for again
        assert ada.get("/").status_code == 200
        leave.set()
        assert [one.result(30) for one in strangers] == [401, 401]


def test_reviews_for_strangers_are_few_at_a_time(server: ClusterServer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, leave = threading.Semaphore(0), threading.Event()

    def slow(*_: object) -> dict[str, Any]:
        asked.release()
        assert leave.wait(30)
        return {}

    with server.client(ADA) as ada, ThreadPoolExecutor(module.MAX_STRANGERS) as pool:
        assert ada.get("/").status_code == 200
        monkeypatch.setattr(server.api, "review", slow)
        strangers = [pool.submit(ask_as, server, f"random-{i}") for i in range(module.MAX_STRANGERS)]
        assert all(asked.acquire(timeout=30) for _ in range(module.STRANGERS_REVIEWS))
        assert ada.get("/").status_code == 200
        assert not asked.acquire(timeout=1)
        leave.set()
        assert {one.result(30) for one in strangers} == {401}


def test_strangers_do_not_read_errors_of_the_api_server(
    server: ClusterServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> dict[str, Any]:
        raise ClusterUnavailable("10.0.0.1 does not know system:serviceaccount:skymap:page")

    monkeypatch.setattr(server.api, "review", fail)
    answers = [
        httpx.get(server.url, headers={"Authorization": "Bearer wrong"}),
        httpx.post(f"{server.url}/sign-in", data={"token": "wrong"}),
    ]
    for answer in answers:
        assert (answer.status_code, answer.text) == (502, "The cluster does not answer. Try again later.\n")
    assert caplog.text.count("10.0.0.1") == 1  # anybody can cause it, so it is not logged every time


def test_refused_tokens_are_logged_now_and_then(server: ClusterServer, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        assert httpx.post(f"{server.url}/sign-in", data={"token": "a-secret"}).status_code == 401
    assert caplog.text.count("a token was not accepted in the sign-in form") == 1
    assert "a-secret" not in caplog.text


def test_writes_are_refused(server: ClusterServer) -> None:
    with server.client(ADA) as client:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert client.request(method, "/scans/north.a/").status_code == 405
        assert client.head("/scans/north.a/events").status_code == 405  # it would take the place of a page
