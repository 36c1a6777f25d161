"""``skymap-scanner saver``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from skymap_scanner.cli import options
from skymap_scanner.cli.broker_options import BrokerOptions, with_broker
from skymap_scanner.cli.notice_options import with_notices
from skymap_scanner.cli.role_process import start_role


@click.command(cls=options.LevelsCommand)
@options.scan_name(required=True)
@with_broker()
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("final_output.i3"),
    show_default=True,
    help="The .i3 file; its suffix (.gz, .bz2, .zst, .xz) chooses the compression, {stem} stands for run, event and "
    "levels.",
)
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the sky map and the other results.  [default: that of the .i3 file]",
)
@options.result_formats()
@click.option("-i", "--nside", type=int, help="Fail if the scan is not of this one nside.")
@click.option("--area", help="Fail if the scan is of another area.")
@click.option("--pixel-list", help="Fail if the scan is of other pixels.")
@click.option(
    "--delete-output-from-queue", is_flag=True, help="Delete the topic of best fits once the files are written."
)
@with_notices("--notify", required=False, text="Send notices when the scan begins and when it ends:")
@options.topics("collected", "to_be_scanned")
@options.end_with_parent
def command(
    name: str,
    broker_options: BrokerOptions,
    output: Path,
    results: Path | None,
    formats: tuple[str, ...],
    nside: int | None,
    area: str | None,
    pixel_list: str | None,
    delete_output_from_queue: bool,
    notice_options: Callable[[], Any] | None,
    topic_bases: dict[str, str],
    end_with_parent: bool,
) -> int:
    """Write the .i3 file with every pixel's fit, and the results, once the scan is complete.

    Notices that cannot be sent never fail the saver: it logs a warning, and the outbox beside the results keeps them.

    \b
    Example:
        skymap-scanner saver -n myscan --broker sqlite:///scan.sqlite -o myscan.i3.zst
    """
    stop = start_role(end_with_parent=end_with_parent)

    from skymap_api.names import ScanTopics, TopicBases
    from skymap_scanner.roles.full_disk import retry_while_disk_full
    from skymap_scanner.roles.saver.progress_reporter import SaveAttempts
    from skymap_scanner.roles.saver.saver import SaverSettings, save

    settings = SaverSettings(
        output=output,
        results=results or output.parent,
        formats=formats,
        nside=nside,
        area=area,
        pixels=pixel_list,
        delete_collected=delete_output_from_queue,
    )
    topics = ScanTopics.of(name, TopicBases(**topic_bases))
    with broker_options.open() as broker:
        attempts, announcer = SaveAttempts(), None
        if notice_options is not None:
            from skymap_scanner.cli.saver_notices import SaverNotices

            announcer = SaverNotices(settings.results, notice_options, stop)
        done = retry_while_disk_full(lambda: save(broker, topics, settings, stop, attempts, announcer), stop)
    return 0 if done else stop.exit_code
