"""What is to be scanned, and how: the part of the resource that the user writes."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from skymap_api.names import ResultFormat
from skymap_api.resource.base import (
    Count,
    DataKey,
    Flag,
    Model,
    Nside,
    Number,
    ObjectName,
    OnCluster,
    Parameter,
    Positive,
    Quantity,
    Rule,
    Whole,
    Word,
    inside_rule,
)
from skymap_api.resource.event import EventSource, SecretName
from skymap_api.resource.workers import Workers

_PULSAR = "^pulsar([+]ssl)?://[^ /?#@]+/?$"
_ADMIN = "^https?://[^ /?#@]+(/[^ ?#]*)?$"


def whole_sky(nside: int) -> int:
    """Count the pixels of the whole sky."""
    return 12 * nside * nside


class Level(Model):
    """One level of the refinement: the best pixels of the level before are scanned at nside."""

    nside: Nside
    """HEALPix nside of the level's pixels: a power of two."""
    parents: Count = 0
    """How many of the best pixels of the level before are refined; 0 in the first level."""


class Area(Model):
    """The pixels of the first level that are nearest to a coarse pixel."""

    nside: Nside
    """HEALPix nside of the coarse pixel."""
    pixel: Count
    """Index of the coarse pixel (RING order, equatorial)."""
    pixels: Positive
    """How many pixels of the first level are scanned."""

    rules: ClassVar = (
        Rule(
            "pixel is outside the grid: at nside N pixels run from 0 to 12 N² - 1",
            cel="self.pixel < 12 * self.nside * self.nside",
            holds=lambda area: area.pixel < whole_sky(area.nside),
            field="pixel",
        ),
    )


class Reconstruction(Model):
    """What fits a pixel."""

    name: Word = "millipede"
    """Name of the reconstruction: millipede (built in), icetray (Millipede in IceTray), dummy, or one that is plugged
    in."""
    parameters: dict[str, Parameter] = Field(default={}, max_length=64)
    """Its parameters, by name: numbers, texts, true or false."""
    max_task_seconds: Annotated[Number, Field(ge=1, le=1e6)] = 600
    """A worker that takes longer over one fit (s) is ended, and the fit is tried again."""


class Claim(Model):
    """A PersistentVolumeClaim: a named one, or a new one, which is named after the scan and outlives it."""

    name: ObjectName | None = None
    """Name of a claim that exists."""
    size: Quantity | None = None
    """Size of a new claim. Without it: what the operator is set to."""
    storage_class_name: ObjectName | None = None
    """Storage class of a new claim. Without it: the cluster's default."""

    rules: ClassVar = (
        Rule(
            "size and storageClassName are for a new claim: leave them out, or leave out name",
            cel="!has(self.name) || !(has(self.size) || has(self.storageClassName))",
            holds=lambda claim: claim.name is None or (claim.size is None and claim.storage_class_name is None),
        ),
    )


class Output(Model):
    """What is written, and where."""

    claim: OnCluster[Claim] = Claim()
    """The volume that takes the results; it is never deleted with the scan."""
    path: OnCluster[Annotated[str, Field(min_length=1, max_length=1024)] | None] = None
    """Folder in the claim. Without it: the name of the scan."""
    formats: Annotated[tuple[ResultFormat, ...], Field(max_length=16)] | None = None
    """Results to write beside the .i3 file. Without it: all."""
    keep_all_seeds: Flag = False
    """Keep the fits of all seeds in the .i3 file, not only each pixel's best."""
    compression: Literal["none", "gz", "bz2", "zst", "xz"] = "zst"
    """Compression of the .i3 file."""

    rules: ClassVar = (inside_rule("path"),)


class TokenSecret(Model):
    """A key of a Secret in the scan's namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: DataKey = "token"
    """Key that holds the token (JWT)."""


class Pulsar(Model):
    """How to reach Apache Pulsar. What is left out is what the operator is set to."""

    service_url: Annotated[str, Field(max_length=2048)] | None = None
    """Address of the broker: pulsar://HOST:6650 or pulsar+ssl://HOST:6651."""
    admin_url: Annotated[str, Field(max_length=2048)] | None = None
    """Address of the admin interface: http://HOST:8080 or https://HOST:8443."""
    tenant: Word | None = None
    """Tenant that the scan's topics belong to."""
    token_secret: TokenSecret | None = None
    """Token that the broker asks for."""
    tls_secret: SecretName | None = None
    """Certificates (PEM): ca.crt, to trust instead of the system's; tls.crt and tls.key, to say who we are."""

    rules: ClassVar = (
        Rule(
            "serviceUrl must be pulsar://HOST:PORT or pulsar+ssl://HOST:PORT, without credentials",
            cel=f"!has(self.serviceUrl) || self.serviceUrl.matches('{_PULSAR}')",
            holds=lambda pulsar: pulsar.service_url is None or re.fullmatch(_PULSAR, pulsar.service_url) is not None,
            field="serviceUrl",
        ),
        Rule(
            "adminUrl must be http://HOST:PORT or https://HOST:PORT, without credentials",
            cel=f"!has(self.adminUrl) || self.adminUrl.matches('{_ADMIN}')",
            holds=lambda pulsar: pulsar.admin_url is None or re.fullmatch(_ADMIN, pulsar.admin_url) is not None,
            field="adminUrl",
        ),
    )


