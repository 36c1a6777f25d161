"""The records of a run, one JSON object a line, and the settings that all of them share."""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.coverage.events import Case

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


def complete_records(
    path: Path, cases: Sequence[Case], run: Callable[[Case], dict[str, Any]], workers: int
) -> list[dict[str, Any]]:
    """Run the cases that have no record yet, append their records, and return those of all cases given.

    ``run`` is called in processes of their own if there are several workers. Others' records stay in the file.
    """
    done = {record["key"] for record in read_records(path)}
    missing = [case for case in cases if case.key not in done]
    print(f"{len(cases)} events, {len(missing)} to do, {workers} workers", flush=True)
    began = time.monotonic()
    with _mapper(workers) as mapper, path.open("a") as file:
        for count, record in enumerate(mapper(run, missing), start=1):
            file.write(json.dumps(record) + "\n")
            file.flush()
            outcome = record.get("failed") or (
                f"error {record['error']:.2f} deg, 2 delta ln L at the truth {record['delta']:.2f}"
            )
            print(f"{count}/{len(missing)} {record['key']}: {outcome}, {record['cpu']:.0f} s CPU", flush=True)
    if missing:
        print(f"{(time.monotonic() - began) / len(missing):.1f} s wall time an event", flush=True)
    keys = {case.key for case in cases}
    return [record for record in read_records(path) if record["key"] in keys]


@contextmanager
def _mapper(workers: int) -> Iterator[Any]:
    """Yield a function like ``map``: in this process, or in fresh ones, since numba does not bear a fork."""
    if workers == 1:
        yield map
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield pool.imap_unordered


def check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Store the settings beside the records, and exit rather than mix two kinds."""
    path = folder / SETTINGS
    if path.exists() and json.loads(path.read_text()) != settings:
        sys.exit(f"{path} holds {path.read_text().strip()}: choose another folder, or the same settings")
    path.write_text(json.dumps(settings) + "\n")
