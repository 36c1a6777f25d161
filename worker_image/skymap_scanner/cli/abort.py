"""``skymap-scanner abort``."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import click

from skymap_scanner.cli import kubectl_options

if TYPE_CHECKING:
    from skymap_scanner.kubectl.client import Kubectl
    from skymap_scanner.kubectl.scans import SeenScan


@click.command()
@click.argument("name")
@kubectl_options.options
@click.option(
    "--delete", is_flag=True, help="Delete the scan and what it has in Pulsar; its results stay on the claim."
)
@click.option("--resume", is_flag=True, help="Let a scan that was stopped go on where it was.")
@click.option("--yes", is_flag=True, help="Do not ask before a scan is deleted.")
@click.option(
    "--patience",
    type=click.FloatRange(0),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait until a deleted scan is gone; 0: not at all.",
)
def command(name: str, kubectl: Kubectl, delete: bool, resume: bool, yes: bool, patience: float) -> None:
    """Stop the scan NAME: its pods end, and what it has found so far stays, in Pulsar, for --resume.

    \b
    Examples:
        skymap-scanner abort alert-138632
        skymap-scanner abort alert-138632 --resume
        skymap-scanner abort alert-138632 --delete
    """
    from skymap_scanner.kubectl.scans import RESOURCE, the

    if delete and resume:
        raise click.UsageError("--delete and --resume exclude each other")
    scan = the(kubectl, name)
    if delete:
        _delete(kubectl, scan, yes, patience)
        return
    if scan.deleting:
        click.echo(f"Scan {name} is being deleted already.", err=True)
        return
    if scan.finished:
        click.echo(f"Scan {name} is done ({scan.phase}): there is nothing to stop or resume.", err=True)
        return
    if bool(scan.spec.get("suspend")) != resume:
        click.echo(f"Scan {name} is {'not stopped' if resume else 'stopped already'}.", err=True)
        return
    change = json.dumps({"spec": {"suspend": not resume}})
    kubectl.run("patch", RESOURCE, name, "--type=merge", "--patch", change)
    if resume:
        click.echo(f"Scan {name} goes on where it was.", err=True)
        return
    click.echo(
        f"Scan {name} stops: its pods end, each worker after the fit in hand. What is done stays in Pulsar.\n"
        f"    {kubectl_options.call(kubectl, 'abort', name, '--resume')}   lets it go on\n"
        f"    {kubectl_options.call(kubectl, 'abort', name, '--delete')}   removes it, also from Pulsar",
        err=True,
    )


def _delete(kubectl: Kubectl, scan: SeenScan, yes: bool, patience: float) -> None:
    """Delete a scan, and wait until it is gone."""
    from skymap_scanner.errors import InputError
    from skymap_scanner.kubectl.scans import RESOURCE

    if not yes and not scan.deleting:
        state = f"scan {scan.name} in namespace {scan.namespace} is {scan.phase}"
        if not sys.stdin.isatty():
            raise InputError(f"{state}: give --yes to delete it")
        click.confirm(f"{state[0].upper()}{state[1:]}. Delete it, with all that it has in Pulsar?", abort=True)
    kubectl.run("delete", RESOURCE, scan.name, "--ignore-not-found", "--wait=false")
    if _gone(kubectl, scan, patience):
        click.echo(f"Scan {scan.name} is deleted.", err=True)
    else:
        click.echo(f"Scan {scan.name} is being deleted: the operator removes its topics first.", err=True)
    click.echo(_what_stays(kubectl, scan), err=True)


def _gone(kubectl: Kubectl, scan: SeenScan, patience: float) -> bool:
    """Wait until the scan is gone; tells whether it is.

    Raises
    ------
    ClusterError
        If it is not gone in time; says what is in the way, where the operator has said so.
    """
    from skymap_scanner.errors import ClusterError
    from skymap_scanner.kubectl.scans import find

    uid, deadline = scan.document["metadata"]["uid"], time.monotonic() + patience
    while True:
        left = find(kubectl, scan.name)
        if left is None or left.document["metadata"]["uid"] != uid:
            return True
        if not patience:
            return False
        if time.monotonic() > deadline:
            hindrance = left.hindrance
            why = "does an operator run?" if hindrance is None else f"{hindrance.reason.value}: {hindrance.message}"
            raise ClusterError(f"scan {scan.name} is to be deleted, and is still there after {patience:g} s: {why}")
        time.sleep(0.5)


def _what_stays(kubectl: Kubectl, scan: SeenScan) -> str:
    """Say what happens with the results."""
    if kubectl.get("persistentvolumeclaim", scan.claim) is None:
        return "It had no results."
    image = None if scan.status.runs_with is None else scan.status.runs_with.image
    words = ["fetch", scan.name, "--claim", scan.claim, "--path", scan.folder]
    fetch = kubectl_options.call(kubectl, *words, "--image", image or "IMAGE")
    where = f" --namespace {scan.namespace}"
    return (
        f"Results, if it had any, stay on claim {scan.claim}, folder {scan.folder}:\n"
        f"    {fetch}   copies them\n"
        f"    kubectl delete pvc {scan.claim}{where}   deletes them for ever"
    )
