"""``skymap-scanner save``."""

from __future__ import annotations

from pathlib import Path

import click

from skymap_api.text import printable_line
from skymap_scanner.cli import options
from skymap_scanner.cli.broker_options import BrokerOptions, with_broker
from skymap_scanner.errors import InputError


@click.command()
@options.scan_name(required=True)
@with_broker()
@options.output_folder(required=True, help="Folder for the files.")
@options.result_formats()
@options.topics("collected", "to_be_scanned")
def command(
    name: str, broker_options: BrokerOptions, folder: Path, formats: tuple[str, ...], topic_bases: dict[str, str]
) -> None:
    """Write the files of a scan now, from the fits that its topics hold, without waiting for more.

    For a scan whose files could not be written, or that will not be finished: its map then is partial, and says so.
    Nothing on the broker changes, so that the scan itself goes on.

    \b
    Examples:
        skymap-scanner save -n myscan --broker pulsar://localhost:6650 -o rescued/
        skymap-scanner save -n scan --broker sqlite:///result/scan.sqlite -o rescued/ --format json
    """
    from skymap_api.names import ScanTopics, TopicBases
    from skymap_scanner.roles.local.record import FILE as RECORD_FILE
    from skymap_scanner.roles.saver.saver import SaverSettings, save_now

    try:
        of_run = (folder / RECORD_FILE).exists()
    except OSError as error:
        raise InputError(f"cannot use the folder {folder}: {error.strerror}") from error
    if of_run:
        raise InputError(f"{folder} is the folder of a run, which writes its own files there: choose another folder")
    if not broker_options.exists:
        raise InputError(f"{broker_options.url}: there is no such file; give the --broker of the scan")
    settings = SaverSettings(output=folder / "{stem}.i3.zst", results=folder, formats=formats)
    with broker_options.open() as broker:
        saved = save_now(broker, ScanTopics.of(name, TopicBases(**topic_bases)), settings)
    if not saved.complete:
        planned = sum(saved.metadata.plan.values())
        more = "; more fits follow" if saved.scanned == planned else ""  # of further levels, or for the contours
        click.echo(
            f"The scan is not complete: these files have {saved.scanned} of {planned} planned pixels{more}.", err=True
        )
    click.echo(f"{saved.scanned} pixels written to {printable_line(str(folder))}")
