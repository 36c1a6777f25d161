from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from skymap_api.exit_codes import ExitCode
from skymap_scanner import cli
from skymap_scanner.errors import (
    BrokerError,
    BrokerUnavailable,
    ClusterError,
    ClusterUnavailable,
    InputError,
    SoftwareMismatchError,
)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("no such file"), 1, "Error: no such file\n"),
        (SoftwareMismatchError("begun by 0.0.9"), 3, "Error: begun by 0.0.9\n"),
        (BrokerError("the topic is gone"), 1, "Error: the topic is gone\n"),
        (BrokerUnavailable("pulsar://nowhere does not answer"), 75, "Error: pulsar://nowhere does not answer\n"),
        (ClusterError("pods is forbidden"), 1, "Error: pods is forbidden\n"),
        (ClusterUnavailable("the cluster does not answer"), 75, "Error: the cluster does not answer\n"),
        (RuntimeError("oops"), 70, "Internal error, please report it: RuntimeError: oops\n"),
    ],
)
def test_exit_code_tells_permanent_from_temporary_errors(
    error: Exception, code: int, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli.Commands, "get_command", lambda *_: fail)
    with pytest.raises(SystemExit) as stop:
        cli.main(["collector"])
    assert stop.value.code == code
    assert capsys.readouterr().err == message


def test_exit_codes_are_documented() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/reference/exit-codes.md").read_text()
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)] == sorted(map(int, ExitCode))
