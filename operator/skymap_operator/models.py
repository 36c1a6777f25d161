"""``SkymapScan`` as objects: the one definition of the manifest that a laptop runs and a cluster will apply.

Field names are Kubernetes' (camelCase) in the manifest and Python's here. Every rule that needs only the manifest is
checked here; whether the pixels of a list exist, for example, is checked where the scan is made.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

GROUP = "skymap.icecube.wisc.edu"
VERSION = "v1alpha1"

PowerOfTwo = Literal[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Simulation(_Model):
    """A simulated event with a known direction."""

    topology: Literal["track", "cascade"] = "track"
    ra: Annotated[float, Field(ge=0, lt=360)] | None = None
    dec: Annotated[float, Field(ge=-90, le=90)] | None = None
    energy: Annotated[float, Field(gt=0, le=1e9)] = 1e5
    seed: Annotated[int, Field(ge=0)] = 0


class EventSource(_Model):
    """Where the event comes from: exactly one of these."""

    url: AnyHttpUrl | None = None
    path: str | None = None
    simulate: Simulation | None = None
    pulse_series: str | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in ("url", "path", "simulate") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of url, path, simulate (found: {', '.join(given) or 'none'})")
        return self


class Level(_Model):
    """One level of the refinement: the best ``parents`` pixels of the level before are scanned at ``nside``."""

    nside: PowerOfTwo
    parents: Annotated[int, Field(ge=0)] = 0


class Area(_Model):
    """The ``pixels`` pixels of the first level that are nearest to a coarse pixel."""

    nside: PowerOfTwo
    pixel: Annotated[int, Field(ge=0)]
    pixels: Annotated[int, Field(ge=1)]


class Reconstruction(_Model):
    """What fits a task."""

    name: str = "millipede"
    parameters: dict[str, Any] = Field(default_factory=dict)
    max_task_seconds: Annotated[float, Field(ge=1)] = 600


class Workers(_Model):
    """How many workers; on one machine ``max`` of them are started, by default one a core."""

    max: Annotated[int, Field(ge=1)] | None = None


class Output(_Model):
    """What is written: the .i3 file's compression by its suffix, the result formats, all seeds or the best."""

    compression: Literal["none", "gz", "bz2", "zst", "xz"] = "zst"
    formats: tuple[str, ...] | None = None
    keep_all_seeds: bool = False


class SkymapScanSpec(_Model):
    """What is to be scanned, and how."""

    event: EventSource
    levels: tuple[Level, ...] = (Level(nside=8), Level(nside=64, parents=12), Level(nside=512, parents=24))
    area: Area | None = None
    pixels: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    seeds: Annotated[int, Field(ge=1, le=7)] = 7
    predictive: Annotated[float, Field(gt=0, le=1)] = 1.0
    reconstruction: Reconstruction = Reconstruction()
    workers: Workers = Workers()
    output: Output = Output()

    @model_validator(mode="after")
    def _levels_ascend(self) -> Self:
        if not self.levels:
            raise ValueError("levels: give at least one")
        if self.levels[0].parents:
            raise ValueError("levels: the first has no level before it to refine, its parents must be 0")
        for before, level in zip(self.levels, self.levels[1:], strict=False):
            if level.nside <= before.nside or level.parents < 1:
                raise ValueError(
                    f"levels: nside {level.nside} must be finer than {before.nside}, with at least 1 parent"
                )
        return self


class Metadata(BaseModel):
    """The part of Kubernetes' metadata that a scan needs; the rest is the cluster's."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]


class SkymapScan(_Model):
    """The custom resource."""

    api_version: Literal["skymap.icecube.wisc.edu/v1alpha1"]
    kind: Literal["SkymapScan"]
    metadata: Metadata
    spec: SkymapScanSpec
