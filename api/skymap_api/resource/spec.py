"""Spec of a SkymapScan: what to scan, and how. The user writes it."""

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
    Rule,
    Whole,
    Word,
    inside_rule,
)
from skymap_api.resource.event import EventSource, SecretName
from skymap_api.resource.notices import Notices
from skymap_api.resource.pods import PodTemplate
from skymap_api.resource.quantities import Quantity, compare
from skymap_api.resource.workers import Workers

#: URLs of a broker and of an admin interface, without credentials.
PULSAR_URL = "^pulsar([+]ssl)?://[^ /?#@]+/?$"
ADMIN_URL = "^https?://[^ /?#@]+(/[^ ?#]*)?$"


def whole_sky(nside: int) -> int:
    """Return the number of pixels of the whole sky."""
    return 12 * nside * nside


class Level(Model):
    """A level of the refinement: the pixels at nside inside the best pixels of the level before.

    With probability these are all that may hold this share, at most parents; otherwise exactly parents.
    """

    nside: Nside
    """HEALPix nside of the level's pixels, a power of two."""
    parents: Count = 0
    """Number of pixels of the level before to refine, the best ones; with probability, at most so many. 0 in the first
    level."""
    probability: Annotated[Number, Field(ge=0.5, le=0.999999)] | None = None
    """Share of the probability: refine the pixels that may hold it. Not in the first level. Default: refine a fixed
    number of pixels."""

    def __str__(self) -> str:
        """Return the level as an option of the commands writes it."""
        share = "" if self.probability is None else f"{self.probability!r}:"
        return f"{self.nside}:{share}{self.parents}"


class Area(Model):
    """A part of the sky: the pixels of the first level nearest to a coarse pixel."""

    nside: Nside
    """HEALPix nside of the coarse pixel."""
    pixel: Count
    """Index of the coarse pixel (RING order, equatorial)."""
    pixels: Positive
    """Number of pixels of the first level to scan."""

    rules: ClassVar = (
        Rule(
            "pixel is outside the grid: at nside N pixels run from 0 to 12 N² - 1",
            cel="self.pixel < 12 * self.nside * self.nside",
            holds=lambda area: area.pixel < whole_sky(area.nside),
            field="pixel",
        ),
    )


class Reconstruction(Model):
    """The reconstruction that fits a pixel."""

    name: Word = "millipede"
    """Name of the reconstruction: millipede (built in), icetray (Millipede in IceTray), dummy, or the name of a
    plug-in."""
    parameters: dict[str, Parameter] = Field(default={}, max_length=64)
    """Parameters of the reconstruction by name: numbers, texts, true or false."""
    max_task_seconds: Annotated[Number, Field(ge=1, le=1e6)] = 600
    """Time limit of one fit (s). A worker that exceeds it is killed, and the fit is retried."""


class Claim(Model):
    """A PersistentVolumeClaim: an existing one, or a new one that is named after the scan and outlives it."""

    name: ObjectName | None = None
    """Name of an existing claim."""
    size: Quantity | None = None
    """Size of a new claim. Default: the operator's setting. A greater one enlarges the claim, if its storage class
    allows that."""
    storage_class_name: ObjectName | None = None
    """Storage class of a new claim. Default: the cluster's default."""

    rules: ClassVar = (
        Rule(
            "size and storageClassName are for a new claim: leave them out, or leave out name",
            cel="!has(self.name) || !(has(self.size) || has(self.storageClassName))",
            holds=lambda claim: claim.name is None or (claim.size is None and claim.storage_class_name is None),
        ),
        Rule(
            "size must be more than 0",
            cel="!has(self.size) || quantity(string(self.size)).compareTo(quantity('0')) > 0",
            holds=lambda claim: claim.size is None or compare(claim.size, "0") > 0,
            field="size",
        ),
    )


class Output(Model):
    """The results and where they are written."""

    claim: OnCluster[Claim] = Claim()
    """Claim for the results. It is never deleted with the scan."""
    path: OnCluster[Annotated[str, Field(min_length=1, max_length=1024)] | None] = None
    """Folder in the claim. Default: the name of the scan."""
    formats: Annotated[tuple[ResultFormat, ...], Field(max_length=16)] | None = None
    """Result formats beside the .i3 file. Default: all."""
    keep_all_seeds: Flag = False
    """Whether the .i3 file holds the fits of all seeds and not only the best fit of each pixel. Cannot be changed."""
    compression: Literal["none", "gz", "bz2", "zst", "xz"] = "zst"
    """Compression of the .i3 file."""

    rules: ClassVar = (inside_rule("path"),)
    immutable: ClassVar = ("keep_all_seeds",)


