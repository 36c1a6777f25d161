"""The page about events states the limits of the code."""

from __future__ import annotations

import re
from pathlib import Path

from skymap_scanner.event import i3live, pickled_frame
from skymap_scanner.event.download_options import DownloadLimits
from skymap_scanner.event.restricted_pickle import MAX_DEPTH, MAX_KEY, MEMORY_OF_BYTE, MEMORY_OF_INSTRUCTION
from skymap_scanner.i3 import compression
from skymap_scanner.i3.archive import MAX_ELEMENTS
from skymap_scanner.i3.file import MAX_FRAME_BYTES
from skymap_scanner.i3.pulse_objects import MAX_PULSES

PAGE = Path(__file__).parents[3] / "docs/reference/events.md"


def mib(size: int) -> str:
    return f"{size >> 20} MiB"


def test_page_states_the_limits_of_events() -> None:
    growth = f"{mib(compression._FREE)}, then {compression._MOST_GROWTH} × its size"
    memory = f"{MEMORY_OF_BYTE} × its size, and {MEMORY_OF_INSTRUCTION} bytes for each instruction allowed"
    (table,) = re.findall(r"^\| limit \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE)
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]
    assert {row[0]: row[1] for row in rows} == {
        "a message": mib(i3live.MAX_MESSAGE),
        "frames in a message": str(i3live.MAX_FRAMES),
        "all frames of a message, decompressed": mib(i3live.MAX_FRAMES_BYTES),
        "instructions of a pickled frame": str(pickled_frame.MAX_INSTRUCTIONS),
        "instructions of a pickled message": f"{i3live.MAX_INSTRUCTIONS:,}",
        "nesting of a pickle": str(MAX_DEPTH),
        "memory of all values of a pickle": memory,
        "a key of a dictionary in a pickle": f"{MAX_KEY} characters",
        "a frame of an .i3 file": mib(MAX_FRAME_BYTES),
        "elements of its objects, except arrays": f"{MAX_ELEMENTS:,}",
        "pulses, DOMs without pulses included": f"{MAX_PULSES:,}",
        "growth of a compressed stream": growth,
        "a download, or standard input": mib(DownloadLimits().size),
    }
