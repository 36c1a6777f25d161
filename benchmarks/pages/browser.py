"""Measure the pages in a browser: the replay of a report, and a list of many scans.

    python -m benchmarks.pages.browser demo-output/*.report.html

Needs Chromium (make browser-install), which draws without a graphics card here. Without a report it makes one of the
usual levels. Prints, on a desktop and on a phone: the size of the page, when it is complete, pictures per second of the
replay and while the list is scrolled, how long the list takes to sort and to filter, and what axe finds wrong.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright
from testing.reports import make_report

from skymap_scanner.live.cluster.resource import Resource
from skymap_scanner.live.pages import cluster_html
from skymap_scanner.report.page import report_html

INSTALL = Path(__file__).resolve().parents[2] / "dev/browser/install.sh"
#: Where the pages seem to come from: no server is measured.
PLACE = "http://pages.test/"
DEVICES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "is_mobile": True},
}
#: Times of a page (s): of the replay, and of the scrolling.
REPLAY, SCROLL = 10, 3
#: Calls ``act`` and returns the time (ms) until its effect has been drawn.
DRAWN = """async (act) => {
  const began = performance.now();
  act();
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - began;
}"""


@contextmanager
def browser() -> Iterator[Browser]:
    """Start Chromium."""
    found = subprocess.run([str(INSTALL)], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        started = playwright.chromium.launch(executable_path=found, args=arguments)
        yield started
        started.close()


def open_page(started: Browser, content: bytes, **context: Any) -> tuple[Page, float]:
    """Open a page; return it, and the time (s) until it was complete."""
    page = started.new_context(**context).new_page()
    page.route("**/*", lambda route: route.fulfill(body=content, content_type="text/html; charset=utf-8"))
    began = time.perf_counter()
    page.goto(PLACE)
    page.wait_for_selector("body[data-ready]")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    return page, time.perf_counter() - began


def replay_rate(page: Page) -> float:
    """Return the pictures per second of a replay of `REPLAY` seconds."""
    page.locator("#speed").evaluate(f"(list) => list.add(new Option('{REPLAY} s', '{REPLAY}', true, true))")
    return float(
        page.evaluate(
            """async () => {
              const frames = () => Number(document.body.dataset.frames ?? 0);
              const state = document.getElementById("state");
              const [before, began] = [frames(), performance.now()];
              document.getElementById("play").click();
              do await new Promise(requestAnimationFrame); while (!state.textContent.startsWith("finished"));
              return (frames() - before) / ((performance.now() - began) / 1000);
            }"""
        )
    )


def scroll_rate(page: Page) -> float:
    """Return the pictures per second while a page is scrolled for `SCROLL` seconds."""
    return float(
        page.evaluate(
            """async (seconds) => {
              let frames = 0;
              const began = performance.now();
              while (performance.now() - began < 1000 * seconds) {
                scrollBy(0, 40);
                await new Promise(requestAnimationFrame);
                frames += 1;
              }
              return frames / ((performance.now() - began) / 1000);
            }""",
            SCROLL,
        )
    )


def sort_time(page: Page) -> float:
    """Return the CPU time (ms) of sorting by a column, script and layout together, on average over all columns."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def used() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))

    buttons, before = page.locator("#scans thead button").all(), used()
    for button in buttons:
        button.evaluate("(button) => { button.click(); document.body.offsetHeight; }")
    return 1000 * (used() - before) / len(buttons)


def filter_time(page: Page) -> float:
    """Return the time (ms) that a letter in the filter takes."""
    act = f"(box) => ({DRAWN})(() => {{ box.value = '7'; box.dispatchEvent(new Event('input')); }})"
    return float(page.locator("#filter").evaluate(act))


def scans(count: int) -> list[Resource]:
    """Return scans of a cluster at all stages, with all columns filled."""
    now = datetime.now(UTC)
    return [
        Resource(
            namespace=f"team-{one % 7}", name=f"run00138{one % 1000:03d}-evt{one:09d}", uid=str(one),
            phase=("Scanning", "Succeeded", "Pending", "Failed")[one % 4], finished=one % 2 == 1,
            done=one % 1344, planned=1344, failed=one % 3, ra=(one * 7.3) % 360, dec=one * 0.09 % 180 - 90, area=1.3,
            eta=now + timedelta(seconds=one), desired=20, ready=18, busy=17, backlog=one % 500, rate=3.0,
        )
        for one in range(count)
    ]  # fmt: skip


def list_html(count: int) -> bytes:
    """Return the list of so many scans of a cluster."""
    return cluster_html(scans(count), datetime.now(UTC), "user", full=False, signed_in=True)


def wrong(started: Browser, content: bytes, **context: Any) -> int:
    """Return how many rules of accessibility a page violates, in light and dark colours together."""
    return sum(
        Axe().run(open_page(started, content, color_scheme=colours, **context)[0]).violations_count
        for colours in ("light", "dark")
    )


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("report", type=Path, nargs="?", help="a report; default: one of simulated fits")
    parser.add_argument("--scans", type=int, default=2000, help="scans in the list (2000)")
    options = parser.parse_args()
    report = options.report.read_bytes() if options.report else report_html(make_report())
    listed, few = map(list_html, (options.scans, 50))  # axe takes minutes for thousands of rows
    with browser() as started:
        print(f"Chromium {started.version}, {os.cpu_count()} CPUs, no graphics card")
        for name, device in DEVICES.items():
            page, ready = open_page(started, report, **device)
            print(f"report on a {name}: {len(report) / 1e3:.0f} kB, complete after {ready:.2f} s")
            print(f"  replay: {replay_rate(page):.0f} pictures/s; axe: {wrong(started, report, **device)} violations")
            page, ready = open_page(started, listed, **device)
            print(f"{options.scans} scans on a {name}: {len(listed) / 1e3:.0f} kB, complete after {ready:.2f} s")
            print(f"  scrolling: {scroll_rate(page):.0f} pictures/s; sorting: {sort_time(page):.0f} ms of CPU")
            print(f"  filtering: {filter_time(page):.0f} ms; axe: {wrong(started, few, **device)} violations")


if __name__ == "__main__":
    main()
