"""``skymap-operator``: looks after the SkymapScans of a cluster until it is told to end (SIGTERM)."""

from __future__ import annotations

import asyncio
import logging
import os

import click
import kopf

from skymap_operator import health
from skymap_operator.cluster import Cluster, ClusterError
from skymap_operator.handlers import registry
from skymap_operator.metrics import Metrics
from skymap_operator.models import KIND
from skymap_operator.pulsars import Pulsars
from skymap_operator.reconcile import Reconciler
from skymap_operator.rounds import Key, Rounds
from skymap_operator.settings import Settings, SettingsError, read_settings

log = logging.getLogger(__name__)


@click.command()
@click.option("--host", default="0.0.0.0", show_default=True, help="Address of /healthz and /metrics.")  # noqa: S104 - probes come from the node
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Their port.")
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="What is logged.",
)
def main(host: str, port: int, log_level: str) -> None:
    """Look after the SkymapScans of a Kubernetes cluster.

    Environment variables SKYMAP_OPERATOR_... say what holds for all scans; docs/operator.md lists them.
    """
    # Other packages' words are heard only where they warn: requests are told of here in our own.
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("skymap_operator").setLevel(log_level.upper())
    try:
        asyncio.run(run(read_settings(os.environ), host, port))
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
    async with await Cluster.open() as cluster, Pulsars(cluster, settings) as pulsars:
        rounds = Rounds(Reconciler(cluster, pulsars, settings, metrics).look)
        await wake_all(cluster, settings, rounds)
        sweeping = asyncio.create_task(sweep(cluster, settings, rounds))
        try:
            async with health.serve(host, port, metrics, rounds.overdue, rounds.stalled) as served:
                log.info("looks after %s; /healthz and /metrics on port %d", _where(settings), served)
                await kopf.operator(
                    registry=registry(rounds.wake),
                    standalone=True,
                    clusterwide=not settings.namespaces,
                    namespaces=settings.namespaces,
                )
        finally:
            sweeping.cancel()
            await rounds.close()


async def wake_all(cluster: Cluster, settings: Settings, rounds: Rounds) -> None:
    """Have all scans looked at."""
    for namespace in settings.namespaces or (None,):
        for scan in await cluster.list(KIND, namespace):
            rounds.wake(Key(scan["metadata"]["namespace"], scan["metadata"]["name"]))


async def sweep(cluster: Cluster, settings: Settings, rounds: Rounds) -> None:
    """Look at all scans now and then: one whose news were lost is found."""
    while True:
        await asyncio.sleep(settings.resync_interval)
        try:
            await wake_all(cluster, settings, rounds)
        except ClusterError as error:
            log.warning("%s", error)


def _where(settings: Settings) -> str:
    return f"the scans in {', '.join(settings.namespaces)}" if settings.namespaces else "all scans"
