"""``skymap-scanner abort``."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import click

from skymap_api.text import printable_line
from skymap_scanner.cli import options
from skymap_scanner.cli.kubectl_options import command_line, with_kubectl

if TYPE_CHECKING:
    from skymap_scanner.kubectl.client import Kubectl
    from skymap_scanner.kubectl.scans import ClusterScan


@click.command()
@click.argument("name")
@with_kubectl
@click.option("--delete", is_flag=True, help="Delete the scan and its topics in Pulsar; its results stay on the claim.")
@click.option("--resume", is_flag=True, help="Resume a scan that was stopped, or could not write its results.")
@click.option("--yes", is_flag=True, help="Delete the scan without asking.")
@options.timeout("How long to wait until the scan is deleted; 0 does not wait.")
def command(name: str, kubectl: Kubectl, delete: bool, resume: bool, yes: bool, timeout: float) -> None:
    """Stop the scan NAME: its pods end, and its results so far stay in Pulsar for --resume.

    \b
    Examples:
        skymap-scanner abort alert-138632
        skymap-scanner abort alert-138632 --resume
        skymap-scanner abort alert-138632 --delete
    """
    from skymap_scanner.kubectl.scans import RESOURCE, get_scan

    if delete and resume:
        raise click.UsageError("--delete and --resume exclude each other: give one of them")
    scan = get_scan(kubectl, name)
    if delete:
        _delete(kubectl, scan, yes, timeout)
        return
    if scan.deleting:
        click.echo(f"Scan {name} is being deleted already.", err=True)
        return
    if scan.output_failed and resume:
        for suspend in (True, False):  # the operator looks for a change of the scan
            kubectl.run("patch", RESOURCE, name, "--type=merge", "--patch", json.dumps({"spec": {"suspend": suspend}}))
        click.echo(f"Scan {name} writes its results again.", err=True)
        return
    if scan.finished:
        click.echo(f"Scan {name} is finished ({scan.phase}): there is nothing to stop or resume.", err=True)
        return
    if bool(scan.spec.get("suspend")) != resume:
        click.echo(f"Scan {name} is {'not stopped' if resume else 'stopped already'}.", err=True)
        return
    change = json.dumps({"spec": {"suspend": not resume}})
    kubectl.run("patch", RESOURCE, name, "--type=merge", "--patch", change)
    if resume:
        click.echo(f"Scan {name} resumes.", err=True)
        return
    click.echo(
        f"Scan {name} stops: its pods end, each worker after its current fit. The fits so far stay in Pulsar.\n"
        f"    {command_line(kubectl, 'abort', name, '--resume')}   resumes it\n"
        f"    {command_line(kubectl, 'abort', name, '--delete')}   deletes it, also from Pulsar",
        err=True,
    )


def _delete(kubectl: Kubectl, scan: ClusterScan, yes: bool, timeout: float) -> None:
    """Delete a scan, and wait until it is gone."""
    from skymap_scanner.errors import InputError
    from skymap_scanner.kubectl.scans import RESOURCE

    if not yes and not scan.deleting:
        state = f"scan {scan.name} in namespace {scan.namespace} is {scan.phase}"
        if not sys.stdin.isatty():
            raise InputError(f"{state}: give --yes to delete it")
        click.confirm(f"{state[0].upper()}{state[1:]}. Delete it, with its topics in Pulsar?", abort=True)
    kubectl.run("delete", RESOURCE, scan.name, "--ignore-not-found", "--wait=false")
    if _wait_until_deleted(kubectl, scan, timeout):
        click.echo(f"Scan {scan.name} is deleted.", err=True)
    else:
        click.echo(f"Scan {scan.name} is being deleted: the operator deletes its topics first.", err=True)
    click.echo(_remaining_results(kubectl, scan), err=True)


def _wait_until_deleted(kubectl: Kubectl, scan: ClusterScan, timeout: float) -> bool:
    """Wait until the scan is deleted; return whether it is.

    Raises
    ------
    ClusterError
        If it is not deleted in time; the message gives the operator's reason, if there is one.
    """
    from skymap_scanner.errors import ClusterError
    from skymap_scanner.kubectl.scans import find_scan

    deadline = time.monotonic() + timeout
    while True:
        found = find_scan(kubectl, scan.name)
        if found is None or found.uid != scan.uid:
            return True
        if not timeout:
            return False
        if time.monotonic() > deadline:
            degraded = found.degraded
            why = "check that an operator runs" if degraded is None else f"{degraded.reason.value}: {degraded.message}"
            raise ClusterError(f"scan {scan.name} is being deleted, but still exists after {timeout:g} s: {why}")
        time.sleep(0.5)


def _remaining_results(kubectl: Kubectl, scan: ClusterScan) -> str:
    """Describe where the results of a deleted scan are."""
    if kubectl.get("persistentvolumeclaim", scan.claim) is None:
        return "It had no results."
    words = ["fetch", scan.name, "--claim", scan.claim, "--path", scan.folder]
    fetch = command_line(kubectl, *words, "--image", scan.image or "IMAGE")
    return (
        f"Its results, if it had any, stay on claim {scan.claim}, folder {printable_line(scan.folder)}:\n"
        f"    {fetch}   copies them\n"
        f"    kubectl delete pvc {scan.claim} --namespace {scan.namespace}   deletes them for ever"
    )
