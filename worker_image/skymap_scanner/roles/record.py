"""What a folder's scan is: kept beside its results, so that the same command resumes it and another one is refused."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from skymap_scanner.errors import InputError
from skymap_scanner.event.model import Event
from skymap_scanner.roles.planning import ScanSettings
from skymap_scanner.roles.topics import check_name

FILE = "scan.json"


@dataclass(frozen=True)
class Record:
    """The scan of a folder: where its event came from, its settings, and whether it is done.

    ``broker``: URL of the broker that holds its topics, None for one of its own in the folder.
    """

    event: str
    settings: dict[str, Any] = field(default_factory=dict)
    finished: bool = False
    broker: str | None = None

    @property
    def name(self) -> str:
        """Name of the scan."""
        return str(self.settings["name"])

    @classmethod
    def of(cls, event: str, settings: ScanSettings, formats: tuple[str, ...] = (), broker: str | None = None) -> Record:
        """Make the record of a scan that is to be run."""
        values = asdict(settings)
        values |= {
            "levels": " ".join(map(str, settings.levels)),
            "area": None if settings.area is None else str(settings.area),
            "formats": list(formats),
        }
        del values["predictive"]  # does not change the map
        return cls(event, json.loads(json.dumps(values)), broker=broker)


def read_record(folder: Path) -> Record | None:
    """Read the record of ``folder``, None when there is none.

    Raises
    ------
    InputError
        If the file cannot be understood.
    """
    path = folder / FILE
    try:
        record = Record(**json.loads(path.read_text()))
        check_name(record.name)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, OSError, InputError) as error:
        raise InputError(
            f"{path} is not the record of a scan ({error}): choose another folder, or delete it"
        ) from error
    return record


def write_record(folder: Path, record: Record) -> None:
    """Write the record atomically.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    new = folder / f".{FILE}.new"
    try:
        new.write_text(json.dumps(asdict(record), indent=1, sort_keys=True) + "\n")
        os.replace(new, folder / FILE)  # noqa: PTH105 - atomic on every platform
    except OSError as error:
        raise InputError(f"cannot write {folder / FILE}: {error.strerror}") from error


def check_same(folder: Path, found: Record, wanted: Record) -> None:
    """Check that the folder's scan is the wanted one.

    Raises
    ------
    InputError
        If it is another, naming what differs.
    """
    if found.event != wanted.event:
        raise InputError(f"{folder} holds a scan of {found.event}: choose another folder, or --restart to replace it")
    if found.broker != wanted.broker:
        raise InputError(
            f"{folder} holds a scan over {_broker(found)}, not over {_broker(wanted)}: choose another folder, "
            "give the same --broker to resume it, or --restart to replace it"
        )
    for name in sorted(found.settings.keys() | wanted.settings.keys()):
        before, now = found.settings.get(name), wanted.settings.get(name)
        if before != now:
            raise InputError(
                f"{folder} holds a scan with other {name} ({before} instead of {now}): choose another folder, "
                "give the same to resume it, or --restart to replace it"
            )


def _broker(record: Record) -> str:
    return "a broker of its own" if record.broker is None else record.broker


def unique_name(event: Event, settings: ScanSettings) -> str:
    """Name a scan after its event and a digest of all that decides its map: no other scan on a broker has this name."""
    digest = hashlib.sha256()
    for stop in sorted(event.frames):
        digest.update(event.frames[stop].to_bytes())
    values = Record.of("", settings).settings
    del values["name"], values["formats"]
    digest.update(json.dumps(values, sort_keys=True).encode())
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", event.name)[:180].strip("._-")
    return f"{stem or 'event'}-{digest.hexdigest()[:8]}"
