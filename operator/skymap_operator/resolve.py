"""From a scan and the operator's settings to the recipe of its objects.

What a scan began with, its image and its Pulsar, it keeps: they are written into its status before anything is made,
so that an upgrade of the operator changes nothing under a running scan, whose map would then be of two versions.
"""

from __future__ import annotations

from skymap_operator.manifests import PulsarAccess, Recipe
from skymap_operator.models import SkymapScanSpec
from skymap_operator.models.spec import TokenSecret
from skymap_operator.models.status import RunsWith
from skymap_operator.names import Names, Topics
from skymap_operator.observed import Scan
from skymap_operator.settings import Settings


def runs_with(scan: Scan, settings: Settings) -> RunsWith:
    """Return what the scan runs with: what it began with, else what it and the operator are set to now."""
    if scan.status.runs_with is not None:
        return scan.status.runs_with
    given = None if scan.spec is None else scan.spec.pulsar
    return RunsWith(
        image=settings.image,
        service_url=(given and given.service_url) or settings.pulsar_service_url,
        admin_url=(given and given.admin_url) or settings.pulsar_admin_url,
        tenant=(given and given.tenant) or settings.pulsar_tenant,
    )


def pulsar_access(scan: Scan, settings: Settings) -> PulsarAccess:
    """Return how the scan reaches Pulsar. A foreign Pulsar is never shown the operator's own credentials."""
    runs = runs_with(scan, settings)
    given = None if scan.spec is None else scan.spec.pulsar
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


def recipe(scan: Scan, spec: SkymapScanSpec, settings: Settings, tls_keys: frozenset[str]) -> Recipe:
    """Return what the objects of the scan are made of."""
    names, access = Names.of(scan.namespace, scan.name), pulsar_access(scan, settings)
    return Recipe(
        namespace=scan.namespace,
        name=scan.name,
        uid=scan.uid,
        spec=spec,
        names=names,
        topics=Topics.of(names.scan, access.tenant),
        image=runs_with(scan, settings).image,
        pulsar=access,
        settings=settings,
        tls_keys=tls_keys,
    )
