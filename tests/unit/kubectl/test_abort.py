"""``skymap-scanner abort`` against a kubectl that only records its calls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from tests.unit.kubectl.scans import FAILED, OUTPUT_FAILED, SUCCEEDED, scan

from skymap_scanner.cli.abort import command
from skymap_scanner.kubectl import scans
from skymap_scanner.kubectl.client import Kubectl


@pytest.mark.parametrize(
    ("status", "patches", "text"),
    [
        (OUTPUT_FAILED, [True, False], "Scan alert writes its results again."),
        (FAILED, [], "Scan alert is finished (Failed): there is nothing to stop or resume."),
        (SUCCEEDED, [], "Scan alert is finished (Succeeded): there is nothing to stop or resume."),
    ],
)
def test_resume_changes_a_finished_scan_only_if_its_output_failed(
    monkeypatch: pytest.MonkeyPatch, status: dict[str, Any], patches: list[bool], text: str
) -> None:
    sent: list[bool] = []
    monkeypatch.setattr(scans, "get_scan", lambda *_: scan(status, "alert"))
    monkeypatch.setattr(Kubectl, "run", lambda _, *words, **__: sent.append(json.loads(words[-1])["spec"]["suspend"]))
    done = CliRunner().invoke(command, ["alert", "--resume"], catch_exceptions=False)
    assert (sent, done.output.strip()) == (patches, text)
