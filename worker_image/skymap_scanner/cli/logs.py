"""``skymap-scanner logs``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from skymap_scanner.cli import kubectl_options
from skymap_scanner.errors import printable

if TYPE_CHECKING:
    from skymap_scanner.kubectl.client import Kubectl


@click.command()
@click.argument("name")
@kubectl_options.options
@click.option(
    "--role",
    type=click.Choice(["producer", "worker", "collector", "saver"]),
    help="Only the pods of this role.  [default: all]",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, of new pods too, until the scan is done.")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines of each.  [default: all]")
def command(name: str, kubectl: Kubectl, role: str | None, follow: bool, tail: int | None) -> None:
    """Print what the pods of the scan NAME have logged, also those that have ended; each line says whose it is.

    \b
    Examples:
        skymap-scanner logs alert-138632 --tail 20
        skymap-scanner logs alert-138632 --role worker --follow
    """
    from skymap_api.names import Names
    from skymap_scanner.errors import InputError
    from skymap_scanner.kubectl.logs import Following, pods_of, show
    from skymap_scanner.kubectl.scans import find

    # Of a scan that is gone there may be pods for a while, and their logs say why it went.
    base = Names.of("", name).base
    scan = find(kubectl, name)
    pods = pods_of(kubectl, base, role)
    if scan is None and not pods:
        raise InputError(f"there is no SkymapScan {name} in this namespace, and no pod of one")
    if not pods and not follow:
        why = "removed with the scan" if scan is not None and scan.finished else "not made yet"
        click.echo(f"There are no pods{f' of the {role}' if role else ''} of scan {name}: {why}.", err=True)
        return
    if not follow:
        show(kubectl, pods, tail, _print)
        return

    def done() -> bool:
        now = find(kubectl, name)
        return now is None or now.finished

    Following(kubectl, lambda: pods_of(kubectl, base, role), _print, tail).run(done)


def _print(prefix: str, line: str) -> None:
    click.echo(f"{click.style(f'[{prefix}]', fg='cyan')} {printable(line)}")