class TokenSecret(Model):
    """A key of a Secret in the scan's namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: DataKey = "token"
    """Key of the token (JWT)."""


class Pulsar(Model):
    """Connection to Apache Pulsar, if the administrator allows it. Default of each field: the operator's setting."""

    service_url: Annotated[str, Field(max_length=2048)] | None = None
    """URL of the broker: pulsar://HOST:6650 or pulsar+ssl://HOST:6651."""
    admin_url: Annotated[str, Field(max_length=2048)] | None = None
    """URL of the admin interface: http://HOST:8080 or https://HOST:8443."""
    tenant: Word | None = None
    """Tenant of the scan's topics."""
    token_secret: TokenSecret | None = None
    """Secret with the token for Pulsar."""
    tls_secret: SecretName | None = None
    """Secret with certificates (PEM): ca.crt to trust instead of the system's; tls.crt and tls.key of the client."""

    rules: ClassVar = (
        Rule(
            "serviceUrl must be pulsar://HOST:PORT or pulsar+ssl://HOST:PORT, without credentials",
            cel=f"!has(self.serviceUrl) || self.serviceUrl.matches('{PULSAR_URL}')",
            holds=lambda pulsar: pulsar.service_url is None or re.fullmatch(PULSAR_URL, pulsar.service_url) is not None,
            field="serviceUrl",
        ),
        Rule(
            "adminUrl must be http://HOST:PORT or https://HOST:PORT, without credentials",
            cel=f"!has(self.adminUrl) || self.adminUrl.matches('{ADMIN_URL}')",
            holds=lambda pulsar: pulsar.admin_url is None or re.fullmatch(ADMIN_URL, pulsar.admin_url) is not None,
            field="adminUrl",
        ),
    )


class TimeToLive(Model):
    """Time to live of a finished SkymapScan by its outcome. The results stay on the claim."""

    succeeded: Count | None = None
    """Seconds after success. Default: for ever."""
    failed: Count | None = None
    """Seconds after failure. Default: for ever."""


class CleanupPolicy(Model):
    """When topics and pods are removed: after the scan (Always), after success (OnSuccess) or with it (OnDelete)."""

    topics: Literal["Always", "OnSuccess", "OnDelete", "Never"] = "OnSuccess"
    """Topics and subscriptions in Pulsar. Never: they stay even when the SkymapScan is deleted. If only the output
    failed, they stay until it is corrected, or the SkymapScan is deleted."""
    pods: Literal["Always", "OnSuccess", "OnDelete"] = "OnDelete"
    """Finished pods with their logs. Workers always end with the scan."""


class Retries(Model):
    """Limits of retries after application failures. The loss of a node is not counted."""

    task_attempts: Positive = 10
    """Workers that one fit may crash before it is given up and reported as failed."""
    role_restarts: Count = 5
    """Restarts of producer, collector and saver, each, before the scan fails."""


