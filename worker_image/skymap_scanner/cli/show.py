"""``skymap-scanner show``."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from skymap_api.text import printable_line
from skymap_scanner.cli import options
from skymap_scanner.errors import InputError

if TYPE_CHECKING:
    from skymap_scanner.i3 import Frame

_STOPS = {
    "G": "Geometry",
    "C": "Calibration",
    "D": "DetectorStatus",
    "Q": "DAQ",
    "P": "Physics",
    "S": "Simulation",
    "I": "TrayInfo",
    "N": "None",
}


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--frame", "number", type=click.IntRange(min=0), help="Print only this frame, counted from 0.")
@click.option("--key", help="Print only this object, in full.")
@options.as_json("Print each frame as one line of JSON.")
@click.option("--recover", is_flag=True, help="If the file is damaged, print the frames before the damage.")
def command(file: Path, number: int | None, key: str | None, as_json: bool, recover: bool) -> None:
    """List the frames of an .i3 file (any compression; - is standard input) and print their objects.

    \b
    Examples:
        skymap-scanner show scan.i3.zst
        skymap-scanner show scan.i3.zst --frame 4
        skymap-scanner show scan.i3.zst --frame 4 --key I3EventHeader
        skymap-scanner show scan.i3.zst --json | jq .objects.I3EventHeader.value

    Every object is one line; with --frame or --key, objects are printed in full.
    """
    from skymap_scanner.i3 import read_frames

    source: Path | BinaryIO = sys.stdin.buffer if str(file) == "-" else file
    chosen = _choose(read_frames(source, recover=recover), number, key, str(file))
    if as_json:
        lines = (_json_line(index, frame, keys) for index, frame, keys in chosen)
    else:
        width = shutil.get_terminal_size((120, 24)).columns
        full = number is not None or key is not None
        lines = (
            line
            for index, frame, keys in chosen
            for line in (_full(index, frame, keys) if full else _table(index, frame, keys, width))
        )
    if sys.stdout.isatty() and not as_json:
        click.echo_via_pager(line + "\n" for line in lines)
    else:
        for line in lines:
            click.echo(line)


def _choose(
    frames: Iterable[Frame], number: int | None, key: str | None, file: str
) -> Iterator[tuple[int, Frame, list[str]]]:
    """Yield the selected frames with their numbers and selected keys; raise InputError if there are none."""
    index, found = -1, False
    for index, frame in enumerate(frames):
        keys = [name for name in frame if key in (None, name)]
        if number in (None, index) and (keys or key is None):
            found = True
            yield index, frame, keys
        if index == number:
            break
    if number is not None and index < number:
        raise InputError(f"{file}: there is no frame {number}; the last is frame {index}")
    if not found and key is not None:
        where = "no frame has" if number is None else f"frame {number} does not have"
        raise InputError(f"{file}: {where} the key {key!r}")


def _heading(index: int, frame: Frame) -> str:
    from skymap_scanner.errors import I3Error
    from skymap_scanner.i3 import I3EventHeader

    text = (
        f"Frame {index}  {frame.stop} {_STOPS.get(frame.stop, '')}".rstrip()
        + f"  {len(frame)} object{'s' * (len(frame) != 1)}"
    )
    try:
        header = frame.expect("I3EventHeader" if "I3EventHeader" in frame else "QI3EventHeader", I3EventHeader)
    except I3Error:
        return text
    text = f"{text}  run {header.run_id} event {header.event_id}"
    if frame.stop.upper() != "P":
        return text  # a readout, of all its sub-events
    return f"{text} {printable_line(header.sub_event_stream)}".rstrip() + f" sub-event {header.sub_event_id}"


def _table(index: int, frame: Frame, keys: list[str], width: int) -> Iterator[str]:
    """Yield a heading, and a line for each object: key, type, bytes, and as much of the value as fits."""
    from skymap_scanner.i3.text import object_to_plain, summary

    yield click.style(_heading(index, frame), bold=True)
    names = [printable_line(key) for key in keys]
    types = [printable_line(frame.type_name(key)) for key in keys]
    key_width = max(map(len, names), default=0)
    type_width = min(max(map(len, types), default=0), 36)
    for key, name, kind in zip(keys, names, types, strict=True):
        plain = object_to_plain(frame, key)
        start = f"  {name:{key_width}}  {kind:{type_width}}  {plain['bytes']:>9,}  "
        yield start + summary(plain.get("value", plain.get("error")), max(width - len(start), 20))
    yield ""


def _full(index: int, frame: Frame, keys: list[str]) -> Iterator[str]:
    """Yield a heading, and each object in full."""
    from skymap_scanner.i3.text import object_to_plain, to_text

    yield click.style(_heading(index, frame), bold=True)
    for key in keys:
        plain = object_to_plain(frame, key)
        yield (
            click.style(printable_line(key), bold=True) + f"  {printable_line(plain['type'])}, {plain['bytes']:,} bytes"
        )
        yield from to_text(plain.get("value", plain.get("error")), "  ")
    yield ""


def _json_line(index: int, frame: Frame, keys: list[str]) -> str:
    from skymap_scanner.i3.text import object_to_plain

    objects = {key: object_to_plain(frame, key) for key in keys}
    return json.dumps({"frame": index, "stop": frame.stop, "objects": objects}, allow_nan=False)
