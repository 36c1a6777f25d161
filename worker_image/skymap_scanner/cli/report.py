"""``skymap-scanner report``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from skymap_api.text import printable_line
from skymap_scanner.cli import options
from skymap_scanner.errors import InputError


@click.command()
@click.argument("results", nargs=-1, type=click.Path(exists=True, path_type=Path))
@options.output_folder(
    help="Folder for the reports, which link to files of a scan only if they lie there.  [default: that of each result]"
)
@click.option(
    "--i3",
    "i3_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The .i3 file of the scan.  [default: the one beside its result, with the same name]",
)
@click.option(
    "--index",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write FOLDER/index.html, which lists the reports in FOLDER and in all folders below it.",
)
def command(results: tuple[Path, ...], folder: Path | None, i3_file: Path | None, index: Path | None) -> None:
    """Write the report of a scan: one HTML page with its map, event and history.

    RESULTS are folders with the files of scans, or their JSON or npz files. A report can be opened without a network,
    and be passed on as it is.

    \b
    Examples:
        skymap-scanner report result/
        skymap-scanner report run00138632.evt000031747601.neutrino_8_32_128_512.json -o reports/
        skymap-scanner report --index results/
    """
    if not results and index is None:
        raise click.UsageError("give RESULTS, or --index")
    found = [path for given in results for path in result_files(given)]
    if i3_file is not None and len(found) != 1:
        raise click.UsageError(f"--i3 is for one scan, and there are {len(found)}")
    _write_reports(found, folder, i3_file)
    if index is not None:
        click.echo(printable_line(str(_write_index(index))))


def _write_reports(found: list[Path], folder: Path | None, i3_file: Path | None) -> None:
    """Write a report of each result; raises InputError before one would replace another."""
    from skymap_scanner.atomic_file import make_folder
    from skymap_scanner.roles.report_files import report_of_files, write_report

    if folder is not None:
        try:
            make_folder(folder)
        except OSError as error:
            raise InputError(f"{folder}: cannot make this folder ({error.strerror})") from error
    sources: dict[tuple[Path, str], Path] = {}
    for path in found:
        report = report_of_files(path, i3_file)
        target = (folder or path.parent).resolve()
        first = sources.setdefault((target, report.result.stem), path)
        if first is not path:
            raise InputError(f"the reports of {first} and {path} would have one name: choose another folder for one")
        if target != path.parent.resolve():
            report = replace(report, files=())  # its links lead to files beside it
        click.echo(printable_line(str(write_report(folder or path.parent, report))))


def result_files(given: Path) -> list[Path]:
    """Return the results in a folder as `results_in`; raises InputError if there is none."""
    found = results_in(given)
    if not found:
        raise InputError(f"{given} holds no result: give a folder with the JSON or npz file of a scan")
    return found


def results_in(given: Path) -> list[Path]:
    """Return the JSON files of the scans in a folder, or the npz files of those without one; a file is its own."""
    if given.is_file():
        return [given]
    found = {path.stem: path for pattern in ("run*.npz", "run*_*[0-9].json") for path in sorted(given.glob(pattern))}
    return [found[stem] for stem in sorted(found)]


def _write_index(folder: Path) -> Path:
    from skymap_scanner.atomic_file import write_atomically
    from skymap_scanner.report.index import index_html, read_card
    from skymap_scanner.report.scan_report import SUFFIX

    cards = {}
    for path in sorted(folder.rglob(f"*{SUFFIX}")):
        try:
            cards[path.relative_to(folder).as_posix()] = read_card(path)
        except InputError as error:
            click.echo(printable_line(f"left out: {error}"), err=True)
    return write_atomically(folder / "index.html", index_html(cards))