class TimeToLive(Model):
    """How long the SkymapScan itself stays when it is done, by its outcome; its results stay on the claim."""

    succeeded: Count | None = None
    """Seconds after a success. Without it: for ever."""
    failed: Count | None = None
    """Seconds after a failure. Without it: for ever."""


class CleanupPolicy(Model):
    """When what a scan needed is removed: Always when it is done, OnSuccess, or OnDelete with the SkymapScan."""

    topics: Literal["Always", "OnSuccess", "OnDelete", "Never"] = "OnSuccess"
    """Topics and subscriptions in Pulsar; Never leaves them even when the SkymapScan is deleted."""
    pods: Literal["Always", "OnSuccess", "OnDelete"] = "OnDelete"
    """Finished pods, and their logs with them. Workers always end with the scan."""


class Retries(Model):
    """How often what fails by its own fault is tried again. The loss of a node is no such fault and is not counted."""

    task_attempts: Positive = 10
    """Workers that one fit may end before it is given up; its pixel is then reported as failed."""
    role_restarts: Count = 5
    """How often producer, collector and saver are each started again before the scan fails."""


class SkymapScanSpec(Model):
    """What is to be scanned, and how."""

    event: EventSource
    """Where the event comes from. Cannot be changed."""
    levels: Annotated[tuple[Level, ...], Field(min_length=1, max_length=14)] = (
        Level(nside=8),
        Level(nside=64, parents=12),
        Level(nside=512, parents=24),
    )
    """Levels of the refinement, from coarse to fine. Cannot be changed."""
    area: Area | None = None
    """Only this part of the sky. Without it: the whole sky. Cannot be changed."""
    pixels: Annotated[tuple[Count, ...], Field(min_length=1, max_length=4096)] | None = None
    """Only these pixels of the first level; with area: those of them inside it. Cannot be changed."""
    seeds: Annotated[Whole, Field(ge=1, le=7)] = 7
    """Vertex seeds per pixel. Cannot be changed."""
    predictive: Annotated[Number, Field(gt=0, le=1)] = 1.0
    """A level starts on a guess when this share of the level before is done; the map stays the same. Cannot be
    changed."""
    reconstruction: Reconstruction = Reconstruction()
    """What fits a pixel. Cannot be changed."""
    workers: Workers = Workers()
    """How many workers fit, and what their pods look like."""
    priority: OnCluster[Literal["Realtime", "Normal"]] = "Normal"
    """Where all scans together want more workers than there may be, those that are Realtime get theirs first."""
    output: Output = Output()
    """What is written, and where. Cannot be changed."""
    pulsar: OnCluster[Pulsar | None] = None
    """How to reach Apache Pulsar, where it is not what the operator is set to. Cannot be changed."""
    suspend: OnCluster[Flag] = False
    """Hold the scan: its pods end, its topics stay, and it goes on where it was once this is false again."""
    ttl_seconds_after_finished: OnCluster[TimeToLive] = TimeToLive()
    """How long the SkymapScan itself stays when it is done, by its outcome."""
    active_deadline_seconds: OnCluster[Positive | None] = None
    """The scan fails when it is not done so long (s) after its first pod started. Without it: no limit."""
    starting_deadline_seconds: OnCluster[Positive | None] = None
    """The scan fails when none of its pods has started so long (s) after it was made. Without it: no limit."""
    cleanup_policy: OnCluster[CleanupPolicy] = CleanupPolicy()
    """When topics and pods are removed."""
    retries: OnCluster[Retries] = Retries()
    """How often what fails is tried again."""

    rules: ClassVar = (
        Rule(
            "levels: the first has no level before it to refine, its parents must be 0",
            cel="self.levels.size() == 0 || self.levels[0].parents == 0",
            holds=lambda spec: spec.levels[0].parents == 0,
            field="levels",
        ),
        Rule(
            "levels: each must be finer than the one before it (a greater nside), with at least 1 parent",
            # CEL has no pairs of neighbours: the list is as long as there are such in 14 levels.
            cel="[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13].all(i, i >= self.levels.size() || "
            "(self.levels[i].nside > self.levels[i - 1].nside && self.levels[i].parents > 0))",
            holds=lambda spec: all(b.nside > a.nside and b.parents > 0 for a, b in pairwise(spec.levels)),
            field="levels",
        ),
        Rule(
            "area: wants more pixels than the sky has in the first level",
            cel="!has(self.area) || self.levels.size() == 0 || "
            "self.area.pixels <= 12 * self.levels[0].nside * self.levels[0].nside",
            holds=lambda spec: spec.area is None or spec.area.pixels <= whole_sky(spec.levels[0].nside),
            field="area",
        ),
        Rule(
            "pixels: one is outside the first level: at nside N pixels run from 0 to 12 N² - 1",
            cel="!has(self.pixels) || self.levels.size() == 0 || "
            "self.pixels.all(pixel, pixel < 12 * self.levels[0].nside * self.levels[0].nside)",
            holds=lambda spec: all(pixel < whole_sky(spec.levels[0].nside) for pixel in spec.pixels or ()),
            field="pixels",
        ),
    )
    immutable: ClassVar = (
        "event",
        "levels",
        "area",
        "pixels",
        "seeds",
        "predictive",
        "reconstruction",
        "output",
        "pulsar",
    )
