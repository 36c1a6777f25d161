from __future__ import annotations

from pathlib import Path

from skymap_scanner.cli.reference import reference

ROOT = Path(__file__).resolve().parents[3]


def test_the_reference_of_commands_is_current() -> None:
    assert (ROOT / "docs/commands.md").read_text() == reference(), "run: make docs"
