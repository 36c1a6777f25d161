"""The input of the manifests of one scan."""

from __future__ import annotations

from dataclasses import dataclass

from skymap_api.names import Names, ScanTopics
from skymap_api.resource import SkymapScanSpec
from skymap_operator.observe.state import ObservedScan
from skymap_operator.pulsar.access import PulsarAccess, pulsar_access, runs_with
from skymap_operator.settings import Settings


@dataclass(frozen=True)
class Recipe:
    """Everything that the manifests of one scan depend on.

    ``tls_keys``: keys of the Secret with the certificates, since a command may name only files that exist.
    """

    namespace: str
    name: str
    uid: str
    spec: SkymapScanSpec
    names: Names
    topics: ScanTopics
    image: str
    pulsar: PulsarAccess
    settings: Settings
    tls_keys: frozenset[str] = frozenset()

    @classmethod
    def of(cls, scan: ObservedScan, spec: SkymapScanSpec, settings: Settings, tls_keys: frozenset[str]) -> Recipe:
        """Collect it from the scan and the settings."""
        names, access = Names.of(scan.namespace, scan.name), pulsar_access(spec, scan.status, settings)
        return cls(
            namespace=scan.namespace,
            name=scan.name,
            uid=scan.uid,
            spec=spec,
            names=names,
            topics=names.topics(access.tenant),
            image=runs_with(spec, scan.status, settings).image,
            pulsar=access,
            settings=settings,
            tls_keys=tls_keys,
        )

    @property
    def claim(self) -> str:
        """Name of the claim for the results."""
        return self.spec.output.claim.name or self.names.claim

    @property
    def folder(self) -> str:
        """Folder in that claim."""
        return self.spec.output.path or self.name
