"""A ``SkymapScan`` manifest as the same settings that the options of ``run`` make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skymap_api.command_line import ScanOptions, i3_suffix
from skymap_api.resource import EventSource, Simulation, SkymapScan, given_for_clusters
from skymap_scanner.cli.options import parse_select
from skymap_scanner.cli.settings import scan_settings
from skymap_scanner.cli.yaml_documents import read_documents
from skymap_scanner.errors import InputError
from skymap_scanner.event.selection import EventSelection
from skymap_scanner.kubectl.submission import parse_manifest
from skymap_scanner.machine import worker_count
from skymap_scanner.roles.producer.planning import ScanSettings


@dataclass(frozen=True)
class ManifestScan:
    """The scan of a manifest: the event (URL, path or simulation), the settings and the files to write.

    ``workers``: None if the manifest does not say. ``cluster_only``: given fields that only clusters use.
    """

    event: str | Simulation
    select: EventSelection | None
    settings: ScanSettings
    workers: int | None
    formats: tuple[str, ...]
    suffix: str
    max_task_seconds: float
    cluster_only: tuple[str, ...]


def is_manifest(source: str) -> bool:
    """Return whether ``source`` names a manifest and not an event."""
    return Path(source).suffix in {".yaml", ".yml"}


def read_document(path: Path) -> tuple[dict[str, Any], SkymapScan]:
    """Return the one SkymapScan of a manifest, as it is written and as an object.

    Raises
    ------
    InputError
        If the file cannot be read, or is not one SkymapScan; the message names the invalid fields.
    """
    documents = read_documents(path)
    if len(documents) != 1:
        raise InputError(f"{path} holds {len(documents)} documents: give one SkymapScan")
    return documents[0], parse_manifest(documents[0], str(path))


def read_manifest(path: Path) -> ManifestScan:
    """Read a manifest for a scan on this machine.

    Raises
    ------
    InputError
        As `read_document`; also if only a cluster can read the event.
    """
    _, scan = read_document(path)
    spec = scan.spec
    return ManifestScan(
        event=_event(path, spec.event),
        select=parse_select(spec.event.select),
        settings=scan_settings(scan.metadata.name, ScanOptions.of(spec)),
        workers=_workers(spec.workers.max),
        formats=spec.output.formats or (),
        suffix=i3_suffix(spec.output),
        max_task_seconds=spec.reconstruction.max_task_seconds,
        cluster_only=tuple(given_for_clusters(spec)),
    )


def _workers(maximum: int | None) -> int | None:
    """Return the number of workers for this machine; ``maximum`` may be hundreds, for a cluster."""
    return None if maximum is None else min(maximum, worker_count())


def _event(manifest: Path, event: EventSource) -> str | Simulation:
    """Return the event's URL, its path (relative to the manifest in the file) or what to simulate."""
    if event.config_map is not None or event.persistent_volume_claim is not None:
        kind = "configMap" if event.config_map is not None else "persistentVolumeClaim"
        raise InputError(
            f"{manifest}: spec.event.{kind} can only be read on a cluster: to scan here, give event.path (a file "
            "beside the manifest) or event.url"
        )
    return event.simulate or event.url or str(manifest.parent / (event.path or ""))
