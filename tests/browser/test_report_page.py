"""The report as its readers use it: on a desktop and a phone, with a mouse, a keyboard, a screen reader, a printer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from testing.reports import DEC, HOSTILE, RA, make_report
from tests.browser.conftest import Open

from skymap_scanner.event.model import OnlineDirection
from skymap_scanner.report import ScanReport
from skymap_scanner.report.index import index_html, read_card
from skymap_scanner.report.page import report_html
from skymap_scanner.results import ScanResult
from skymap_scanner.results.skymap import multi_order_map

PHONE = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reports") / "run.report.html"
    path.write_bytes(report_html(make_report()))
    return path


def picture(page: Page, figure: str) -> str:
    return str(page.evaluate(f"document.querySelector('#{figure} canvas').toDataURL()"))


def next_picture(page: Page, figure: str, *before: str) -> str:
    """The picture as soon as it differs from all those ``before``."""
    drawn = f"(before) => !before.includes(document.querySelector('#{figure} canvas').toDataURL())"
    page.wait_for_function(drawn, arg=list(before))
    return picture(page, figure)


def seek(page: Page, share: float) -> None:
    page.locator("#time").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", str(1000 * share)
    )


def test_page_fetches_nothing_and_has_no_errors(open_page: Open, written: Path) -> None:
    opened = open_page(written, offline=True)
    opened.page.get_by_role("button", name="Play").click()
    opened.page.wait_for_timeout(500)
    assert opened.requests == [written.as_uri()]
    assert opened.errors == []


def test_pixel_in_the_middle_is_read_with_the_keyboard(open_page: Open, written: Path) -> None:
    page = open_page(written).page
    best = multi_order_map(make_report().result).best
    zone = page.get_by_role("application", name="Map around the best fit")
    zone.focus()
    page.keyboard.press("0")
    output = page.locator("#zone output")
    expect(output).to_contain_text(f"nside {best.nside} pixel {best.index}, −ln L {best.llh:.2f} (2Δ 0.00)")
    expect(output).to_contain_text("losses 340 TeV, 120 TeV in the detector, vertex (10, 0, 0) m at 9800 ns")
    page.keyboard.press("ArrowLeft")
    expect(output).not_to_contain_text("(2Δ 0.00)")
    page.keyboard.press("0")
    expect(output).to_contain_text("(2Δ 0.00)")


def test_mouse_moves_zooms_and_reads_the_map(open_page: Open, written: Path) -> None:
    page = open_page(written).page
    page.locator("#sky canvas").scroll_into_view_if_needed()
    box = page.locator("#sky canvas").bounding_box()
    assert box is not None
    before = picture(page, "sky")
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    expect(page.locator("#sky output")).to_contain_text("RA 180.0")
    page.mouse.down()
    page.mouse.move(middle[0] + 80, middle[1], steps=4)
    page.mouse.up()
    page.mouse.move(*middle)
    expect(page.locator("#sky output")).not_to_contain_text("RA 180.0")
    moved = next_picture(page, "sky", before)
    page.locator("#sky").get_by_role("button", name="Zoom in").click()
    next_picture(page, "sky", before, moved)
    page.locator("#sky").get_by_role("button", name="Reset").click()
    page.locator("#sky canvas").hover()
    expect(page.locator("#sky output")).to_contain_text("RA 180.0")


def test_contours_of_wilks_can_be_hidden(open_page: Open, written: Path) -> None:
    page = open_page(written).page
    names = page.get_by_role("list", name="Contours").get_by_role("listitem")
    assert [text.strip() for text in names.all_text_contents()][:2] == ["50% calibrated", "90% calibrated"]
    with_all = picture(page, "zone")
    page.get_by_label("show the statistical contours").uncheck()
    assert picture(page, "zone") != with_all
    page.get_by_label("show the statistical contours").check()
    assert picture(page, "zone") == with_all


def test_replay_shows_the_scan_pixel_by_pixel(open_page: Open, written: Path) -> None:
    page = open_page(written).page
    report = make_report()
    end = picture(page, "sky")
    expect(page.locator("#state")).to_contain_text("finished after")
    seek(page, 0)
    expect(page.locator("#state")).to_contain_text("0 rounds of pixels done")
    seek(page, 0.5)
    done = int(page.locator("#state").inner_text().split(", ")[1].split()[0])
    assert abs(done - report.result.scanned / 2) < 10
    assert page.locator("#time").get_attribute("aria-valuetext") == page.locator("#state").inner_text()
    assert picture(page, "sky") != end
    seek(page, 1)
    assert picture(page, "sky") == end


def test_replay_plays_to_its_end(open_page: Open, written: Path) -> None:
    page = open_page(written).page
    page.clock.install(time=0)
    page.clock.pause_at(3600)
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(5000)
    assert int(page.locator("#time").input_value()) == pytest.approx(500, abs=10)
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.clock.run_for(5100)
    expect(page.locator("#state")).to_contain_text("finished after")
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_event_curves_lanes_and_failures_are_there(open_page: Open, written: Path) -> None:
    page = open_page(written).page
    expect(page.locator("#event .facts")).to_contain_text("10 hit DOMs on 1 string,")
    assert page.locator("#event .hit").count() == 20
    assert page.locator("#event .loss").count() == 22
    assert page.locator("#event .track").count() == 2
    expect(page.get_by_role("img", name="Area of the pixels inside the 90 % threshold: from")).to_be_visible()
    page.get_by_text("Workers in numbers").click()
    assert [row.split("\t")[0] for row in page.locator("#workers tr").all_inner_texts()] == [
        "worker-0",
        "worker-1",
        "worker-2",
    ]
    expect(page.get_by_role("row", name="nside 8 pixel 700")).to_contain_text("it diverged")


def test_hostile_texts_run_nothing(open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "run.report.html"
    path.write_bytes(report_html(make_report(HOSTILE, HOSTILE)))
    opened = open_page(path)
    assert opened.page.evaluate("document.body.dataset.broken") is None
    assert opened.page.locator("body img").count() == 0
    assert "<script>document.body" in opened.page.get_by_role("heading", level=1).inner_text()
    assert opened.errors == []
    assert opened.requests == [path.as_uri()]


def test_policy_refuses_scripts_that_are_not_its_own(open_page: Open, written: Path) -> None:
    opened = open_page(written)
    opened.page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "document.body.dataset.broken = 'yes'";
        document.body.append(script);
    }""")
    assert opened.page.evaluate("document.body.dataset.broken") is None
    assert "Content Security Policy" in opened.errors[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("context", [{}, PHONE], ids=["desktop", "phone"])
def test_page_is_accessible(open_page: Open, written: Path, scheme: str, context: dict[str, object]) -> None:
    page = open_page(written, color_scheme=scheme, **context).page
    for details in page.locator("details").all():
        details.evaluate("(one) => { one.open = true; }")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_page_fits_on_a_phone(open_page: Open, written: Path) -> None:
    page = open_page(written, **PHONE).page
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    small = page.locator("button").evaluate_all("(all) => all.filter((one) => one.getBoundingClientRect().height < 24)")
    assert small == []


def test_colours_follow_the_button(open_page: Open, written: Path) -> None:
    page = open_page(written, color_scheme="light").page
    colour = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(colour)
    page.get_by_role("button", name="Colours: auto").click()
    assert page.evaluate(colour) == light
    page.get_by_role("button", name="Colours: light").click()
    assert page.evaluate(colour) != light


def test_paper_has_the_map_and_no_controls(open_page: Open, written: Path) -> None:
    page = open_page(written, color_scheme="dark").page
    page.emulate_media(media="print")
    assert page.locator(".screen").evaluate_all("(all) => all.every((one) => one.offsetParent === null)")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf().startswith(b"%PDF")


def test_scan_with_numbers_alone_has_a_page(open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "run.report.html"
    path.write_bytes(report_html(ScanReport(make_report().result)))
    opened = open_page(path)
    expect(opened.page.get_by_text("There is no history of this scan")).to_be_visible()
    assert opened.errors == []


def test_index_sorts_filters_and_links(open_page: Open, written: Path) -> None:
    card = read_card(written)
    other = card.model_copy(update={"name": "IC200101A", "mjd": 58849.5, "area": 0.1})
    index = written.with_name("index.html")
    index.write_bytes(index_html({written.name: card, "other.report.html": other}))
    opened = open_page(index)
    page = opened.page
    names = page.locator("tbody th")
    assert names.all_inner_texts() == ["IC231202A", "IC200101A"]
    page.get_by_role("button", name="90 % area (deg²)").click()
    assert names.all_inner_texts() == ["IC200101A", "IC231202A"]
    page.get_by_label("Filter").fill("231202")
    expect(page.locator("tbody tr:visible")).to_have_count(1)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert opened.errors == []
    page.get_by_role("link", name="IC231202A").click()
    page.wait_for_selector("body[data-ready] #zone")


def test_best_fit_is_where_the_bowl_is() -> None:
    best = multi_order_map(make_report().result).best
    assert (abs(best.ra - RA) < 1, abs(best.dec - DEC) < 1) == (True, True)


def test_online_direction_of_the_event_is_shown(open_page: Open, written: Path, tmp_path: Path) -> None:
    report = make_report()
    online = OnlineDirection("l2_online_SplineMPE", RA + 0.5, DEC, 0.2)
    result = ScanResult(report.result.levels, replace(report.result.metadata, online=online))
    path = tmp_path / "online.report.html"
    path.write_bytes(report_html(replace(report, result=result)))
    page = open_page(path).page
    expect(page.locator("#contours")).to_contain_text(
        "online direction (l2_online_SplineMPE, 90% within 0.43°, statistical only)"
    )
    expect(page.locator("body")).to_contain_text("deg from the best fit")
    with_direction = picture(page, "zone")
    other = open_page(written).page
    assert "online direction" not in other.locator("#contours").inner_text()
    assert picture(other, "zone") != with_direction
