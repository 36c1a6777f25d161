"""The Pulsar and the image of a scan, and whether the administrator allows them.

A scan keeps the image and the Pulsar that it started with. They are written into its status before any object is
created, with the commands of its containers (`manifests.commands`), so that an upgrade of the operator does not change
a running scan; its map would come from two versions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from skymap_api.pulsar_brokers import Brokers
from skymap_api.resource import SkymapScanSpec, SkymapScanStatus
from skymap_api.resource.base import Manifest
from skymap_api.resource.spec import Pulsar, TokenSecret
from skymap_api.resource.status import RunsWith
from skymap_operator.settings import AllowedPulsar, Settings, matches
from skymap_operator.version import VERSION

#: Most items that the message about a refusal names.
_MOST = 5


@dataclass(frozen=True)
class PulsarAccess:
    """Addresses and credentials for Pulsar. ``own``: this is the operator's Pulsar, which may see its credentials.

    ``signed``: each role of the scan has a token of its own, which the operator signs; there is no ``token`` then.
    ``addresses``: the network addresses that another Pulsar may have. ``refused``: what of this the administrator does
    not allow; then nothing of it is used.
    """

    service_url: str
    admin_url: str
    tenant: str
    token: TokenSecret | None = None
    tls_secret: str | None = None
    own: bool = True
    addresses: tuple[str, ...] = ("public",)
    refused: tuple[str, ...] = ()
    signed: bool = False


def runs_with(spec: SkymapScanSpec | None, status: SkymapScanStatus, settings: Settings) -> RunsWith:
    """Return image and Pulsar: from the status if the scan has started, else from its spec and the settings."""
    if status.runs_with is not None:
        return status.runs_with
    given = None if spec is None else spec.pulsar
    return RunsWith(
        image=settings.image,
        operator=VERSION,
        service_url=(given and given.service_url) or settings.pulsar_service_url,
        admin_url=(given and given.admin_url) or settings.pulsar_admin_url,
        tenant=(given and given.tenant) or settings.pulsar_tenant,
    )


def pulsar_access(
    namespace: str, spec: SkymapScanSpec | None, status: SkymapScanStatus, settings: Settings
) -> PulsarAccess:
    """Return how a scan of the namespace reaches Pulsar, and what of that is not allowed.

    Another Pulsar than the operator's never sees the operator's credentials. What a scan has begun with is judged
    again, since a listing may be withdrawn.
    """
    runs = runs_with(spec, status, settings)
    given = None if spec is None else spec.pulsar
    own = _is_own(runs, settings)
    token = tls = None
    if own:
        name, key = settings.pulsar_token_secret, settings.pulsar_token_key
        token = None if name is None else TokenSecret(name=name, key=key)
        tls = settings.pulsar_tls_secret
    if given is not None:
        token = given.token_secret or token
        tls = given.tls_secret.name if given.tls_secret is not None else tls
    listed = [one for one in _listings(settings) if _is_listed(namespace, runs, one, settings)]
    refused = [tuple(_excess(runs, given, one, settings)) for one in listed] or [tuple(_urls(runs, given, settings))]
    best = min(range(len(refused)), key=lambda number: len(refused[number]))
    addresses = listed[best].addresses if listed else ("public",)
    return PulsarAccess(
        runs.service_url,
        runs.admin_url,
        runs.tenant,
        token,
        tls,
        own,
        addresses,
        refused[best],
        signed=own and token is None and settings.pulsar_signing_key_file is not None,
    )


def named_endpoint(resource: Manifest | None, settings: Settings) -> str | None:
    """Return host and port of the admin interface of a Pulsar that a scan names, None if it uses the operator's.

    It is read from the resource as it is, which need not be valid.
    """
    spec, status = ((resource or {}).get(name) or {} for name in ("spec", "status"))
    given = status.get("runsWith") or spec.get("pulsar") or {}
    admin = given.get("adminUrl") or settings.pulsar_admin_url
    service = given.get("serviceUrl") or settings.pulsar_service_url
    return None if (admin, service) == (settings.pulsar_admin_url, settings.pulsar_service_url) else endpoint(admin)


def endpoint(admin_url: str) -> str:
    """Return host and port of an admin interface, of the first broker that its URL lists; the URL if it is invalid."""
    try:
        host, port = Brokers.parse(admin_url).hosts[0]
    except ValueError:
        return admin_url
    return f"{host}:{port}"


def refusal(items: Sequence[str], settings: Iterable[str] = ("settings.allowedPulsars",)) -> str:
    """Say that these fields are not allowed, and which ``settings`` of the chart would allow them."""
    named = ", ".join(items[:_MOST]) + (f" and {len(items) - _MOST} more" if len(items) > _MOST else "")
    advice = f"leave it out, or ask the administrator for it ({' and '.join(settings)} of the chart)"
    return f"the administrator does not allow {named} - {advice}"


def _is_own(runs: RunsWith, settings: Settings) -> bool:
    return runs.admin_url == settings.pulsar_admin_url and runs.service_url == settings.pulsar_service_url


def _listings(settings: Settings) -> tuple[AllowedPulsar, ...]:
    """Return what is allowed, the operator's own Pulsar and its Secrets first."""
    names = (settings.pulsar_token_secret, settings.pulsar_tls_secret)
    own = AllowedPulsar(secrets=tuple(name for name in names if name is not None))
    return (own, *settings.allowed_pulsars)


def _is_listed(namespace: str, runs: RunsWith, listed: AllowedPulsar, settings: Settings) -> bool:
    """Return whether a listing is about this Pulsar and this namespace."""
    if not matches(namespace, listed.namespaces):
        return False
    if listed.service_url is None:
        return _is_own(runs, settings)
    return (runs.service_url, runs.admin_url) == (listed.service_url, listed.admin_url)


def _excess(runs: RunsWith, given: Pulsar | None, listed: AllowedPulsar, settings: Settings) -> Iterator[str]:
    """Yield the fields of a scan, with their values, that go beyond a listing of its Pulsar."""
    if runs.tenant != settings.pulsar_tenant and not matches(runs.tenant, listed.tenants):
        yield f"pulsar.tenant ({runs.tenant})"
    if given is None:
        return
    secrets = {"tokenSecret": given.token_secret, "tlsSecret": given.tls_secret}
    for field, secret in secrets.items():
        if secret is not None and not matches(secret.name, listed.secrets):
            yield f"pulsar.{field} ({secret.name})"


def _urls(runs: RunsWith, given: Pulsar | None, settings: Settings) -> Iterator[str]:
    """Yield the URLs that make a Pulsar another one than the operator's."""
    if runs.service_url != settings.pulsar_service_url:
        yield f"pulsar.serviceUrl ({runs.service_url})"
    if runs.admin_url != settings.pulsar_admin_url:
        yield f"pulsar.adminUrl ({runs.admin_url})"
    if given is not None and given.tenant is not None and given.tenant != settings.pulsar_tenant:
        yield f"pulsar.tenant ({given.tenant})"
