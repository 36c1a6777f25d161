"""The record of a folder's scan, kept beside its results: the same command resumes it, another one is an error."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from skymap_api.limited_file import read_limited
from skymap_scanner.atomic_file import write_atomically
from skymap_scanner.errors import InputError, SoftwareMismatchError
from skymap_scanner.event.model import Event
from skymap_scanner.roles.producer.planning import ScanSettings
from skymap_scanner.roles.topics import check_name

FILE = "scan.json"

#: Largest size of a record (bytes).
LONGEST = 2**20


@dataclass(frozen=True)
class Record:
    """The scan of a folder: the source of its event, its settings, and whether it is finished.

    ``broker``: URL of the shared broker with its topics; None for an embedded one in the folder. ``software``: what
    makes its fits (`reconstruction.software_of`). ``formats`` of the results; they decide nothing of the map.
    """

    event: str
    settings: dict[str, Any] = field(default_factory=dict)
    finished: bool = False
    broker: str | None = None
    software: str = ""
    formats: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the scan."""
        return str(self.settings["name"])

    @classmethod
    def of(cls, event: str, settings: ScanSettings, formats: tuple[str, ...] = (), broker: str | None = None) -> Record:
        """Return the record of a new scan, but for its software."""
        values = asdict(settings)
        values |= {
            "levels": " ".join(map(str, settings.levels)),
            "area": None if settings.area is None else str(settings.area),
        }
        del values["predictive"]  # does not change the map
        return cls(event, json.loads(json.dumps(values)), broker=broker, formats=formats)


def read_record(folder: Path) -> Record | None:
    """Read the record of ``folder``; None if there is none.

    Raises InputError if the file is invalid.
    """
    path = folder / FILE
    try:
        with path.open("rb") as file:
            record = Record(**json.loads(read_limited(file, LONGEST)))
        record = replace(record, formats=tuple(record.formats))
        check_name(record.name)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError, OSError, InputError) as error:
        raise InputError(
            f"{path} is not a valid record of a scan ({error}): choose another folder, or --restart to replace it"
        ) from error
    return record


def write_record(folder: Path, record: Record) -> None:
    """Write the record atomically; raises InputError if the folder cannot be written."""
    text = json.dumps(asdict(record), indent=1, sort_keys=True) + "\n"
    write_atomically(folder / FILE, text.encode())


def check_same(folder: Path, found: Record, wanted: Record) -> None:
    """Check that the scan in the folder is the wanted one.

    Raises InputError if it is another one; the message names the difference.
    """
    if found.event != wanted.event:
        raise InputError(f"{folder} holds a scan of {found.event}: choose another folder, or --restart to replace it")
    embedded = "an embedded broker"
    if found.broker != wanted.broker:
        raise InputError(
            f"{folder} holds a scan over {found.broker or embedded}, not over {wanted.broker or embedded}: "
            "choose another folder, give the same --broker to resume it, or --restart to replace it"
        )
    for name in sorted(found.settings.keys() | wanted.settings.keys()):
        before, now = found.settings.get(name), wanted.settings.get(name)
        if before != now:
            raise InputError(
                f"{folder} holds a scan with {name} {before}, not {now}: choose another folder, "
                "give the same value to resume it, or --restart to replace it"
            )


def check_software(folder: Path, found: Record, software: str) -> None:
    """Check that the unfinished scan in the folder can be resumed.

    Raises SoftwareMismatchError if another software began it.
    """
    if found.software != software:
        raise SoftwareMismatchError(
            f"{folder} holds an unfinished scan by '{found.software or 'an older version'}', this is '{software}': "
            "finish it with the software that began it, or --restart to scan again"
        )


def unique_name(event: Event, settings: ScanSettings, software: str) -> str:
    """Return a name that no other scan on a broker has: the event, and a digest of everything that decides the map."""
    digest = hashlib.sha256()
    for stop in sorted(event.frames):
        digest.update(event.frames[stop].to_bytes())
    values = Record.of("", settings).settings
    del values["name"]
    digest.update(json.dumps(values | {"software": software}, sort_keys=True).encode())
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", event.name)[:180].strip("._-")
    return f"{stem or 'event'}-{digest.hexdigest()[:8]}"
