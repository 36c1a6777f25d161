from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_reference_of_commands_is_current() -> None:
    """As `make docs` makes it, in a process of its own: click remembers how a command was asked for help first."""
    made = subprocess.run([sys.executable, "-m", "skymap_scanner.cli.reference"], capture_output=True, check=True)
    assert (ROOT / "docs/commands.md").read_text() == made.stdout.decode(), "run: make docs"
