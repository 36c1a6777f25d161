"""The files of a map, which are the same to the last bit however a scan was run: all but those with times in them."""

from __future__ import annotations

from pathlib import Path

#: Ends of the names of files that say when, and by whom, each fit was made.
TIMED = (".history.csv", ".report.html")


def is_map_file(name: str) -> bool:
    """Return whether a result file with this name depends on the scan alone."""
    return not name.endswith(TIMED)


def map_files(folder: Path) -> dict[str, bytes]:
    """Return the files of the map in a folder, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("run*")) if is_map_file(path.name)}
