"""The live page as its readers use it: it follows a scan, and becomes its report."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from testing.waiting import eventually
from tests.browser.commands import command, link_in
from tests.browser.conftest import Open, Opened

from skymap_scanner.broker import Outgoing, open_broker
from skymap_scanner.broker.protocol import arrived

PHONE = {"viewport": {"width": 375, "height": 740}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
DUMMY = ["--reconstruction", "dummy", "--parameter", "ra=200", "--parameter", "dec=20"]
SCAN = [*DUMMY, "--levels", "4:0", "16:12", "--seeds", "1", "--workers", "2"]


def drawn(page: Page) -> str:
    return str(page.evaluate("document.querySelector('#sky canvas').toDataURL()"))


def count_announcements(page: Page) -> None:
    """Count how often a screen reader announces a new state, in ``window.announced``."""
    page.evaluate("""() => {
        window.announced = 0;
        new MutationObserver(() => { window.announced += 1; }).observe(document.getElementById("state"), {
            childList: true, characterData: true, subtree: true,
        });
    }""")


def fits_done(page: Page) -> int:
    return int(page.evaluate("document.getElementById('fits').value"))


def test_page_follows_the_scan_and_becomes_its_report(open_page: Open, tmp_path: Path) -> None:
    slow = ["--parameter", "seconds=0.1"]
    with command("run", "demo", "-o", tmp_path, *SCAN, *slow, "--page") as scan:
        opened = open_page(link_in(scan))
        page = opened.page
        expect(page.get_by_role("application", name="Map of the whole sky")).to_be_visible(timeout=60_000)
        expect(page.locator("#state")).to_contain_text("Scanning.")
        count_announcements(page)
        before, done = drawn(page), fits_done(page)
        eventually(lambda: fits_done(page), lambda now: now > done, within=30)
        eventually(lambda: drawn(page), lambda now: now != before, within=30)
        expect(page.locator("#state")).to_contain_text("All pixels of nside 4 have a fit", timeout=60_000)
        expect(page.locator("#regions")).to_contain_text("90%", timeout=30_000)
        expect(page.locator("#workers tbody tr")).to_have_count(2)
        announced, drawings = page.evaluate("[window.announced, Number(document.body.dataset.drawn)]")
        assert announced <= 2
        assert drawings > 5
        page.wait_for_url("**/report", timeout=60_000)
        assert scan.wait(timeout=60) == 0
    page.wait_for_selector("body[data-ready] #zone")
    expect(page.locator("#state")).to_contain_text("finished after")
    assert opened.errors == []
    (written,) = tmp_path.glob("*.report.html")
    assert page.get_by_role("heading", level=1).inner_text() in written.read_text()
    assert not (tmp_path / "scan.sqlite").exists()


@pytest.fixture(scope="module")
def half_scan(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The broker of an unfinished scan without workers: its first level, and half of the second."""
    folder = tmp_path_factory.mktemp("half")
    whole = ["-b", f"sqlite:///{folder}/whole.sqlite", "-n", "one", "--format", "json"]
    with command("run", "demo", "-o", folder, *SCAN, *whole) as scan:
        assert scan.wait(timeout=120) == 0
    url = f"sqlite:///{folder}/half.sqlite"
    with open_broker(f"sqlite:///{folder}/whole.sqlite") as source, open_broker(url) as target:
        for topic in source.topics():
            most = {"collected": 280, "progress": 0}.get(topic.rpartition("-")[2], 10**6)
            with source.reader(topic) as reader, target.producer(topic, "copy") as producer:
                for number, message in enumerate(arrived(reader, 0)):
                    if number < most:
                        producer.send(Outgoing(message.payload, key=message.key, properties=message.properties))
    return url


@pytest.fixture(scope="module")
def half(half_scan: str) -> Iterator[str]:
    """The page of that scan."""
    with command("page", "one", "-b", half_scan) as page:
        yield link_in(page)


