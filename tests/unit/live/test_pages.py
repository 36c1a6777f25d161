"""The pages that the server sends: hostile texts, and what their scripts may do."""

from __future__ import annotations

import re

from tests.unit.live.conftest import progress

from skymap_scanner.live.pages import live_html, scans_html
from skymap_scanner.live.scans import ListedScan


def test_hostile_texts_stay_text_in_the_pages() -> None:
    hostile = "<script>alert(1)</script>"
    page = scans_html([ListedScan("a", progress("a", hostile))]).decode()
    assert hostile not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert hostile not in live_html(hostile, others=True).decode()


def test_pages_may_connect_only_to_their_own_server() -> None:
    for page in (live_html("a", others=False), scans_html([])):
        (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page.decode())
        assert policy.startswith("default-src &#39;none&#39;; ")
        assert policy.endswith("connect-src &#39;self&#39;")
        assert "unsafe" not in policy
        assert not re.findall(rb"innerHTML|eval\(|new Function|insertAdjacentHTML|https?://(?!www.w3.org)", page)
