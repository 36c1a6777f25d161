"""``skymap-scanner run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skymap_scanner.cli import options

if TYPE_CHECKING:
    from skymap_scanner.cli.local_run import Request
    from skymap_scanner.cli.manifest import ManifestScan


@click.command(cls=options.LevelsCommand)
@click.argument("event", metavar="EVENT|MANIFEST")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder that takes everything.",
)
@click.option(
    "-n",
    "--name",
    help="Name of the scan; its topics are named after it.  [default: scan; over a shared broker the event's name and "
    "a checksum of event and settings]",
)
@options.shared_broker
@options.event_options
@options.scan_options
@click.option(
    "--workers",
    type=click.IntRange(0),
    help="Worker processes; 0: leave the fits to workers that are started elsewhere.  [default: one a core]",
)
@click.option(
    "--format", "formats", multiple=True, help="Write only this result format; may be repeated.  [default: all]"
)
@click.option(
    "--restart",
    is_flag=True,
    help="Forget an earlier scan in the folder, its topics on a shared broker included, and begin again.",
)
@click.option(
    "--delete-topics", is_flag=True, help="Delete the scan's topics from the shared broker once its files are written."
)
def command(
    event: str,
    folder: Path,
    broker_options: options.BrokerOptions,
    workers: int | None,
    restart: bool,
    delete_topics: bool,
    **given: Any,
) -> None:
    """Scan EVENT on this machine: a path, - or an http(s) URL, a SkymapScan manifest (.yaml), or the word demo.

    Writes the .i3 file with every pixel's fit, the sky map and pictures into the folder. Stopped or killed, the same
    command goes on where it was. With --broker, workers on other machines may take part.

    \b
    Examples:
        skymap-scanner run event.json -o result/
        skymap-scanner run event.json -o quick/ --levels 4:0 32:12 --seeds 1
        skymap-scanner run event.json -o result/ --broker pulsar://localhost:6650
        skymap-scanner run scan.yaml -o result/
        skymap-scanner run demo -o demo-output/
    """
    from skymap_scanner.cli.local_run import Request, run
    from skymap_scanner.cli.manifest import is_manifest, read_manifest

    shared = broker_options.absolute() if broker_options.url else None
    if delete_topics and shared is None:
        raise click.UsageError("--delete-topics is for a shared broker: give --broker too")
    common: dict[str, Any] = {"workers": workers, "restart": restart, "broker": shared, "delete_topics": delete_topics}
    if is_manifest(event):
        _refuse_options_beside_a_manifest()
        run(_from_manifest(read_manifest(Path(event)), folder, common))
        return
    from skymap_scanner.cli.settings import scan_settings
    from skymap_scanner.simulation import demo_event_path

    if event == "demo" and not Path(event).exists():
        event = str(demo_event_path())
    formats, select = given.pop("formats"), options.parse_select(given.pop("select"))
    name = given.pop("name")
    settings = scan_settings(name or "scan", **given)
    named = bool(name) or shared is None
    run(Request(event, folder, settings, select, formats=formats, named=named, **common))


def _from_manifest(manifest: ManifestScan, folder: Path, common: dict[str, Any]) -> Request:
    from skymap_scanner.cli.local_run import Request

    if manifest.elsewhere:
        click.echo(f"These fields of spec count on a cluster only, not here: {', '.join(manifest.elsewhere)}", err=True)
    if common["workers"] is None:
        common = common | {"workers": manifest.workers}
    return Request(
        event=manifest.event,
        select=manifest.select,
        folder=folder,
        settings=manifest.settings,
        formats=manifest.formats,
        suffix=manifest.suffix,
        max_task_seconds=manifest.max_task_seconds,
        **common,
    )


def _refuse_options_beside_a_manifest() -> None:
    context = click.get_current_context()
    allowed = {"event", "folder", "workers", "restart", "delete_topics", *options.BROKER_PARAMETERS}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name not in allowed and source is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[-1]} is said in the manifest: change it there")
