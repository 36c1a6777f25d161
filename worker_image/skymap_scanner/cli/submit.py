"""``skymap-scanner submit``."""

from __future__ import annotations

import functools
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skymap_scanner.cli import kubectl_options, options

if TYPE_CHECKING:
    from skymap_scanner.kubectl.client import Kubectl
    from skymap_scanner.kubectl.submission import Submission


@click.command(cls=options.LevelsCommand)
@click.argument("event", metavar="EVENT|MANIFEST")
@click.option("-n", "--name", help="Name of the scan.  [default: that of the event]")
@kubectl_options.options
@options.event_options
@click.option(
    "--levels", help="NSIDE:PARENTS of each level: refine the best PARENTS pixels to NSIDE [default: 8:0 64:12 512:24]"
)
@click.option(
    "--credentials-secret",
    metavar="SECRET",
    help="Secret with what the event's server asks for (keys username and password, or token).",
)
@click.option(
    "--priority",
    type=click.Choice(["Realtime", "Normal"], case_sensitive=False),
    help="Realtime: it gets its workers before others, where there are not enough for all.  [default: Normal]",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="PATH=VALUE",
    help="Any other field of spec, such as workers.max=500; may be repeated.",
)
@click.option("--wait", is_flag=True, help="Show the scan live until it is done; exit code 1 if it fails.")
@click.option("--dry-run", is_flag=True, help="Print the manifest (YAML) instead, without any cluster.")
def command(event: str, kubectl: Kubectl, wait: bool, dry_run: bool, **given: Any) -> None:
    """Have a cluster scan EVENT: a URL, an event's file, a SkymapScan manifest (.yaml), or the word demo.

    A file travels in a ConfigMap, of at most 1 MiB. A manifest goes as it is. The same command does no harm when it is
    repeated; another scan of the same name is left alone, and this one refused.

    \b
    Examples:
        skymap-scanner submit https://example.org/event.json --credentials-secret i3live
        skymap-scanner submit event.json -n alert-138632 --levels 8:0 64:12 --set workers.max=500 --wait
        skymap-scanner submit scan.yaml
        skymap-scanner submit demo --dry-run
    """
    from skymap_scanner.cli.manifest import is_manifest

    if is_manifest(event):
        _refuse_options_beside_a_manifest()
        submission = _from_manifest(Path(event))
    else:
        submission = _from_event(event, **given)
    if dry_run:
        import yaml

        click.echo(yaml.safe_dump_all(submission.documents, sort_keys=False, width=100), nl=False)
        return
    _submit(kubectl, submission, wait)


def _submit(kubectl: Kubectl, submission: Submission, wait: bool) -> None:
    from skymap_api.resource.status import Phase
    from skymap_scanner.cli.status import show_story, watch_scan
    from skymap_scanner.kubectl.scans import the
    from skymap_scanner.kubectl.submission import submit

    name = submission.scan["metadata"]["name"]
    namespace = submission.scan["metadata"].get("namespace")
    if kubectl.namespace is None and namespace is not None:
        kubectl = replace(kubectl, namespace=namespace)
    made = submit(kubectl, submission)
    click.echo(f"SkymapScan {name} {'is made' if made else 'is there already'}.", err=True)
    if not wait:
        click.echo(f"    {kubectl_options.call(kubectl, 'status', name, '--watch')}   shows it live", err=True)
        return
    ended = watch_scan(kubectl, functools.partial(the, kubectl, name))
    if not sys.stdout.isatty():  # a terminal shows it already
        show_story(ended, kubectl)
    if ended.status.phase is not Phase.SUCCEEDED:
        raise click.exceptions.Exit(1)


def _from_manifest(path: Path) -> Submission:
    from skymap_scanner.cli.yaml_documents import read_documents
    from skymap_scanner.errors import InputError
    from skymap_scanner.kubectl.submission import Submission, check

    documents = read_documents(path)
    if len(documents) != 1:
        raise InputError(f"{path} holds {len(documents)} documents: give one SkymapScan")
    check(documents[0], str(path))
    return Submission(documents[0])


def _from_event(
    event: str,
    *,
    name: str | None,
    levels: str | None,
    select: str | None,
    pulses: str | None,
    credentials_secret: str | None,
    priority: str | None,
    sets: tuple[str, ...],
) -> Submission:
    """Make the manifest of an event and of the options."""
    from skymap_scanner.kubectl.submission import Submission, scan_manifest

    options.parse_select(select)
    chosen, source, config_map = _event(event, name, select)
    if credentials_secret is not None:
        source["credentialsSecret"] = {"name": credentials_secret}
    source |= {key: value for key, value in (("pulseSeries", pulses), ("select", select)) if value is not None}
    more: dict[str, Any] = {} if priority is None else {"priority": priority}
    if levels is not None:
        from skymap_scanner.scan.levels import parse_levels

        parsed = parse_levels(levels)
        more["levels"] = [{"nside": one.nside} | ({"parents": one.parents} if one.parents else {}) for one in parsed]
    return Submission(scan_manifest(chosen, source, more, sets), config_map)


def _event(event: str, name: str | None, select: str | None) -> tuple[str, dict[str, Any], dict[str, Any] | None]:
    """Return the name of the scan, where the cluster finds the event, and the ConfigMap where it is a file."""
    from skymap_scanner.kubectl.scans import check_name
    from skymap_scanner.kubectl.submission import event_config_map, event_of_config_map, label, name_of_url

    if "://" in event:
        return check_name(name or name_of_url(event)), {"url": event}, None
    path = Path(event)
    if event == "demo" and not path.exists():
        from skymap_scanner.simulation import demo_event_path

        name, path = name or "demo", demo_event_path()
    from skymap_scanner.event.sources import read_event

    read = read_event(
        str(path), select=options.parse_select(select)
    )  # a wrong file is refused here, not on the cluster
    chosen = check_name(name or label(read.name))
    config_map = event_config_map(chosen, path.name, path.read_bytes())
    return chosen, event_of_config_map(config_map), config_map


def _refuse_options_beside_a_manifest() -> None:
    context = click.get_current_context()
    allowed = {"event", "context", "namespace", "wait", "dry_run"}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name not in allowed and source is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[-1]} is said in the manifest: change it there")
