"""The page of a cluster's scans as its users see it: signed in, with many scans, and a scan that needs advice."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect
from testing.waiting import eventually
from tests.browser.conftest import Open
from tests.unit.live.cluster.conftest import ClusterServer, FakeApi, condition, document, no_broker, runs_with, serving

from skymap_scanner.errors import ClusterUnavailable
from skymap_scanner.live.cluster import server as cluster_server

PHONE = {"viewport": {"width": 375, "height": 740}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
SIGNED_IN = {"extra_http_headers": {"Authorization": "Bearer token-of-ada"}}
SCANS = 2000


def scan_of(number: int, **more: object) -> dict[str, object]:
    status = {
        "phase": ("Scanning", "Succeeded", "Pending")[number % 3],
        "pixels": {"done": number, "planned": 2 * SCANS, "failed": number % 7},
        "best": {"nside": 1, "pixel": 3, "ra": number % 360, "dec": number % 90 - 45, "llh": 9.0, "area90": 2.5},
        "workers": {"desired": 4, "ready": 3, "busy": 2, "reason": "they end in the target time"},
        "backlog": number * 7 % 1000,
        "conditions": [condition("Degraded", "True", "ClaimFull", "the claim is full - enlarge it")]
        if number == 9
        else [],
        "runsWith": runs_with("pulsar://elsewhere"),
    }
    return document("north" if number % 2 else "south", f"alert-{number:04}", **(status | more))


@pytest.fixture(scope="module")
def server() -> Iterator[ClusterServer]:
    """The page of many scans, for a user who may see them all."""
    api = FakeApi([scan_of(number) for number in range(SCANS)], rights={("ada", "list", ""), ("ada", "get", "north")})
    with serving(api, no_broker, "pulsar://own") as made:
        yield made


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("context", [{}, PHONE], ids=["desktop", "phone"])
def test_pages_are_accessible(open_page: Open, server: ClusterServer, scheme: str, context: dict[str, object]) -> None:
    for path in ("/scans/north.alert-0009/", "/"):
        page = open_page(f"{server.url}{path}", color_scheme=scheme, **context, **SIGNED_IN).page
        if path == "/":
            page.get_by_label("Filter").fill("alert-000")  # axe takes minutes for all of them
        else:
            expect(page.locator("#conditions")).to_contain_text("ClaimFull", timeout=20_000)
            expect(page.get_by_role("heading", name="Progress")).to_be_hidden()  # the page reads none
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_sign_in_is_accessible_and_keeps_the_user(browser: Browser, server: ClusterServer) -> None:
    page = browser.new_page()
    page.goto(server.url)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.keyboard.type("token-of-ada")  # the field has the focus
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(SCANS, timeout=30_000)
    page.goto(f"{server.url}/scans/north.alert-0009/")
    expect(page.locator("#state")).to_contain_text("a Pulsar of its own", timeout=20_000)
    page.context.clear_cookies()
    page.goto(server.url)
    expect(page.get_by_label("Your token for the cluster")).to_be_visible()
    page.close()


def test_link_on_another_site_leads_to_the_scan(browser: Browser, server: ClusterServer) -> None:
    page, scan = browser.new_page(), f"{server.url}/scans/north.alert-0009/"
    page.goto(server.url)
    page.get_by_label("Your token for the cluster").fill("token-of-ada")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("Filter")).to_be_visible()
    link = f'<a href="{scan}">the scan</a>'
    page.route("http://other.example/", lambda route: route.fulfill(body=link, content_type="text/html"))
    page.goto("http://other.example/")
    page.get_by_role("link").click()  # the browser sends no cookie with it
    expect(page.get_by_role("heading", level=1)).to_have_text("north/alert-0009")
    page.close()


def forget_users(server: ClusterServer) -> None:
    """Let the server ask the API server again who may see what."""
    for kept in (server.pages._access._users, server.pages._access._rights):
        kept._answers.clear()


def test_page_outlives_an_api_server_that_is_away(
    open_page: Open, server: ClusterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> dict[str, object]:
        raise ClusterUnavailable("away")

    monkeypatch.setattr(cluster_server, "CHECK_INTERVAL", 0.5)
    page = open_page(f"{server.url}/scans/north.alert-0033/", **SIGNED_IN).page
    expect(page.locator("#state")).to_contain_text("a Pulsar of its own", timeout=20_000)
    with monkeypatch.context() as away:
        away.setattr(server.api, "review", fail)
        forget_users(server)
        expect(page.locator("#state")).to_have_text("The server refuses the updates; trying again.", timeout=20_000)
    expect(page.locator("#state")).to_contain_text("a Pulsar of its own", timeout=30_000)
    monkeypatch.setattr(server.api, "rights", set())
    expect(page.locator("#state")).to_contain_text("You may not see this scan any more", timeout=20_000)
    forget_users(server)


def test_many_scans_are_sorted_filtered_and_updated(open_page: Open, server: ClusterServer) -> None:
    began = time.monotonic()
    opened = open_page(server.url, **SIGNED_IN)
    page = opened.page
    assert time.monotonic() - began < 20
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(SCANS)
    page.get_by_role("button", name="backlog").click()
    page.get_by_role("button", name="backlog").click()
    values = page.locator("tbody td:nth-of-type(9)").all_inner_texts()
    assert [int(one) for one in values] == sorted(map(int, values), reverse=True)
    page.get_by_label("Filter").fill("claimfull")
    expect(page.locator("tbody tr:visible")).to_have_count(1)
    page.get_by_label("Filter").fill("north/alert-0011")
    server.api.changes.put(("MODIFIED", scan_of(11, backlog=123456)))
    expect(page.locator("tbody tr:visible")).to_contain_text("123456", timeout=30_000)
    server.api.changes.put(("DELETED", scan_of(13)))
    expect(rows).to_have_count(SCANS - 1, timeout=30_000)
    assert opened.errors == []


def test_hidden_list_asks_for_nothing(open_page: Open, server: ClusterServer) -> None:
    page, hide = open_page(server.url, **SIGNED_IN).page, "Object.defineProperty(document, 'hidden', {value: %s, %s})"
    page.clock.install()
    page.goto(server.url)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(hide % ("true", "configurable: true"))
    page.clock.run_for(60_000)
    assert asked == []
    page.evaluate(hide % ("false", "configurable: true"))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    eventually(lambda: page.evaluate("1") and len(asked), lambda count: count == 1)


def test_scan_shows_its_backlog_over_time(open_page: Open, server: ClusterServer) -> None:
    opened = open_page(f"{server.url}/scans/north.alert-0021/", **SIGNED_IN)
    page = opened.page
    expect(page.locator("#resource-state")).to_contain_text("2 busy, 3 ready, 4 wanted", timeout=20_000)
    for backlog in (900, 500, 20):
        server.api.changes.put(("MODIFIED", scan_of(21, backlog=backlog)))
        expect(page.locator("#resource-state")).to_contain_text(f"backlog: {backlog} fits", timeout=20_000)
    curve = page.get_by_role("img", name="Backlog")
    eventually(lambda: curve.locator("circle").count(), lambda count: count == 4)
    server.api.changes.put(("DELETED", scan_of(21)))
    expect(page.locator("#state")).to_have_text("The scan was deleted.", timeout=20_000)
    assert opened.errors == []
