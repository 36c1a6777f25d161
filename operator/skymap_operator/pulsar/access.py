"""The Pulsar and the image of a scan.

A scan keeps the image and the Pulsar that it started with. They are written into its status before any object is
created, so that an upgrade of the operator does not change a running scan; its map would come from two versions.
"""

from __future__ import annotations

from dataclasses import dataclass

from skymap_api.resource import SkymapScanSpec, SkymapScanStatus
from skymap_api.resource.spec import TokenSecret
from skymap_api.resource.status import RunsWith
from skymap_operator.settings import Settings


@dataclass(frozen=True)
class PulsarAccess:
    """Addresses and credentials for Pulsar. ``own``: this is the operator's Pulsar, which may see its credentials."""

    service_url: str
    admin_url: str
    tenant: str
    token: TokenSecret | None = None
    tls_secret: str | None = None
    own: bool = True


def runs_with(spec: SkymapScanSpec | None, status: SkymapScanStatus, settings: Settings) -> RunsWith:
    """Return image and Pulsar: from the status if the scan has started, else from its spec and the settings."""
    if status.runs_with is not None:
        return status.runs_with
    given = None if spec is None else spec.pulsar
    return RunsWith(
        image=settings.image,
        service_url=(given and given.service_url) or settings.pulsar_service_url,
        admin_url=(given and given.admin_url) or settings.pulsar_admin_url,
        tenant=(given and given.tenant) or settings.pulsar_tenant,
    )


def pulsar_access(spec: SkymapScanSpec | None, status: SkymapScanStatus, settings: Settings) -> PulsarAccess:
    """Return how the scan reaches Pulsar. Another Pulsar than the operator's never sees the operator's credentials."""
    runs = runs_with(spec, status, settings)
    given = None if spec is None else spec.pulsar
    own = runs.admin_url == settings.pulsar_admin_url and runs.service_url == settings.pulsar_service_url
    token = tls = None
    if own:
        name, key = settings.pulsar_token_secret, settings.pulsar_token_key
        token = None if name is None else TokenSecret(name=name, key=key)
        tls = settings.pulsar_tls_secret
    if given is not None:
        token = given.token_secret or token
        tls = given.tls_secret.name if given.tls_secret is not None else tls
    return PulsarAccess(runs.service_url, runs.admin_url, runs.tenant, token, tls, own)
