"""What several commands print: durations, ages, best fits, levels, tables and the files of a result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress_bar import ProgressBar
from rich.table import Table

from skymap_api.text import printable, printable_line

if TYPE_CHECKING:
    from skymap_api.resource.status import BestFitStatus, CalibrationStatus, LevelStatus

#: Seconds between two lines about the same scan if the output is not a terminal.
LINE_INTERVAL = 10.0

#: Characters of a summary that are printed; it has some thousands.
LONGEST_SUMMARY = 2**16


def duration(seconds: float | None) -> str:
    """Return seconds as ``1:02:03`` or ``2:03``; ``?`` if unknown."""
    if seconds is None:
        return "?"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def age(seconds: float) -> str:
    """Return an age as kubectl prints it: ``45s``, ``12m``, ``3h``, ``5d``."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"


def direction(best: BestFitStatus) -> str:
    """Describe the direction of the best fit, its 90 % region if known, and why it may lie elsewhere."""
    rule = {"calibrated": "calibrated ", "wilks": "statistical ", None: ""}[best.contours]
    area = "" if best.area_90 is None else f", {rule}90 % region {best.area_90:.3g} deg²"
    caution = f"; CAUTION: {printable_line(best.caution)}" if best.caution else ""
    return f"RA {best.ra:.2f}° Dec {best.dec:+.2f}° (nside {best.nside}, pixel {best.pixel}{area}){caution}"


def calibration_text(calibration: CalibrationStatus) -> str:
    """Describe how far the calibration for the event is."""
    failed = f", {calibration.failed} failed" if calibration.failed else ""
    return f"{calibration.done}/{calibration.planned} re-simulations{failed}"


def level_bars(levels: Iterable[LevelStatus]) -> Table:
    """Draw one progress bar per level."""
    table = Table.grid(padding=(0, 2))
    for level in levels:
        count = f"{level.done}/{level.planned}" if level.decided else f"about {level.planned}"
        table.add_row(
            f"nside {level.nside}",
            ProgressBar(total=max(level.planned, 1), completed=level.done, width=40),
            f"{count} pixels" + (f", {level.failed} failed" if level.failed else ""),
        )
    return table


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as aligned columns of text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def show_results(folder: Path, names: Iterable[str]) -> None:
    """Print the summary and list the files, which have these ``names`` in the folder."""
    listed = sorted(names)
    for name in listed:
        if name.endswith(".summary.txt"):
            with (folder / name).open(encoding="utf-8", errors="replace") as file:
                click.echo(printable(file.read(LONGEST_SUMMARY)))
    click.echo(f"Files in {printable_line(str(folder))}:")
    for name in listed:
        click.echo(f"  {printable_line(name)}")
