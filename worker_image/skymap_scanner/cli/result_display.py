"""What is said of a scan's results in a folder, wherever the scan ran."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from skymap_scanner.kubectl.unpack import printable


def show_results(folder: Path, names: Iterable[str] | None = None) -> None:
    """Print the summary and name the files: those of ``names``, or all that the folder itself has."""
    if names is None:
        from skymap_scanner.roles.record import FILE as RECORD_FILE

        found = (path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        names = (name for name in found if name != RECORD_FILE)
    listed = sorted(names)
    for name in listed:
        if name.endswith(".summary.txt"):
            text = (folder / name).read_text(errors="replace")
            click.echo("\n".join(printable(line) for line in text.split("\n")))
    click.echo(f"Files in {folder}:")
    for name in listed:
        click.echo(f"  {printable(name)}")
