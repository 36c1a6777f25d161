"""The records of a run, one JSON object a line, and the settings that all of them share."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EVENTS = "events.jsonl"
SETTINGS = "settings.json"


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read the events done so far; a last line that was cut off does not count."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):
        path.write_text("".join(whole))
    return [json.loads(line) for line in whole]


def check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Store the settings beside the records, and exit rather than mix two kinds."""
    path = folder / SETTINGS
    if path.exists() and json.loads(path.read_text()) != settings:
        sys.exit(f"{path} holds {path.read_text().strip()}: choose another folder, or the same settings")
    path.write_text(json.dumps(settings) + "\n")
