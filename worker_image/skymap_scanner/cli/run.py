"""``skymap-scanner run``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skymap_scanner.cli import options
from skymap_scanner.cli.broker_options import BROKER_PARAMETERS, BrokerOptions, with_broker
from skymap_scanner.cli.notice_options import NOTICE_PARAMETERS, with_notices

if TYPE_CHECKING:
    from skymap_scanner.cli.local_run import RunRequest

#: Parameters that a manifest does not set, by their names in `RunRequest`.
COMMON = ("folder", "workers", "restart", "delete_topics")


@click.command(cls=options.LevelsCommand)
@click.argument("event", metavar="EVENT|MANIFEST")
@options.output_folder(required=True, help="Folder for all files of the scan.")
@click.option(
    "-n",
    "--name",
    help="Name of the scan; its topics are named after it.  [default: scan; on a shared broker the event's name and "
    "a checksum of event and settings]",
)
@with_broker(required=False)
@options.event
@options.scan(seeds=3, first_seeds=1)
@click.option(
    "--workers",
    type=click.IntRange(0, 1024),
    help="Number of worker processes; 0 leaves the fits to workers started elsewhere.  [default: one per core "
    "that this process may use, fewer if memory is short]",
)
@options.result_formats()
@click.option(
    "--restart",
    is_flag=True,
    help="Discard an earlier scan in the folder, including its topics on a shared broker, and start again.",
)
@click.option(
    "--delete-topics", is_flag=True, help="Delete the scan's topics from the shared broker once its files are written."
)
@with_notices("--notify", required=False, text="Send notices when the scan begins and when it ends:")
@click.option("--page", is_flag=True, help="Serve a web page that shows the map while the scan runs; prints its link.")
@click.option(
    "--page-port", type=click.IntRange(1, 65535), help="Port of the page on this machine.  [default: one that is free]"
)
def command(
    event: str,
    broker_options: BrokerOptions,
    notice_options: Callable[[], Any] | None,
    page: bool,
    page_port: int | None,
    **given: Any,
) -> None:
    """Scan EVENT on this machine: a path, - or an http(s) URL, a SkymapScan manifest (.yaml), or the word demo.

    Writes the .i3 file with every pixel's fit, the sky map and pictures into the folder. If it was stopped or killed,
    the same command resumes the scan. With --broker, workers on other machines can take part. With --page, a browser on
    this machine shows the scan while it runs, and its report at the end.

    \b
    Examples:
        skymap-scanner run event.json -o result/
        skymap-scanner run event.json -o result/ --page
        skymap-scanner run event.json -o quick/ --levels 4:0 32:12 --seeds 1
        skymap-scanner run event.json -o result/ --broker pulsar://localhost:6650
        skymap-scanner run event.json -o result/ --notify webhook=https://alerts.example.org/hook --notify slack
        skymap-scanner run scan.yaml -o result/
        skymap-scanner run demo -o demo-scan/
    """
    if page_port is not None and not page:
        raise click.UsageError("--page-port is for the live page: give --page too")
    from skymap_scanner.cli.fork_server import ForkServer

    with ForkServer() as roles:  # it imports what they need while this process imports its own
        from skymap_scanner.cli.local_run import run

        common = _common(given, broker_options, notice_options) | {"page_port": (page_port or 0) if page else None}
        run(_request(event, given, common), roles.start)


def _request(event: str, given: dict[str, Any], common: dict[str, Any]) -> RunRequest:
    from skymap_scanner.cli.manifest import is_manifest

    if is_manifest(event):
        options.reject_options_beside_manifest(
            "event", "page", "page_port", *COMMON, *NOTICE_PARAMETERS, *BROKER_PARAMETERS
        )
        request = _request_from_manifest(Path(event), common)
    else:
        request = _request_from_options(event, given, common)
    if request.notices and request.formats and not {"json", "npz"} & set(request.formats):
        raise click.UsageError("notices are made from the JSON or the npz file: choose the format json, too")
    return request


def _common(
    given: dict[str, Any], broker_options: BrokerOptions, notice_options: Callable[[], Any] | None
) -> dict[str, Any]:
    """Return the settings that a manifest does not have, and remove them from ``given``."""
    common = {name: given.pop(name) for name in COMMON}
    common["broker"] = broker_options.absolute() if broker_options.url else None
    common["notices"] = None if notice_options is None else notice_options()
    if common["delete_topics"] and common["broker"] is None:
        raise click.UsageError("--delete-topics is for a shared broker: give --broker too")
    return common


def _request_from_options(event: str, given: dict[str, Any], common: dict[str, Any]) -> RunRequest:
    from skymap_scanner.cli.local_run import RunRequest
    from skymap_scanner.cli.settings import scan_options, scan_settings
    from skymap_scanner.event.demo import demo_event_path

    if event == "demo" and not Path(event).exists():
        event = str(demo_event_path())
    name, formats, select = given.pop("name"), given.pop("formats"), options.parse_select(given.pop("select"))
    settings = scan_settings(name or "scan", scan_options(**given))
    named = bool(name) or common["broker"] is None
    return RunRequest(event=event, settings=settings, select=select, formats=formats, named=named, **common)


def _request_from_manifest(path: Path, common: dict[str, Any]) -> RunRequest:
    from skymap_scanner.cli.local_run import RunRequest
    from skymap_scanner.cli.manifest import read_manifest

    manifest = read_manifest(path)
    if manifest.cluster_only:
        click.echo(
            f"These fields of spec are for clusters and ignored here: {', '.join(manifest.cluster_only)}", err=True
        )
    if common["workers"] is None:
        common = common | {"workers": manifest.workers}
    return RunRequest(
        event=manifest.event,
        select=manifest.select,
        settings=manifest.settings,
        formats=manifest.formats,
        suffix=manifest.suffix,
        max_task_seconds=manifest.max_task_seconds,
        **common,
    )
