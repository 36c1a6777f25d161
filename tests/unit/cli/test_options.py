"""Numbers that options refuse, of all commands."""

from __future__ import annotations

from click.testing import CliRunner

from skymap_scanner.cli.run import command as run


def test_absurd_number_of_workers_is_refused() -> None:
    refused = CliRunner().invoke(run, ["demo", "-o", "out", "--workers", "99999999"])
    assert refused.exit_code == 2
    assert "99999999 is not in the range 0<=x<=1024" in refused.output
