"""``skymap-operator``: looks after the SkymapScans of a cluster until it is told to end (SIGTERM)."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import click
import kopf

from skymap_api.names import KIND
from skymap_operator.cluster.client import Cluster, ClusterError
from skymap_operator.cluster.informer import CHILDREN, Informer
from skymap_operator.handlers import IDENTITY, registry
from skymap_operator.install.check import CheckError, check_definition, check_operator, check_pulsar, check_scan
from skymap_operator.install.uninstall import Uninstall
from skymap_operator.pulsar.connections import Pulsars
from skymap_operator.runtime import health
from skymap_operator.runtime.metrics import Metrics
from skymap_operator.runtime.reconciler import Reconciler
from skymap_operator.runtime.workqueue import WorkQueue
from skymap_operator.settings import Settings, SettingsError, read_settings

log = logging.getLogger(__name__)

T = TypeVar("T")


@click.group(invoke_without_command=True)
@click.option("--host", default="0.0.0.0", show_default=True, help="Address of /healthz and /metrics.")  # noqa: S104 - probes come from the node
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Their port.")
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="What is logged.",
)
@click.pass_context
def main(context: click.Context, host: str, port: int, log_level: str) -> None:
    """Look after the SkymapScans of a Kubernetes cluster.

    Environment variables SKYMAP_OPERATOR_... hold its settings; docs/reference/operator-settings.md lists them. The
    commands are for an installation as a whole, and read the same variables.
    """
    # Other packages' words are heard only where they warn: requests are told of here in our own.
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("skymap_operator").setLevel(log_level.upper())
    if context.invoked_subcommand is None:
        _run(lambda settings: run(settings, host, port))


@main.command("uninstall")
@click.option(
    "--scans",
    required=True,
    type=click.Choice(["Delete", "Release"]),
    help="Delete them, or let them stay as records, suspended.",
)
@click.option("--timeout", default=120.0, show_default=True, help="How long pods and Pulsar may take (s).")
def uninstall_command(scans: str, timeout: float) -> None:
    """Let go of all scans, before the operator is uninstalled.

    Their pods end, their topics are deleted, and the operator's finalizer is taken off; results stay on their
    claims. What cannot be done in time is left, and the log says what that is: no scan is held back for ever.
    """
    _run(lambda settings: uninstall(settings, delete=scans == "Delete", timeout=timeout))


@main.command("check")
@click.option("--operator", required=True, metavar="URL", help="Where the operator's web server is.")
@click.option("--namespace", required=True, help="Where it is asked whether a scan would be taken.")
@click.pass_context
def check_command(context: click.Context, operator: str, namespace: str) -> None:
    """Say whether an installation is whole; exit code 1 if it is not."""
    faults = _run(lambda settings: check(settings, operator.rstrip("/"), namespace))
    context.exit(1 if faults else 0)


def _run(command: Callable[[Settings], Coroutine[Any, Any, T]]) -> T:
    """Run a command with the settings of the environment; explain what a person can mend."""
    try:
        return asyncio.run(command(read_settings(os.environ)))
    except (SettingsError, ClusterError) as error:
        raise click.ClickException(str(error)) from error


async def run(settings: Settings, host: str, port: int) -> None:
    """Run until SIGTERM or SIGINT.

    Raises
    ------
    ClusterError
        If there is no access to a cluster, or it does not know what a SkymapScan is.
    """
    metrics = Metrics()
    watches = len(CHILDREN) * max(len(settings.namespaces), 1)
    cluster = await Informer.open(partial(metrics.asked, "kubernetes"), watches)
    async with cluster, Pulsars(cluster, settings, partial(metrics.asked, "pulsar")) as pulsars:
        reconciler = Reconciler(cluster, pulsars, settings, metrics)
        queue = WorkQueue(reconciler.reconcile, metrics.late, cluster.is_urgent)
        try:
            await cluster.follow(settings.namespaces, queue.add, settings.resync_interval)
            reconciler.remember(cluster.store.all(KIND))  # before the first look begins
            async with health.serve(host, port, metrics, queue.overdue, queue.stalled) as served:
                log.info("looks after %s; /healthz and /metrics on port %d", _where(settings), served)
                await kopf.operator(
                    registry=registry(cluster.heard),
                    identity=IDENTITY,
                    standalone=True,
                    clusterwide=not settings.namespaces,
                    namespaces=settings.namespaces,
                )
        finally:
            await cluster.unfollow()
            await queue.close()


async def uninstall(settings: Settings, *, delete: bool, timeout: float) -> None:
    """Let go of all scans (`uninstall.Uninstall`)."""
    async with await Cluster.open() as cluster, Pulsars(cluster, settings) as pulsars:
        await Uninstall(cluster, pulsars, settings, delete=delete).run(timeout)


async def check(settings: Settings, operator: str, namespace: str) -> int:
    """Say of each part of an installation whether it is as it should be; return how many are not."""
    faults = 0
    async with await Cluster.open() as cluster, Pulsars(cluster, settings) as pulsars:
        for asked in (
            check_definition(cluster),
            check_scan(cluster, namespace),
            check_operator(operator),
            check_pulsar(pulsars, settings),
        ):
            try:
                click.echo(f"ok      {await asked}")
            except CheckError as error:
                faults += 1
                click.echo(f"FAILED  {error}")
    return faults


def _where(settings: Settings) -> str:
    return f"the scans in {', '.join(settings.namespaces)}" if settings.namespaces else "all scans"
