"""``skymap-scanner submit``."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skymap_scanner.cli import options
from skymap_scanner.cli.kubectl_options import command_line, with_kubectl
from skymap_scanner.errors import InputError

if TYPE_CHECKING:
    from skymap_scanner.kubectl.client import Kubectl
    from skymap_scanner.kubectl.submission import Submission


@click.command(cls=options.LevelsCommand)
@click.argument("event", metavar="EVENT|MANIFEST")
@click.option("-n", "--name", help="Name of the scan.  [default: that of the event]")
@with_kubectl
@options.event
@options.levels
@options.calibrate
@click.option(
    "--credentials-secret",
    metavar="SECRET",
    help="Secret with the credentials for the event's server (keys username and password, or token).",
)
@click.option(
    "--priority",
    type=click.Choice(["Realtime", "Normal"], case_sensitive=False),
    help="Realtime scans get their workers first if there are not enough for all.  [default: Normal]",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="PATH=VALUE",
    help="Any other field of spec, such as workers.max=500; may be repeated.",
)
@click.option("--wait", is_flag=True, help="Show the scan live until it is finished; exit code 1 if it fails.")
@click.option("--dry-run", is_flag=True, help="Print the manifests (YAML) instead of submitting them.")
def command(event: str, kubectl: Kubectl, wait: bool, dry_run: bool, **given: Any) -> None:
    """Have a cluster scan EVENT: a URL, an event's file, - (standard input), a SkymapScan manifest (.yaml), or demo.

    A file is sent in a ConfigMap, of at most 1 MiB. A manifest is sent unchanged. Repeating the command is safe: a
    different scan of the same name is rejected, never changed.

    \b
    Examples:
        skymap-scanner submit https://example.org/event.json --credentials-secret i3live
        skymap-scanner submit event.json -n alert-138632 --levels 8:0 64:12 --set workers.max=500 --wait
        skymap-scanner submit scan.yaml
        skymap-scanner submit demo --dry-run
    """
    from skymap_scanner.cli.manifest import is_manifest

    if is_manifest(event):
        options.reject_options_beside_manifest("event", "context", "namespace", "wait", "dry_run")
        submission = _from_manifest(Path(event))
    else:
        submission = _from_event(event, **given)
    if dry_run:
        from skymap_scanner.cli.yaml_documents import write_documents

        click.echo(write_documents(submission.documents), nl=False)
        return
    _submit(kubectl, submission, wait)


def _submit(kubectl: Kubectl, submission: Submission, wait: bool) -> None:
    from skymap_api.exit_codes import ExitCode
    from skymap_api.resource.status import Phase
    from skymap_scanner.cli.status import print_description, watch_scan
    from skymap_scanner.kubectl.submission import submit

    name = submission.scan["metadata"]["name"]
    namespace = submission.scan["metadata"].get("namespace")
    if kubectl.namespace is None and namespace is not None:
        kubectl = replace(kubectl, namespace=namespace)
    created = submit(kubectl, submission)
    click.echo(f"SkymapScan {name} {'is created' if created else 'exists already'}.", err=True)
    if not wait:
        click.echo(f"    {command_line(kubectl, 'status', name, '--watch')}   shows it live", err=True)
        return
    finished = watch_scan(kubectl, name)
    if not sys.stdout.isatty():  # a terminal shows it already
        print_description(finished, kubectl)
    if finished.status.phase is not Phase.SUCCEEDED:
        raise click.exceptions.Exit(ExitCode.ERROR)


def _from_manifest(path: Path) -> Submission:
    from skymap_scanner.cli.manifest import read_document
    from skymap_scanner.kubectl.submission import Submission

    document, _ = read_document(path)
    return Submission(document)


def _from_event(
    event: str,
    *,
    name: str | None,
    levels: str | None,
    calibrate: int,
    select: str | None,
    pulses: str | None,
    credentials_secret: str | None,
    priority: str | None,
    changes: tuple[str, ...],
) -> Submission:
    """Return the manifests for an event and the options."""
    from skymap_scanner.kubectl.submission import Submission, scan_manifest

    options.parse_select(select)
    name, source, config_map = _event(event, name, select, pulses)
    if credentials_secret is not None:
        source["credentialsSecret"] = {"name": credentials_secret}
    source |= {key: value for key, value in (("pulseSeries", pulses), ("select", select)) if value is not None}
    spec: dict[str, Any] = {"event": source} | ({} if priority is None else {"priority": priority})
    if levels is not None:
        from skymap_scanner.scan.levels import parse_levels

        fields = [
            {"nside": one.nside, "parents": one.parents, "probability": one.probability} for one in parse_levels(levels)
        ]
        spec["levels"] = [{name: value for name, value in level.items() if value} for level in fields]
    if calibrate:
        spec["calibrate"] = calibrate
    for change in changes:
        set_field(spec, change)
    return Submission(scan_manifest(name, spec), config_map)


def set_field(spec: dict[str, Any], change: str) -> None:
    """Set a field of ``spec`` to the value in ``PATH=VALUE``, which is JSON, or else text.

    Raises
    ------
    InputError
        If it is not PATH=VALUE, is not Unicode, or the path leads through a value without fields.
    """
    path, equals, text = change.partition("=")
    names = path.removeprefix("spec.").split(".")
    if not equals or not all(names):
        raise InputError(f"--set {change!r} is not PATH=VALUE, such as workers.max=500")
    parent = spec
    for inner in names[:-1]:
        parent = parent.setdefault(inner, {})
        if not isinstance(parent, dict):
            raise InputError(f"--set {change!r}: {inner} has no fields")
    parent[names[-1]] = options.json_or_text(text)


def _event(
    event: str, name: str | None, select: str | None, pulses: str | None
) -> tuple[str, dict[str, Any], dict[str, Any] | None]:
    """Return the scan's name, ``spec.event``, and the ConfigMap if the event is a file."""
    from skymap_scanner.kubectl.scans import check_object_name
    from skymap_scanner.kubectl.submission import event_config_map, event_of_config_map, label, name_of_url

    if "://" in event:
        return check_object_name(name or name_of_url(event)), {"url": event}, None
    if event == "demo" and not Path(event).exists():
        from skymap_scanner.event.demo import demo_event_path

        name, event = name or "demo", str(demo_event_path())
    from skymap_scanner.event.download_options import DownloadLimits
    from skymap_scanner.event.sources import decode_event, place_of, read_content

    content = read_content(event, DownloadLimits())  # once: a pipe cannot be read again
    # Decode it to reject an invalid event here, not on the cluster.
    found = decode_event(io.BytesIO(content), place_of(event), options.parse_select(select), pulses)
    chosen = check_object_name(name or label(found.name))
    file = Path(event).name if event != "-" and Path(event).is_file() else "event"
    config_map = event_config_map(chosen, file, content)
    return chosen, event_of_config_map(config_map), config_map
