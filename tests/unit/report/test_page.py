from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from testing.reports import HOSTILE, make_report

from skymap_scanner.report import ScanReport, history_to_csv
from skymap_scanner.report.page import SCRIPTS, as_json, asset, digest, report_html
from skymap_scanner.results.requirements import FORMAT_DISK


class Page(HTMLParser):
    """The elements of a page, their attributes, and the texts of its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.raw.append((self.cdata_elem, data))


def test_policy_allows_the_own_style_and_script_alone() -> None:
    page = Page(report_html(make_report()).decode())
    (policy,) = (
        found["content"] or "" for tag, found in page.elements if found.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; ")
    style = next(text for tag, text in page.raw if tag == "style")
    script = [text for tag, text in page.raw if tag == "script"][-1]
    assert f"style-src '{digest(style)}'" in policy
    assert f"script-src '{digest(script)}'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_page_names_nothing_outside_of_itself() -> None:
    page = Page(report_html(make_report()).decode())
    assert not [found for _, found in page.elements if {"src", "style", "onclick"} & found.keys()]
    links = [found["href"] for _, found in page.elements if "href" in found]
    assert links == ["a.json", "b%20c.npz"]
    scripts = "".join(map(asset, SCRIPTS))
    assert not re.findall(r"fetch\(|XMLHttpRequest|import\(|innerHTML|eval\(|new Function|insertAdjacentHTML", scripts)


def test_file_names_that_are_not_unicode_are_linked() -> None:
    page = report_html(replace(make_report(), files=(os.fsdecode(b"a\xff.json"),))).decode()
    assert '<a href="a%FF.json">a\\udcff.json</a>' in page


def test_hostile_texts_stay_text() -> None:
    honest, hostile = report_html(make_report("x", "y")).decode(), report_html(make_report(HOSTILE, HOSTILE)).decode()
    assert [tag for tag, _ in Page(hostile).elements] == [tag for tag, _ in Page(honest).elements]
    assert [sorted(found) for _, found in Page(hostile).elements] == [sorted(one) for _, one in Page(honest).elements]
    assert "<img" not in hostile


def test_data_come_back_as_they_were() -> None:
    page = Page(report_html(make_report(text=HOSTILE)).decode())
    data = json.loads([text for tag, text in page.raw if tag == "script"][-2])
    assert all(name.startswith("worker-") and "</script>" in name for name in data["history"]["workers"])


def test_json_in_a_page_has_no_markup() -> None:
    text = as_json({"<!--": ["</script>", "&lt;", "\u2028"]})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"<!--": ["</script>", "&lt;", "\u2028"]}
    with pytest.raises(ValueError, match="JSON"):
        as_json(float("nan"))


def test_equal_scans_give_equal_pages() -> None:
    assert report_html(make_report()) == report_html(make_report())


def test_page_of_five_thousand_pixels_is_small() -> None:
    report = make_report(fine=256)
    assert report.result.scanned > 4000
    assert len(report_html(report)) < 1_000_000


def test_report_and_history_take_no_more_than_was_foreseen() -> None:
    report = make_report()
    fits = [one._replace(seed=seed, worker="w" * 40) for one in report.history for seed in range(8)]
    size = sum(map(len, history_to_csv(fits))) + len(report_html(replace(report, history=fits)))
    once, each = FORMAT_DISK["report"]
    assert size < once + each * report.result.scanned
    assert size - len(report_html(ScanReport(report.result))) < each * report.result.scanned
