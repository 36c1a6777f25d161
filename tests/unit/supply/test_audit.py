"""A known vulnerability fails the audit; a service that does not answer is one line."""

from __future__ import annotations

import json
import re
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
import requests
from dev.supply import audit
from pip_audit import _cli
from pip_audit._service import interface, pypi

FLAW = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fixed_in": ["1.2", "1.3"], "details": "a flaw"}
FINDING = "numpy 2.4.6: PYSEC-2026-1 (CVE-2026-1), fixed in 1.2, 1.3"
LOCK = "".join(f"{one} --hash=sha256:{'0' * 64}\n" for one in ("numpy==2.4.6", "scipy==1.17.1"))

Streams = tuple[pytest.CaptureFixture[str], pytest.LogCaptureFixture]


class Service(requests.Session):
    """PyPI's advisories by package: a list of them, or an HTTP code, or an exception."""

    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__()
        self.answers = answers

    def get(self, url: Any, **_: Any) -> requests.Response:
        answer = self.answers[re.fullmatch(r"https://pypi\.org/pypi/([^/]+)/[^/]+/json", url)[1]]  # type: ignore[index]
        if isinstance(answer, Exception):
            raise answer
        response = requests.Response()
        response.status_code = answer if isinstance(answer, int) else 200
        response._content = json.dumps({"vulnerabilities": answer}).encode()
        return response


@pytest.fixture
def streams(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Streams:
    return capsys, caplog


def audited(
    answers: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streams: Streams
) -> audit.Report | None:
    """Return what the real pip-audit reports of LOCK with these answers of PyPI."""
    lock = tmp_path / "lock.txt"
    lock.write_text(LOCK)
    monkeypatch.setattr(pypi, "caching_session", lambda *_: Service(answers))
    monkeypatch.setattr(sys, "argv", ["pip-audit", *audit.arguments([lock])])
    code = 0
    try:
        _cli.audit()
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    except (requests.ConnectionError, interface.ServiceError):  # end the program
        return audit.read_report(1, "", traceback.format_exc())
    output, log = streams
    return audit.read_report(code, output.readouterr().out, log.text)


@pytest.mark.parametrize(
    ("answers", "report"),
    [
        ({"numpy": [], "scipy": []}, audit.Report((), 2, ())),
        ({"numpy": [FLAW], "scipy": []}, audit.Report((FINDING,), 2, ())),
        ({"numpy": [FLAW, FLAW | {"withdrawn": "2026-01-01"}], "scipy": 404}, audit.Report((FINDING,), 1, ("scipy",))),
        ({"numpy": 404, "scipy": 404}, audit.Report((), 0, ("numpy", "scipy"))),
        ({"numpy": [], "scipy": requests.ConnectTimeout()}, None),
        ({"numpy": [], "scipy": requests.ConnectionError("no address")}, None),
        ({"numpy": 503, "scipy": []}, None),
    ],
)
def test_answers_of_the_service_are_read(
    answers: dict[str, Any],
    report: audit.Report | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    streams: Streams,
) -> None:
    assert audited(answers, tmp_path, monkeypatch, streams) == report


def test_accepted_advisory_is_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streams: Streams) -> None:
    monkeypatch.setattr(audit, "ACCEPTED", {"CVE-2026-1": "we never call it"})
    assert audited({"numpy": [FLAW], "scipy": []}, tmp_path, monkeypatch, streams) == audit.Report((), 2, ())


@pytest.mark.parametrize(
    ("code", "errors"), [(2, "error: unrecognized arguments: --x"), (1, "KeyError: 'x'"), (-9, "")]
)
def test_other_failure_of_pip_audit_is_an_error(code: int, errors: str) -> None:
    with pytest.raises(audit.AuditError, match=f"exited with {code}: "):
        audit.read_report(code, "", errors)


UNREACHABLE = "audit: nothing was audited, since PyPI's advisories cannot be reached from here"


@pytest.mark.parametrize(
    ("report", "codes", "text"),
    [
        (audit.Report((), 2, ()), (0, 0), "audit: 0 vulnerabilities in 2 packages"),
        (
            audit.Report((FINDING,), 2, ()),
            (1, 1),
            f"audit: {FINDING} (in an image)\naudit: 1 vulnerabilities in 2 packages",
        ),
        (
            audit.Report((), 1, ("scipy",)),
            (0, 1),
            "audit: PyPI has no advisories for scipy\naudit: 0 vulnerabilities in 1 packages",
        ),
        (audit.Report((), 0, ("numpy", "scipy")), (0, 1), UNREACHABLE),
        (None, (0, 1), UNREACHABLE),
    ],
)
def test_verdict_fails_on_findings_and_where_an_audit_is_required(
    report: audit.Report | None, codes: tuple[int, int], text: str
) -> None:
    for required, code in zip((False, True), codes, strict=True):
        assert audit.verdict(report, required=required, shipped={"numpy"}) == (code, text)
