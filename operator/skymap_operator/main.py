"""``skymap-operator``: reconciles the SkymapScans of a cluster until it receives SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import click

from skymap_api.log_format import safe_handler
from skymap_api.names import KIND
from skymap_api.text import printable
from skymap_operator.cluster.cached import CachedReads
from skymap_operator.cluster.client import Cluster, ClusterError, connect
from skymap_operator.cluster.clock import ServerClock
from skymap_operator.cluster.informer import Informer
from skymap_operator.cluster.store import STORED, Store
from skymap_operator.handlers import run_until_signalled
from skymap_operator.install.check import (
    CheckError,
    check_definition,
    check_operator,
    check_pulsar,
    check_scan,
    check_scope,
)
from skymap_operator.install.keys import make_keys
from skymap_operator.install.uninstall import Uninstall
from skymap_operator.pulsar.connections import Pulsars
from skymap_operator.runtime import health
from skymap_operator.runtime.metrics import Metrics
from skymap_operator.runtime.reconciler import Reconciler, is_urgent, lane_of
from skymap_operator.runtime.scope import Scope
from skymap_operator.runtime.workqueue import WorkQueue
from skymap_operator.settings import Settings, SettingsError, read_settings

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Threads that resolve names. One that asks a name server which does not answer is held for half a minute, even if
#: nobody waits for it any more, and as many as processors are few.
THREADS = 32


@click.group(invoke_without_command=True)
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to serve /healthz and /metrics on.")  # noqa: S104 - probes come from the node
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Port to serve them on.")
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Lowest level that is logged.",
)
@click.pass_context
def main(context: click.Context, host: str, port: int, log_level: str) -> None:
    """Reconcile the SkymapScans of a Kubernetes cluster.

    Environment variables SKYMAP_OPERATOR_... configure the operator; docs/reference/operator-settings.md lists
    them. The commands manage an installation as a whole and read the same variables.
    """
    # Other packages log only warnings: the operator counts and logs its requests itself.
    logging.basicConfig(level=logging.WARNING, handlers=[safe_handler()])
    logging.getLogger("skymap_operator").setLevel(log_level.upper())
    if context.invoked_subcommand is None:
        _run(lambda settings: run(settings, host, port))


@main.command("uninstall")
@click.option(
    "--scans",
    required=True,
    type=click.Choice(["Delete", "Release"]),
    help="Delete all scans, or keep them as suspended records.",
)
@click.option("--timeout", default=120.0, show_default=True, help="How long to wait for pods and Pulsar (s).")
def uninstall_command(scans: str, timeout: float) -> None:
    """Delete or release all scans before the operator is uninstalled.

    Ends their pods, deletes their topics and removes the operator's finalizer; results stay on their claims. After the
    timeout the finalizers are removed all the same, and the log names what may be left.
    """
    _run(lambda settings: uninstall(settings, delete=scans == "Delete", timeout=timeout))


@main.command("check")
@click.option("--operator", required=True, metavar="URL", help="Address of the operator's web server.")
@click.option("--namespace", required=True, help="Namespace in which a scan is validated.")
@click.pass_context
def check_command(context: click.Context, operator: str, namespace: str) -> None:
    """Check whether an installation works; exit with code 1 if it does not."""
    faults = _run(lambda settings: check(settings, operator.rstrip("/"), namespace))
    context.exit(1 if faults else 0)


@main.command("keys")
@click.option("--namespace", required=True, help="Namespace of the Secret.")
@click.option("--secret", required=True, help="Name of the Secret, which exists.")
@click.option("--role", required=True, help="Role of the broker's own token.")
@click.option("--page-role", help="Role of the page's token.  [default: the page has none]")
def keys_command(namespace: str, secret: str, role: str, page_role: str | None) -> None:
    """Make the keys of the chart's own Pulsar, unless its Secret has them."""
    click.echo(_reported(lambda: keys(namespace, secret, role, page_role)))


def _run(command: Callable[[Settings], Coroutine[Any, Any, T]]) -> T:
    """Run a command with the settings of the environment; report errors as `_reported` does."""
    return _reported(lambda: command(read_settings(os.environ)))


def _reported(command: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a command; report errors that a user can fix in one line."""
    try:
        return asyncio.run(command())
    except (SettingsError, ClusterError) as error:
        raise click.ClickException(printable(str(error))) from error


async def run(settings: Settings, host: str, port: int) -> None:
    """Run until SIGTERM or SIGINT.

    Raises ClusterError if there is no access to a cluster, or it does not know the kind SkymapScan.
    """
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    clock, store = ServerClock(), Store()
    metrics = Metrics(clock.now, of_scans=settings.metrics_of_scans)
    watches = len(STORED) * max(len(settings.namespaces), 1)
    async with (
        Cluster(await connect(watches), partial(metrics.requested, "kubernetes"), store.put_written, clock) as cluster,
        Pulsars(cluster, settings, partial(metrics.requested, "pulsar")) as pulsars,
    ):
        scope = Scope(cluster, settings, lambda: {scan["metadata"]["namespace"] for scan in store.all(KIND)})
        reconciler = Reconciler(cluster, CachedReads(cluster, store), pulsars, settings, metrics, scope)
        queue = WorkQueue(
            reconciler.reconcile,
            metrics.waited,
            lambda key: is_urgent(store.get(KIND, key.namespace, key.name), settings),
            lambda key: lane_of(key, store.get(KIND, key.namespace, key.name), settings),
        )
        informer = Informer(cluster, store, queue.add, settings.resync_interval)
        renewing = asyncio.create_task(scope.run(), name="renew Leases")
        try:
            await informer.start(settings.namespaces)
            reconciler.restore(store.all(KIND))  # no reconcile has started yet
            async with health.serve(host, port, metrics, queue.load) as served:
                where = f"the scans in {', '.join(settings.namespaces)}" if settings.namespaces else "all scans"
                log.info("reconciles %s; /healthz and /metrics on port %d", where, served)
                await run_until_signalled()
        finally:
            renewing.cancel()
            await informer.stop()
            await queue.close()


async def uninstall(settings: Settings, *, delete: bool, timeout: float) -> None:
    """Delete or release all scans."""
    async with Cluster(await connect()) as cluster, Pulsars(cluster, settings) as pulsars:
        await Uninstall(cluster, pulsars, settings, delete=delete).run(timeout)


async def keys(namespace: str, secret: str, role: str, page_role: str | None) -> str:
    """Make the keys of the chart's own Pulsar where they are missing; return what was done."""
    async with Cluster(await connect()) as cluster:
        return await make_keys(cluster, namespace, secret, role, page_role)


async def check(settings: Settings, operator: str, namespace: str) -> int:
    """Print for each part of an installation whether it works; return the number of faults."""
    faults = 0
    async with Cluster(await connect()) as cluster, Pulsars(cluster, settings) as pulsars:
        for part in (
            check_definition(cluster),
            check_scan(cluster, namespace),
            check_operator(operator),
            check_scope(cluster, settings),
            check_pulsar(pulsars, settings),
        ):
            try:
                click.echo(f"ok      {await part}")
            except CheckError as error:
                for fault in error.args:
                    faults += 1
                    click.echo(printable(f"FAILED  {fault}"))
    return faults
