"""The progress of a scan that the saver reports: live on a terminal, as lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from skymap_api.text import printable_line
from skymap_scanner.cli.display import LINE_INTERVAL, calibration_text, direction, duration, level_bars

if TYPE_CHECKING:
    from skymap_api.progress import Progress


def best_fit_line(progress: Progress) -> str:
    """Describe the best fit so far, or that of a finished scan."""
    if progress.best is None:
        return "no fit yet"
    return f"best fit {'' if progress.phase == 'done' else 'so far '}{direction(progress.best)}"


def state_line(progress: Progress) -> str:
    """Describe how far the scan is."""
    if progress.obstacle is not None:
        return f"{progress.phase}, waiting: {printable_line(progress.obstacle)}"
    if progress.phase != "scanning":
        return f"{progress.phase} after {duration(progress.elapsed)}"
    problems = f", {progress.failed} failed" if progress.failed else ""
    if progress.calibration is not None:
        problems += f", {calibration_text(progress.calibration)}"
    return (
        f"{progress.done}/{progress.planned} pixels{problems}, {progress.rate:.1f} fits/s, "
        f"{duration(progress.elapsed)} elapsed, {duration(progress.eta)} to go"
    )


def render(progress: Progress) -> Group:
    """Draw one bar per level, the state and the best fit."""
    name = Text(printable_line(progress.name), style="bold")
    return Group(name, level_bars(progress.levels), Text(state_line(progress)), Text(best_fit_line(progress)))


@contextmanager
def progress_display(console: Console) -> Iterator[Callable[[Progress], None]]:
    """Yield a function that shows progress: live on a terminal, as a line every few seconds elsewhere."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda progress: live.update(render(progress), refresh=True)
        return
    last = 0.0

    def print_line(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LINE_INTERVAL or progress.phase != "scanning":
            last = now
            console.print(
                f"{printable_line(progress.name)}: {state_line(progress)}; {best_fit_line(progress)}",
                soft_wrap=True,
                highlight=False,
                markup=False,
            )

    yield print_line
