"""``skymap-scanner saver``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from skymap_scanner.cli import options


@click.command(cls=options.LevelsCommand)
@options.scan_name(required=True)
@options.broker
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("final_output.i3"),
    show_default=True,
    help="The .i3 file; its suffix (.gz, .bz2, .zst, .xz) compresses it. {stem} stands for run, event and levels.",
)
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the sky map and other results.  [default: that of the .i3 file]",
)
@click.option(
    "--format", "formats", multiple=True, help="Write only this result format; may be repeated.  [default: all]"
)
@click.option("-i", "--nside", type=int, help="Refuse a scan whose only level is not this nside.")
@click.option("--area", help="Refuse a scan of another area.")
@click.option("--pixel-list", help="Refuse a scan of other pixels.")
@click.option(
    "--delete-output-from-queue", is_flag=True, help="Delete the topic of best fits once the files are written."
)
@options.topic("collected")
@options.topic("to_be_scanned")
@options.end_with_parent
def command(
    name: str,
    broker_options: options.BrokerOptions,
    output: Path,
    results: Path | None,
    formats: tuple[str, ...],
    nside: int | None,
    area: str | None,
    pixel_list: str | None,
    delete_output_from_queue: bool,
    collected: str,
    to_be_scanned: str,
    end_with_parent: bool,
) -> int:
    """Write the .i3 file with every pixel's best fit, and the results, when the scan is complete.

    \b
    Example:
        skymap-scanner saver -n myscan --broker sqlite:///scan.sqlite -o myscan.i3.zst
    """
    from skymap_scanner.roles.liveness import start_heartbeat
    from skymap_scanner.roles.stop import Stop

    stop = Stop().on_signals(with_parent=end_with_parent)  # before what takes long to import
    start_heartbeat(stop, os.environ)

    from skymap_api.names import ScanTopics, TopicBases
    from skymap_scanner.results import FORMATS
    from skymap_scanner.roles.full_disk import retry_while_disk_full
    from skymap_scanner.roles.progress_reporter import SaveAttempts
    from skymap_scanner.roles.saver import SaverSettings, save

    settings = SaverSettings(
        output=output,
        results=results or output.parent,
        formats=formats or FORMATS,
        nside=nside,
        area=area,
        pixels=pixel_list,
        delete_collected=delete_output_from_queue,
    )
    topics = ScanTopics.of(name, TopicBases(to_be_scanned=to_be_scanned, collected=collected))
    with broker_options.open() as broker:
        tries = SaveAttempts()
        done = retry_while_disk_full(lambda: save(broker, topics, settings, stop, tries), stop)
    return 0 if done else stop.exit_code
