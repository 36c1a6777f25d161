"""The input of the manifests of one scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from skymap_api.names import Names, ScanTopics
from skymap_api.resource import SkymapScanSpec
from skymap_api.resource.base import Manifest, to_manifest
from skymap_api.resource.resources import Resources
from skymap_api.resource.status import Command
from skymap_operator.observe.state import ObservedScan
from skymap_operator.pulsar.access import PulsarAccess, pulsar_access, runs_with
from skymap_operator.settings import Settings
from skymap_operator.version import VERSION


@dataclass(frozen=True)
class Recipe:
    """Everything that the manifests of one scan depend on.

    ``tls_keys``: keys of the Secret with the certificates, since a command may name only files that exist. ``memory``:
    memory limits of producer, collector and saver that replace those of the settings. ``operator``: version of this
    operator. ``commands``: the recorded commands that are kept, by container.
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
    memory: Mapping[str, str] = field(default_factory=dict)
    operator: str = VERSION
    commands: Mapping[str, Command] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        scan: ObservedScan,
        spec: SkymapScanSpec,
        settings: Settings,
        tls_keys: frozenset[str],
        memory: Mapping[str, str] | None = None,
        operator: str = VERSION,
    ) -> Recipe:
        """Collect it from the scan and the settings, without recorded commands."""
        names = Names.of(scan.namespace, scan.name)
        access = pulsar_access(scan.namespace, spec, scan.status, settings)
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
            memory=memory or {},
            operator=operator,
        )

    def keep_command(self, container: Manifest) -> Manifest:
        """Return a container with its recorded command if that is kept."""
        command = self.commands.get(container["name"])
        if command is None:
            return container
        environment = [to_manifest(variable) for variable in command.environment]
        return container | {"args": list(command.arguments), "env": environment}

    def role_resources(self, role: str) -> Resources:
        """Return the resources of producer, collector or saver."""
        resources = self.settings.role_resources
        if role not in self.memory:
            return resources
        return resources.model_copy(update={"limits": {**(resources.limits or {}), "memory": self.memory[role]}})

    @property
    def token_secret(self) -> str:
        """Name of the Secret with the tokens that the operator signs.

        Nobody can guess it before the scan exists, so the operator never overwrites a Secret of somebody else.
        """
        return f"scan-{self.uid}-tokens"

    @property
    def claim(self) -> str:
        """Name of the claim for the results."""
        return self.spec.output.claim.name or self.names.claim

    @property
    def folder(self) -> str:
        """Folder in that claim."""
        return self.spec.output.path or self.name