def settled(opened: Opened) -> Page:
    expect(opened.page.locator("#regions")).to_contain_text("3 sigma", timeout=30_000)
    return opened.page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("context", [{}, PHONE], ids=["desktop", "phone"])
def test_live_page_is_accessible(open_page: Open, half: str, scheme: str, context: dict[str, object]) -> None:
    page = settled(open_page(half, color_scheme=scheme, **context))
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    small = page.locator("button").evaluate_all("(all) => all.filter((one) => one.getBoundingClientRect().height < 24)")
    assert small == []


def test_map_of_an_unfinished_scan_is_read_with_the_keyboard(open_page: Open, half: str) -> None:
    opened = open_page(half)
    page = settled(opened)
    page.get_by_role("application", name="Map around the best fit").focus()
    page.keyboard.press("0")
    expect(page.locator("#zone output")).to_contain_text("nside 16 pixel")
    expect(page.locator("#zone output")).to_contain_text("(2Δ 0.00)")
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#zone output")).not_to_contain_text("(2Δ 0.00)")
    assert opened.errors == []


def test_only_state_and_readings_are_live_regions(open_page: Open, half: str) -> None:
    page = settled(open_page(half))
    live = page.locator("[aria-live], [role=status]")
    assert live.evaluate_all("(all) => all.map((one) => one.id || one.localName)") == ["state", "output", "output"]
    expect(page.locator("#state")).to_contain_text("All pixels of nside 4 have a fit. Best fit so far: RA")


def test_lost_connection_is_reported_and_restored(open_page: Open, half_scan: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with command("page", "one", "-b", half_scan, "--port", str(port)) as served:
        page = settled(open_page(link_in(served)))
    expect(page.locator("#state")).to_contain_text("The connection is lost; trying again", timeout=20_000)
    with command("page", "one", "-b", half_scan, "--port", str(port)):
        expect(page.locator("#state")).to_contain_text("All pixels of nside 4 have a fit", timeout=60_000)
        assert fits_done(page) == 280


def test_broker_trouble_is_reported_until_it_ends(open_page: Open, half: str) -> None:
    opened = open_page(half)
    opened.page.add_init_script("""{
        const Source = EventSource;
        window.EventSource = class extends Source {
            constructor(address) {
                super(address);
                this.addEventListener("status", ({ data }) => { window.state = JSON.parse(data); });
                window.say = (trouble) => {
                    const data = JSON.stringify({ ...window.state, trouble });
                    this.dispatchEvent(new MessageEvent("status", { data }));
                };
            }
        };
    }""")
    opened.page.reload()
    page = settled(opened)
    page.evaluate("say('The broker is unavailable')")
    expect(page.locator("#state")).to_have_text("The broker is unavailable; trying again.")
    page.evaluate("say(null)")
    expect(page.locator("#state")).to_contain_text("All pixels of nside 4 have a fit")


def test_list_shows_new_scans_without_a_reload(open_page: Open, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/scans.sqlite"
    with command("page", "-b", url) as served:
        opened = open_page(link_in(served))
        page = opened.page
        expect(page.locator("#state")).to_contain_text("There are no scans on this broker", timeout=20_000)
        small = [*DUMMY, "--levels", "2:0", "--seeds", "1", "--workers", "1", "--format", "json"]
        for name in ("alpha", "beta"):
            with command("run", "demo", "-o", tmp_path / name, "-b", url, "-n", name, *small) as scan:
                assert scan.wait(timeout=120) == 0
        row = page.get_by_role("row", name="beta")
        expect(row).to_contain_text("done", timeout=30_000)
        page.get_by_label("Filter").fill("alpha")
        expect(page.locator("tbody tr:visible")).to_have_count(1)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        page.get_by_role("link", name="alpha").click()
        page.wait_for_url("**/scans/alpha/report", timeout=60_000)
        page.wait_for_selector("body[data-ready] #zone")
        assert opened.errors == []
