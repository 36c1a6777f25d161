"""``skymap-scanner convert``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from skymap_api.text import printable_line

if TYPE_CHECKING:
    from skymap_scanner.errors import I3Error
    from skymap_scanner.i3 import Frame


@click.command()
@click.argument("source", metavar="IN", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--recover", is_flag=True, help="If IN is damaged, keep the frames before the damage.")
def command(source: Path, target: Path, recover: bool) -> None:
    """Decode every object of the file IN (- is standard input) and encode it again to OUT.

    The suffix of OUT chooses the compression: .i3, .i3.gz, .i3.bz2, .i3.zst or .i3.xz. Objects of unknown classes are
    copied unchanged; old versions of known classes and of frames become current ones. An object that cannot be decoded
    is copied unchanged, too, with a warning for its key. OUT appears only when it is complete.

    \b
    Example:
        skymap-scanner convert old.i3.bz2 new.i3.zst
    """
    from skymap_scanner.i3 import FrameWriter

    stream: Path | BinaryIO = sys.stdin.buffer if str(source) == "-" else source
    counts: Counter[str] = Counter()
    with FrameWriter(target) as writer:
        for frame in _reencoded(stream, recover, counts):
            writer.write(frame)
    click.echo(
        f"{printable_line(str(target))}: {_number(writer.frames, 'frame')}, {_number(counts['objects'], 'object')}; "
        f"{counts['opaque']} of unknown classes, {counts['changed']} converted to current versions"
        + (f", {counts['faulty']} that cannot be decoded copied unchanged" if counts["faulty"] else "")
    )


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _reencoded(stream: Path | BinaryIO, recover: bool, counts: Counter[str]) -> Iterator[Frame]:
    """Yield the frames with every object decoded and encoded again; count objects in ``counts``."""
    from skymap_scanner.i3 import read_frames

    warned: set[str | None] = set()
    for frame in read_frames(stream, recover=recover, on_damage=_warn):
        faults: list[I3Error] = []
        result = frame.reencoded(faults.append)
        for fault in faults:
            if fault.key not in warned:  # of many frames, the first tells enough
                click.echo(f"An object is copied unchanged: {printable_line(str(fault))}", err=True)
                warned.add(fault.key)
        faulty = {fault.key for fault in faults}
        counts["objects"] += len(frame)
        counts["faulty"] += len(faulty)
        counts["opaque"] += sum(frame.is_opaque(key) for key in frame if key not in faulty)
        counts["changed"] += sum(frame.blob(key) != result.blob(key) for key in frame)
        yield result


def _warn(error: I3Error) -> None:
    click.echo(f"Only the frames before the damage are kept: {printable_line(str(error))}", err=True)
