"""Where the event comes from."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from skymap_api.resource.base import DataKey, Model, Number, ObjectName, OnCluster, Rule, Whole, inside_rule

#: A URL with a host and without user or password.
_HTTP = "^https?://[^ \t\r\n/?#@]+([/?#][^ \t\r\n]*)?$".encode("unicode_escape").decode()

#: Run, event, and a sub-event by its number or by stream and number.
_SELECTION = r"^[0-9]{1,10}/[0-9]{1,10}(/([A-Za-z0-9._+-]{1,64}/)?[0-9]{1,10})?$"

_SOURCES = ("url", "path", "config_map", "persistent_volume_claim", "simulate")


class Simulation(Model):
    """A simulated event with a known direction."""

    topology: Literal["track", "cascade"] = "track"
    """A muon that crosses the detector (track), or a single shower (cascade)."""
    ra: Annotated[Number, Field(ge=0, lt=360)] | None = None
    """Right ascension (degrees, J2000). Default: random."""
    dec: Annotated[Number, Field(ge=-90, le=90)] | None = None
    """Declination (degrees, J2000). Default: random."""
    energy: Annotated[Number, Field(gt=0, le=1e9)] = 1e5
    """Energy of the muon or the shower (GeV)."""
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = 0
    """Seed of the random numbers. The same seed gives the same event."""

    rules: ClassVar = (
        Rule(
            "a direction needs both ra and dec; without both it is random",
            cel="has(self.ra) == has(self.dec)",
            holds=lambda event: (event.ra is None) == (event.dec is None),
        ),
    )


class SecretName(Model):
    """A Secret in the scan's namespace."""

    name: ObjectName
    """Name of the Secret."""


class ConfigMapKey(Model):
    """A key of a ConfigMap in the scan's namespace."""

    name: ObjectName
    """Name of the ConfigMap."""
    key: DataKey = "event.json"
    """Key of the event in data or binaryData."""


class ClaimPath(Model):
    """A file in a PersistentVolumeClaim of the scan's namespace."""

    claim_name: ObjectName
    """Name of the PersistentVolumeClaim."""
    path: Annotated[str, Field(min_length=1, max_length=1024)]
    """Path of the file in the claim."""

    rules: ClassVar = (inside_rule("path"),)


class EventSource(Model):
    """Source of the event: one of url, configMap, persistentVolumeClaim and simulate, or path on one machine."""

    url: Annotated[str, Field(max_length=2048)] | None = None
    """URL (http or https) of an event: an I3Live message, as JSON or pickled, or .i3."""
    credentials_secret: OnCluster[SecretName | None] = None
    """Secret with credentials for the url: the keys username and password, or token. On one machine, use the
    environment variables SKYMAP_EVENT_* instead."""
    path: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """A file, relative to the manifest. Only on one machine."""
    config_map: ConfigMapKey | None = None
    """An event in a ConfigMap (at most 1 MiB). Only on a cluster."""
    persistent_volume_claim: ClaimPath | None = None
    """An event in a file on a PersistentVolumeClaim. Only on a cluster."""
    simulate: Simulation | None = None
    """A simulated event."""
    pulse_series: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Frame key of the pulses to fit. Default: SplitInIcePulses, or SplitUncleanedInIcePulses if that is missing."""
    select: Annotated[str, Field(max_length=97, pattern=_SELECTION)] | None = None
    """RUN/EVENT, RUN/EVENT/SUB or RUN/EVENT/STREAM/SUB: which event, or sub-event, of a file with several. Default: the
    first event with light in its pulses, and of its sub-events the one with the most."""

    rules: ClassVar = (
        Rule(
            "give exactly one of url, path, configMap, persistentVolumeClaim, simulate",
            cel="[has(self.url), has(self.path), has(self.configMap), has(self.persistentVolumeClaim), "
            "has(self.simulate)].exists_one(given, given)",
            holds=lambda event: sum(getattr(event, source) is not None for source in _SOURCES) == 1,
        ),
        Rule(
            "path is a file on one machine, which a cluster cannot read: "
            "give a url, or put the event into a configMap or a persistentVolumeClaim",
            cel="!has(self.path)",
            holds=None,
            field="path",
        ),
        Rule(
            "url must be http://HOST... or https://HOST..., without user and password: put these into the Secret of "
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
