"""The progress of a scan on a terminal, or as lines where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from skymap_scanner.errors import printable

if TYPE_CHECKING:
    from skymap_api.progress import Progress
    from skymap_api.resource.status import BestFitStatus, LevelStatus

LINE_EVERY = 10.0


def duration(seconds: float | None) -> str:
    """Write seconds as ``1:02:03`` or ``2:03``; ``?`` when unknown."""
    if seconds is None:
        return "?"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def best_line(best: BestFitStatus, final: bool) -> str:
    """Describe the best fit."""
    area = "" if best.area_90 is None else f", 90 % region {best.area_90:.3g} deg²"
    where = f"RA {best.ra:.2f}° Dec {best.dec:+.2f}°"
    return f"{'best fit' if final else 'best so far'} {where} (nside {best.nside}, pixel {best.pixel}{area})"


def _best_line(progress: Progress) -> str:
    return "no fit yet" if progress.best is None else best_line(progress.best, final=False)


def state_line(progress: Progress) -> str:
    """Describe how far the scan is."""
    if progress.obstacle is not None:
        return f"{progress.phase}, in its way: {printable(progress.obstacle)}"
    if progress.phase != "scanning":
        return f"{progress.phase} after {duration(progress.elapsed)}"
    problems = f", {progress.failed} failed" if progress.failed else ""
    return (
        f"{progress.done}/{progress.planned} pixels{problems}, {progress.rate:.1f} pixels/s, "
        f"{duration(progress.elapsed)} elapsed, {duration(progress.eta)} to go"
    )


def level_bars(levels: Iterable[LevelStatus]) -> Table:
    """Draw one bar a level."""
    table = Table.grid(padding=(0, 2))
    for level in levels:
        count = f"{level.done}/{level.planned}" if level.decided else f"about {level.planned}"
        table.add_row(
            f"nside {level.nside}",
            ProgressBar(total=max(level.planned, 1), completed=level.done, width=40),
            f"{count} pixels" + (f", {level.failed} failed" if level.failed else ""),
        )
    return table


def render(progress: Progress) -> Group:
    """Draw one bar a level, the state and the best fit."""
    bars = level_bars(progress.levels)
    return Group(
        Text(printable(progress.name), style="bold"), bars, Text(state_line(progress)), Text(_best_line(progress))
    )


@contextmanager
def progress_display(console: Console) -> Iterator[Callable[[Progress], None]]:
    """Show progress live on a terminal, as a line every few seconds elsewhere."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda progress: live.update(render(progress), refresh=True)
        return
    last = 0.0

    def line(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LINE_EVERY or progress.phase != "scanning":
            last = now
            console.print(
                f"{printable(progress.name)}: {state_line(progress)}; {_best_line(progress)}",
                soft_wrap=True,
                highlight=False,
                markup=False,
            )

    yield line
