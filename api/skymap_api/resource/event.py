"""Where the event comes from."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from skymap_api.resource.base import DataKey, Model, Number, ObjectName, OnCluster, Rule, Whole, inside_rule

#: An address with a host and without user or password.
_HTTP = "^https?://[^ \t\r\n/?#@]+([/?#][^ \t\r\n]*)?$".encode("unicode_escape").decode()

_SOURCES = ("url", "path", "config_map", "persistent_volume_claim", "simulate")


class Simulation(Model):
    """A simulated event with a known direction."""

    topology: Literal["track", "cascade"] = "track"
    """A muon that crosses the detector, or one shower."""
    ra: Annotated[Number, Field(ge=0, lt=360)] | None = None
    """Right ascension (degrees, J2000). Without it: drawn at random."""
    dec: Annotated[Number, Field(ge=-90, le=90)] | None = None
    """Declination (degrees, J2000). Without it: drawn at random."""
    energy: Annotated[Number, Field(gt=0, le=1e9)] = 1e5
    """Energy of the muon or the shower (GeV)."""
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = 0
    """Seed of the random numbers: the same seed gives the same event."""


class SecretName(Model):
    """A Secret in the scan's namespace."""

    name: ObjectName
    """Name of the Secret."""


class ConfigMapKey(Model):
    """A key of a ConfigMap in the scan's namespace."""

    name: ObjectName
    """Name of the ConfigMap."""
    key: DataKey = "event.json"
    """Key that holds the event, among data or binaryData."""


class ClaimPath(Model):
    """A file in a PersistentVolumeClaim of the scan's namespace."""

    claim_name: ObjectName
    """Name of the PersistentVolumeClaim."""
    path: Annotated[str, Field(min_length=1, max_length=1024)]
    """Path of the file in the claim."""

    rules: ClassVar = (inside_rule("path"),)


class EventSource(Model):
    """Where the event comes from: one of url, configMap, persistentVolumeClaim, simulate, and path on one machine."""

    url: Annotated[str, Field(max_length=2048)] | None = None
    """An http or https address of an event (I3Live JSON or .i3)."""
    credentials_secret: OnCluster[SecretName | None] = None
    """What the server of the url asks for: a Secret with the keys username and password, or token. On one machine the
    environment variables SKYMAP_EVENT_* say it."""
    path: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """A file beside the manifest: for one machine only."""
    config_map: ConfigMapKey | None = None
    """An event in a ConfigMap (at most 1 MiB): on a cluster only."""
    persistent_volume_claim: ClaimPath | None = None
    """An event in a file of a claim: on a cluster only."""
    simulate: Simulation | None = None
    """A simulated event."""
    pulse_series: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Key of the pulses to fit. Without it: SplitInIcePulses, or SplitUncleanedInIcePulses where that is missing."""
    select: Annotated[str, Field(max_length=21, pattern=r"^[0-9]{1,10}/[0-9]{1,10}$")] | None = None
    """RUN/EVENT: which event of a file that holds several. Without it: the first that has pulses."""

    rules: ClassVar = (
        Rule(
            "give exactly one of url, path, configMap, persistentVolumeClaim, simulate",
            cel="[has(self.url), has(self.path), has(self.configMap), has(self.persistentVolumeClaim), "
            "has(self.simulate)].exists_one(given, given)",
            holds=lambda event: sum(getattr(event, source) is not None for source in _SOURCES) == 1,
        ),
        Rule(
            "path is a file of one machine, which a cluster does not see: "
            "give a url, or put the event into a configMap or a persistentVolumeClaim",
            cel="!has(self.path)",
            holds=None,
            field="path",
        ),
        Rule(
            "url must be http://HOST... or https://HOST..., without user and password: these belong into the Secret of "
            "credentialsSecret",
            cel=f"!has(self.url) || self.url.matches('{_HTTP}')",
            holds=lambda event: event.url is None or re.fullmatch(_HTTP, event.url) is not None,
            field="url",
        ),
        Rule(
            "credentialsSecret belongs to a url",
            cel="!has(self.credentialsSecret) || has(self.url)",
            holds=lambda event: event.credentials_secret is None or event.url is not None,
            field="credentialsSecret",
        ),
    )
