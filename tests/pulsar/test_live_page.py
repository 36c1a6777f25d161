"""The live page of a scan over a real Pulsar: it follows the scan, becomes its report, and the scan does not notice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import Popen
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import expect
from testing.pulsar.server import PulsarAddress
from tests.browser.commands import command, link_in
from tests.browser.conftest import Open, browser, open_page  # noqa: F401 - fixtures

from skymap_api.names import ScanTopics
from skymap_scanner.broker import Access, open_broker

SCAN = ["--reconstruction", "dummy", "--parameter", "ra=200", "--parameter", "dec=20", "--parameter", "seconds=0.1"]


def command_on(server: PulsarAddress, *words: object) -> AbstractContextManager[Popen[str]]:
    return command(*words, variables={"SKYMAP_BROKER": server.url, "SKYMAP_ADMIN_URL": server.admin_url})


def subscriptions(server: PulsarAddress, topics: ScanTopics) -> dict[str, set[str]]:
    admin = f"{server.admin_url}/admin/v2/persistent"
    return {
        topic: set(httpx.get(f"{admin}/{topic.removeprefix('persistent://')}/subscriptions", timeout=30).json())
        for topic in topics.all()
    }


@pytest.fixture
def name(pulsar_server: PulsarAddress) -> Iterator[str]:
    name = f"page-{uuid4().hex[:8]}"
    yield name
    with command_on(pulsar_server, "topics", "delete", "-n", name, "--yes") as process:
        process.wait(60)


def test_page_follows_a_scan_on_pulsar_and_becomes_its_report(
    open_page: Open,  # noqa: F811 - the fixture
    pulsar_server: PulsarAddress,
    name: str,
    tmp_path: Path,
) -> None:
    words = ["run", "demo", "-o", tmp_path, "-n", name, "--levels", "4:0", "16:12", "--seeds", "1", "--workers", "2"]
    with command_on(pulsar_server, "page") as served, command_on(pulsar_server, *words, *SCAN) as scan:
        opened = open_page(link_in(served))
        page = opened.page
        page.get_by_role("link", name=name).click(timeout=60_000)
        expect(page.get_by_role("application", name="Map of the whole sky")).to_be_visible(timeout=60_000)
        expect(page.locator("#state")).to_contain_text("All pixels of nside 4 have a fit", timeout=90_000)
        page.wait_for_url(f"**/scans/{name}/report", timeout=90_000)
        page.wait_for_selector("body[data-ready] #zone")
        output, _ = scan.communicate(timeout=90)
        assert scan.returncode == 0, output
        assert opened.errors == []
        page.goto(page.url.removesuffix("report"))  # what is left on the broker gives the same report again
        page.wait_for_url(f"**/scans/{name}/report", timeout=60_000)
    (written,) = tmp_path.glob("*_4_16.json")
    pixels = sum(len(level["data"]) for level in json.loads(written.read_bytes()).values())
    card = page.evaluate("JSON.parse(document.getElementById('card').textContent)")
    assert (card["pixels"], card["complete"]) == (pixels, True)


def test_page_leaves_no_subscription_and_creates_no_topic(
    pulsar_server: PulsarAddress, name: str, tmp_path: Path
) -> None:
    topics = ScanTopics.of(name)
    words = ["run", "demo", "-o", tmp_path, "-n", name, "--levels", "2:0", "--seeds", "1", "--workers", "1"]
    with command_on(pulsar_server, *words, "--format", "json", *SCAN) as scan:
        output, _ = scan.communicate(timeout=120)
        assert scan.returncode == 0, output
    before = subscriptions(pulsar_server, topics)
    with open_broker(pulsar_server.url, Access(pulsar_server.admin_url)) as broker:
        existing = broker.topics()
    with command_on(pulsar_server, "page", name) as served:
        link = link_in(served)
        with httpx.stream("GET", f"{link}events", timeout=60) as stream:
            assert "".join(stream.iter_text()).endswith('data: {"report":true}\n\n')
        assert httpx.get(f"{link}report").status_code == 200
        assert httpx.get(f"{link.removesuffix(f'{name}/')}other/").status_code == 404
    assert subscriptions(pulsar_server, topics) == before
    with open_broker(pulsar_server.url, Access(pulsar_server.admin_url)) as broker:
        assert broker.topics() == existing
