"""``skymap-scanner logs``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from skymap_api.text import printable_line
from skymap_scanner.cli.kubectl_options import with_kubectl

if TYPE_CHECKING:
    from skymap_scanner.kubectl.client import Kubectl


@click.command()
@click.argument("name")
@with_kubectl
@click.option(
    "--role",
    type=click.Choice(["producer", "worker", "collector", "saver"]),
    help="Print only the logs of this role.  [default: all]",
)
@click.option("-f", "--follow", is_flag=True, help="Print new lines, also of new pods, until the scan is finished.")
@click.option(
    "--tail", type=click.IntRange(0), metavar="N", help="Print only the last N lines of each log.  [default: all]"
)
def command(name: str, kubectl: Kubectl, role: str | None, follow: bool, tail: int | None) -> None:
    """Print the logs of the pods of the scan NAME, finished pods included; each line begins with role and pod.

    \b
    Examples:
        skymap-scanner logs alert-138632 --tail 20
        skymap-scanner logs alert-138632 --role worker --follow
    """
    from skymap_api.names import Names
    from skymap_scanner.errors import InputError
    from skymap_scanner.kubectl.logs import LogFollower, list_pods, print_logs
    from skymap_scanner.kubectl.scans import check_object_name, find_scan

    # The pods of a deleted scan may remain for a while, and their logs explain why it was deleted.
    base = Names.of("", check_object_name(name)).base
    scan = find_scan(kubectl, name)
    pods = list_pods(kubectl, base, role)
    if scan is None and not pods:
        raise InputError(
            f"there is no SkymapScan {name} in this namespace, and none of its pods: check NAME and --namespace "
            "(skymap-scanner status -A lists all scans)"
        )
    if not pods and not follow:
        why = "deleted with the scan" if scan is not None and scan.finished else "not created yet"
        click.echo(f"Scan {name} has no pods{f' of the {role}' if role else ''}: they are {why}.", err=True)
        return
    if not follow:
        print_logs(kubectl, pods, tail, _print)
        return

    def done() -> bool:
        now = find_scan(kubectl, name)
        return now is None or now.finished

    LogFollower(kubectl, lambda: list_pods(kubectl, base, role), _print, tail).run(done)


def _print(prefix: str, line: str) -> None:
    click.echo(f"{click.style(f'[{prefix}]', fg='cyan')} {printable_line(line)}")
