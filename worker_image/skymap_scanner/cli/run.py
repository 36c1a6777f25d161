"""``skymap-scanner run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skymap_scanner.cli import options

if TYPE_CHECKING:
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
@options.scan_name(required=False)
@options.event_options
@options.scan_options
@click.option("--workers", type=click.IntRange(1), help="Worker processes.  [default: one a core]")
@click.option(
    "--format", "formats", multiple=True, help="Write only this result format; may be repeated.  [default: all]"
)
@click.option("--restart", is_flag=True, help="Forget an earlier scan in the folder and begin again.")
def command(event: str, folder: Path, workers: int | None, restart: bool, **given: Any) -> None:
    """Scan EVENT on this machine: a path, - or an http(s) URL, a SkymapScan manifest (.yaml), or the word demo.

    Writes the .i3 file with every pixel's fit, the sky map and pictures into the folder. Stopped or killed, the same
    command goes on where it was.

    \b
    Examples:
        skymap-scanner run event.json -o result/
        skymap-scanner run event.json -o quick/ --levels 4:0 32:12 --seeds 1
        skymap-scanner run scan.yaml -o result/
        skymap-scanner run demo -o demo-output/
    """
    from skymap_scanner.cli.manifest import is_manifest, read_manifest
    from skymap_scanner.cli.scan import Request, run

    if is_manifest(event):
        _refuse_options_beside_a_manifest()
        run(_from_manifest(read_manifest(Path(event)), folder, workers, restart))
        return
    from skymap_scanner.cli.settings import scan_settings
    from skymap_scanner.simulation import demo_event_path

    if event == "demo" and not Path(event).exists():
        event = str(demo_event_path())
    formats, select = given.pop("formats"), options.parse_select(given.pop("select"))
    settings = scan_settings(given.pop("name") or "scan", **given)
    run(Request(event, folder, settings, select, workers, formats, restart))


def _from_manifest(manifest: ManifestScan, folder: Path, workers: int | None, restart: bool) -> Any:
    from skymap_scanner.cli.scan import Request

    return Request(
        event=manifest.event,
        folder=folder,
        settings=manifest.settings,
        workers=workers or manifest.workers,
        formats=manifest.formats,
        suffix=manifest.suffix,
        max_task_seconds=manifest.max_task_seconds,
        restart=restart,
    )


def _refuse_options_beside_a_manifest() -> None:
    context = click.get_current_context()
    allowed = {"event", "folder", "workers", "restart"}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name not in allowed and source is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[-1]} is said in the manifest: change it there")
