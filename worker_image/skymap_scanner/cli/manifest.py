"""From a ``SkymapScan`` manifest to the same settings that the options of ``run`` make."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from skymap_api.resource import EventSource, Simulation, SkymapScan, given_for_clusters
from skymap_api.resource.base import describe_errors
from skymap_scanner.cli.options import parse_select
from skymap_scanner.cli.yaml_documents import read_documents
from skymap_scanner.errors import InputError
from skymap_scanner.roles.planning import ScanSettings
from skymap_scanner.scan.levels import Area, Level, check_levels, first_pixels
from skymap_scanner.scan.pixels import check_nside, check_pixels, write_ranges


@dataclass(frozen=True)
class ManifestScan:
    """What a manifest says: the event (URL, path or simulation), the settings and what is written.

    ``workers``: None where it says nothing of them. ``elsewhere``: fields that were given and count on a cluster only.
    """

    event: str | Simulation
    select: tuple[int, int] | None
    settings: ScanSettings
    workers: int | None
    formats: tuple[str, ...]
    suffix: str
    max_task_seconds: float
    elsewhere: tuple[str, ...]


def is_manifest(source: str) -> bool:
    """Tell whether ``source`` names a manifest and not an event."""
    return Path(source).suffix in {".yaml", ".yml"}


def read_manifest(path: Path) -> ManifestScan:
    """Read a manifest.

    Raises
    ------
    InputError
        If it cannot be read, is no SkymapScan, a field is wrong (the message names it), or only a cluster can get at
        the event.
    """
    scan = _parse(path)
    spec = scan.spec
    levels = check_levels([Level(level.nside, level.parents) for level in spec.levels])
    area = None if spec.area is None else _area(spec.area.nside, spec.area.pixel, spec.area.pixels)
    indices = None if spec.pixels is None else sorted(set(spec.pixels))
    first_pixels(levels[0], area, indices)
    settings = ScanSettings(
        name=scan.metadata.name,
        levels=levels,
        seeds=spec.seeds,
        area=area,
        pixels=None if indices is None else write_ranges(indices),
        pulse_series=spec.event.pulse_series,
        reconstruction=spec.reconstruction.name,
        parameters=spec.reconstruction.parameters,
        keep_all_seeds=spec.output.keep_all_seeds,
        predictive=spec.predictive,
    )
    return ManifestScan(
        event=_event(path, spec.event),
        select=parse_select(spec.event.select),
        settings=settings,
        workers=_workers(spec.workers.max),
        formats=spec.output.formats or (),
        suffix=".i3" if spec.output.compression == "none" else f".i3.{spec.output.compression}",
        max_task_seconds=spec.reconstruction.max_task_seconds,
        elsewhere=tuple(given_for_clusters(spec)),
    )


def _parse(path: Path) -> SkymapScan:
    documents = read_documents(path)
    if len(documents) != 1:
        raise InputError(f"{path} holds {len(documents)} documents: give one SkymapScan")
    try:
        return SkymapScan.model_validate(documents[0])
    except ValidationError as error:
        raise InputError(f"{path} is not a SkymapScan that can be run: {describe_errors(error)}") from error


def _area(nside: int, pixel: int, count: int) -> Area:
    return Area(check_pixels(check_nside(nside), [pixel])[0], count)


def _workers(most: int | None) -> int | None:
    """Return how many this machine can use of the hundreds that a cluster may be allowed."""
    return None if most is None else min(most, os.cpu_count() or 1)


def _event(manifest: Path, event: EventSource) -> str | Simulation:
    """Return the event's URL, path (in the manifest it is relative to it) or what to simulate."""
    if event.config_map is not None or event.persistent_volume_claim is not None:
        kind = "configMap" if event.config_map is not None else "persistentVolumeClaim"
        raise InputError(
            f"{manifest}: spec.event.{kind} can be read on a cluster only: here, give event.path (a file beside the "
            "manifest) or event.url"
        )
    return event.simulate or event.url or str(manifest.parent / (event.path or ""))