class SkymapScanSpec(Model):
    """What to scan, and how."""

    event: EventSource
    """Source of the event. Cannot be changed."""
    levels: Annotated[tuple[Level, ...], Field(min_length=1, max_length=14)] = (
        Level(nside=4),
        Level(nside=8, parents=192, probability=0.9999),
        *(Level(nside=nside, parents=192, probability=0.999) for nside in (16, 32, 64, 128)),
        Level(nside=256, parents=192, probability=0.99),
        Level(nside=512, parents=192, probability=0.98),
    )
    """Levels of the refinement from coarse to fine. A level with a probability, and all after it, are left out once the
    area of the 90 % region is known to 2 %. Cannot be changed."""
    area: Area | None = None
    """Part of the sky to scan. Default: the whole sky. Cannot be changed."""
    pixels: Annotated[tuple[Count, ...], Field(min_length=1, max_length=4096)] | None = None
    """Pixels of the first level to scan; with area, only those inside it. Cannot be changed."""
    seeds: Annotated[Whole, Field(ge=1, le=7)] = 3
    """Vertex seeds per pixel. Cannot be changed."""
    first_seeds: Annotated[Whole, Field(ge=1, le=7)] = 1
    """How many of them every pixel is fitted from. The others follow where fits disagree, or compete for the minimum.
    The same number as seeds fits every pixel from all seeds. Cannot be changed."""
    predictive: Annotated[Number, Field(gt=0, le=1)] = 1.0
    """Fraction of a level after which the next level starts with pixels that are likely to be refined. Does not change
    the map. Cannot be changed."""
    reconstruction: Reconstruction = Reconstruction()
    """Reconstruction that fits a pixel. Cannot be changed."""
    calibrate: Annotated[Whole, Field(ge=0, le=1000)] = 0
    """Number of re-simulations of the event, 60 to 1000, whose thresholds replace those of the shipped calibration.
    Default: none. Cannot be changed."""
    workers: Workers = Workers()
    """Number of workers, and their pods."""
    pod_template: OnCluster[PodTemplate | None] = None
    """Additions to all pods of the scan, over the operator's settings, as far as the administrator allows them."""
    priority: OnCluster[Literal["Realtime", "Normal"]] = "Normal"
    """Realtime scans get their workers first when all scans together want more than the operator's maximum. The
    administrator names the namespaces that may have them."""
    output: Output = Output()
    """Results and where they are written. Can be changed until they are written, but for keepAllSeeds."""
    pulsar: OnCluster[Pulsar | None] = None
    """Connection to Apache Pulsar, if the administrator allows it. Default: the operator's. Cannot be changed."""
    notices: OnCluster[Notices | None] = None
    """Notices when the scan begins and ends. Default: none. A change counts until the results are written."""
    suspend: OnCluster[Flag] = False
    """Suspends the scan: its pods end and its topics stay. Once it is false again, the scan resumes."""
    ttl_seconds_after_finished: OnCluster[TimeToLive] = TimeToLive()
    """Time to live of the SkymapScan after it has finished, by its outcome."""
    active_deadline_seconds: OnCluster[Positive | None] = None
    """Time limit of the scan (s), from the start of its first pod. After it, the scan fails. Default: none."""
    starting_deadline_seconds: OnCluster[Positive | None] = None
    """Time limit (s) for the start of its first pod, from its creation. After it, the scan fails. Default: none."""
    cleanup_policy: OnCluster[CleanupPolicy] = CleanupPolicy()
    """When topics and pods are removed."""
    retries: OnCluster[Retries] = Retries()
    """Limits of retries."""

    rules: ClassVar = (
        Rule(
            "levels: the first has no level before it to refine, its parents must be 0, without probability",
            cel="self.levels.size() == 0 || (self.levels[0].parents == 0 && !has(self.levels[0].probability))",
            holds=lambda spec: spec.levels[0].parents == 0 and spec.levels[0].probability is None,
            field="levels",
        ),
        Rule(
            "levels: each must be finer than the one before it (a greater nside), with at least 1 parent",
            # CEL cannot pair neighbours: the list has the 13 indices that 14 levels can have beside 0.
            cel="[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13].all(i, i >= self.levels.size() || "
            "(self.levels[i].nside > self.levels[i - 1].nside && self.levels[i].parents > 0))",
            holds=lambda spec: all(b.nside > a.nside and b.parents > 0 for a, b in pairwise(spec.levels)),
            field="levels",
        ),
        Rule(
            "firstSeeds: there are not so many seeds",
            cel="self.firstSeeds <= self.seeds",
            holds=lambda spec: spec.first_seeds <= spec.seeds,
            field="firstSeeds",
        ),
        Rule(
            "calibrate: fewer than 60 re-simulations tell nothing about the 90 % region: give 60 to 1000, or 0",
            cel="self.calibrate == 0 || self.calibrate >= 60",
            holds=lambda spec: spec.calibrate == 0 or spec.calibrate >= 60,
            field="calibrate",
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
        Rule(
            "notices: are made from the json or the npz file: output.formats must have one of them",
            cel="!has(self.notices) || !has(self.output) || !has(self.output.formats) || "
            "self.output.formats.size() == 0 || self.output.formats.exists(one, one == 'json' || one == 'npz')",
            holds=lambda spec: (
                spec.notices is None or not spec.output.formats or bool({"json", "npz"} & set(spec.output.formats))
            ),
            field="notices",
        ),
    )
    immutable: ClassVar = (
        "event",
        "levels",
        "area",
        "pixels",
        "seeds",
        "first_seeds",
        "predictive",
        "reconstruction",
        "calibrate",
        "pulsar",
    )
