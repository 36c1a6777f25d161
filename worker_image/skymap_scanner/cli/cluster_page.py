"""``skymap-scanner cluster-page``."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import click

from skymap_scanner.cli.broker_options import BrokerOptions, with_broker
from skymap_scanner.cli.page import all_addresses, check_installed, listen
from skymap_scanner.errors import InputError

if TYPE_CHECKING:
    from skymap_scanner.live.cluster.serving import ServingCertificate

log = logging.getLogger(__name__)

#: Shortest secret of a proxy (characters).
SHORTEST_SECRET = 20


@click.command()
@with_broker()
@click.option("--tenant", default="icecube", show_default=True, help="Pulsar tenant of the scans' topics.")
@click.option("--namespace", "namespaces", multiple=True, help="Namespace of scans; may be repeated.  [default: all]")
@click.option("--audience", help="Audience of the users' tokens.  [default: the API server]")
@click.option("--proxy-prefix", default="", help="What the names of users and groups from a proxy begin with here.")
@click.option("--host", help="Address to listen on.  [default: all, of IPv4 and IPv6]")
@click.option("--port", type=click.IntRange(0, 65535), default=8443, show_default=True, help="Port to listen on.")
@click.option(
    "--serving-certificate",
    type=click.Path(path_type=Path),
    help="Certificate (PEM) of this server.  [default: plain HTTP, for a proxy in front]",
)
@click.option("--serving-key", type=click.Path(path_type=Path), help="Private key (PEM) of that certificate.")
@click.option(
    "--account",
    type=click.Path(path_type=Path),
    default="/var/run/secrets/kubernetes.io/serviceaccount",
    show_default=True,
    help="Folder with token and ca.crt of the service account.",
)
def command(
    broker_options: BrokerOptions,
    tenant: str,
    namespaces: tuple[str, ...],
    audience: str | None,
    proxy_prefix: str,
    host: str | None,
    port: int,
    serving_certificate: Path | None,
    serving_key: Path | None,
    account: Path,
) -> int:
    """Serve a web page of the scans of a cluster, in a pod of it, until SIGTERM. The chart runs it (page.enabled).

    Users sign in with a token for the cluster, and see the scans that they may list. A proxy that authenticates users
    proves it with the secret in SKYMAP_PAGE_PROXY_SECRET, or in the file that SKYMAP_PAGE_PROXY_SECRET_FILE names.

    \b
    Example:
        skymap-scanner cluster-page -b pulsar://pulsar:6650 --namespace north --namespace south
    """
    check_installed()

    from skymap_scanner.live.cluster.access import Access
    from skymap_scanner.live.cluster.api import KubernetesApi
    from skymap_scanner.live.cluster.resources import Resources
    from skymap_scanner.live.cluster.server import ClusterPages, OwnPulsar
    from skymap_scanner.live.server import serve
    from skymap_scanner.roles.stop import Stop

    serving, secret = _serving(serving_certificate, serving_key), _proxy_secret()
    api = KubernetesApi.in_cluster(os.environ, account)
    resources = Resources(api, namespaces)
    pulsar = OwnPulsar(broker_options.url, broker_options.access.admin_url, tenant, broker_options.open)
    pages = ClusterPages(resources, Access(api, audience, secret, proxy_prefix), pulsar, serving)
    stop = Stop().on_signals()
    with listen(port, host or all_addresses()) as opened:
        scheme, (address, served, *_) = "http" if serving is None else "https", opened.getsockname()
        log.info("the page is at %s://%s:%d", scheme, f"[{address}]" if ":" in address else address, served)
        resources.start()
        try:
            serve(opened, pages, stop, Event(), None if serving is None else serving.context)
        finally:
            resources.stop()
            pages.close()
    return 0


def _serving(certificate: Path | None, key: Path | None) -> ServingCertificate | None:
    """Return what the page is served with over https; None for http."""
    from skymap_scanner.live.cluster.serving import ServingCertificate

    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise click.UsageError("--serving-certificate and --serving-key belong together: give both")
    return ServingCertificate(certificate, key)


def _proxy_secret() -> str | None:
    from skymap_scanner.secret import secret_of

    secret = secret_of(os.environ, "SKYMAP_PAGE_PROXY_SECRET")
    if secret is not None and len(secret) < SHORTEST_SECRET:
        raise InputError(f"SKYMAP_PAGE_PROXY_SECRET is too short: use at least {SHORTEST_SECRET} characters")
    return secret
