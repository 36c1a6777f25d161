"""What the files of a scan will take, in memory and on the disk, known before the first fit.

The figures are upper bounds, measured with ``benchmarks/scans/memory.py`` and rounded up; ``docs/how-to/plan-capacity``
has the measurements. The number of pixels decides, and for the flat map the nside. Nothing here depends on time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from skymap_scanner.errors import InputError, TooLittleMemoryError
from skymap_scanner.healpix import pixel_count

MIB = 2**20

#: Memory (bytes) of a saver without pixels, and for each pixel: plan, fits, and the rows of the result.
SAVER_MEMORY, PIXEL_MEMORY = 110 * MIB, 2500
#: Memory (bytes) that a format takes beside that: at once, and for each pixel. The last six draw the contours first.
FORMAT_MEMORY = {
    "json": (10 * MIB, 300),
    "npz": (10 * MIB, 300),
    "summary": (120 * MIB, 2500),
    "fits": (120 * MIB, 2500),
    "flat-fits": (130 * MIB, 2500),
    "geojson": (120 * MIB, 2500),
    "moc": (160 * MIB, 2500),
    "png": (420 * MIB, 2500),
    "report": (150 * MIB, 10_000),
}
#: Disk (bytes) of the saver's temporary file for each fit that is kept, and of the .i3 file; both at the same time.
FIT_DISK = 6000
#: Disk (bytes) of a format: at once, and for each pixel. That of the flat map depends on the nside, too.
FORMAT_DISK = {
    "json": (10_000, 250),
    "npz": (10_000, 70),
    "summary": (20_000, 1),
    "fits": (30_000, 120),
    "flat-fits": (20_000, 0),
    "geojson": (2_000_000, 0),
    "moc": (6_000_000, 0),
    "png": (6_000_000, 0),
    "report": (4_000_000, 1500),
}
#: Disk (bytes) of the flat map for each change of its value, and what zlib makes of 1000 equal bytes.
CHANGE_DISK, RUN_DISK = 8, 1.1


@dataclass(frozen=True)
class Room:
    """What there is for the saver: ``memory`` and free ``disk``, in bytes; None: not known, or without a limit."""

    memory: int | None = None
    disk: int | None = None


@dataclass(frozen=True)
class Requirements:
    """What the files take at most, in bytes: without any format, and for each format beside that.

    Formats are written one after the other, so that their disk adds up, and their memory does not.
    """

    memory: int
    disk: int
    format_memory: Mapping[str, int]
    format_disk: Mapping[str, int]

    def disk_of(self, formats: Collection[str]) -> int:
        """Return the disk that the files of these formats take together, with the .i3 file."""
        return self.disk + sum(self.format_disk[name] for name in formats)


def requirements(pixels: Mapping[int, int], fits: int) -> Requirements:
    """Return what the files of a scan take with so many ``pixels`` at each nside, and so many ``fits`` kept."""
    count = sum(pixels.values())
    disk = {name: once + each * count for name, (once, each) in FORMAT_DISK.items()}
    disk["flat-fits"] += flat_map_disk(pixels)
    return Requirements(
        memory=SAVER_MEMORY + PIXEL_MEMORY * count,
        disk=FIT_DISK * fits + disk["json"],  # that of the partial result
        format_memory={name: once + each * count for name, (once, each) in FORMAT_MEMORY.items()},
        format_disk=disk,
    )


def flat_map_disk(pixels: Mapping[int, int]) -> int:
    """Return the disk that the flat map of the finest nside takes: its value changes at both ends of a pixel."""
    changes = 2 * sum(pixels.values())
    runs = RUN_DISK * 8 * pixel_count(max(pixels)) / 1000
    return round(CHANGE_DISK * changes + runs)


def choose_writable(
    formats: Collection[str], need: Requirements, room: Room, *, named: bool
) -> tuple[tuple[str, ...], list[str]]:
    """Return the formats for which there is room, and for each other one a sentence that says why it is left out.

    Raises TooLittleMemoryError, or InputError for the disk, if one that the user has ``named`` has no room, or if there
    is none for the scan whatever the formats, or for any format.
    """
    if room.memory is not None and need.memory > room.memory:
        raise TooLittleMemoryError(
            f"the results of this scan need up to {in_words(need.memory)} of memory, and the limit is "
            f"{in_words(room.memory, free=True)}: scan fewer pixels (coarser levels, fewer parents), or raise the limit"
        )
    if room.disk is not None and need.disk > room.disk:
        raise InputError(
            f"the results of this scan need up to {in_words(need.disk)} of disk, and {in_words(room.disk, free=True)} "
            "is free: make room, choose another folder, or scan fewer pixels"
        )
    written: list[str] = []
    reasons: list[str] = []
    first: InputError | None = None
    for name in formats:
        lack = _lack(name, written, need, room)
        if lack is None:
            written.append(name)
        elif named:
            raise type(lack)(f"the format {name} {lack}; choose other formats")
        else:
            reasons.append(f"the format {name} is left out: it {lack}")
            first = first or type(lack)(f"there is no room for any format: {name} {lack}")
    if first is not None and not written:  # no format at all would mean every one to whoever writes them
        raise first
    return tuple(written), reasons


def _lack(name: str, written: Collection[str], need: Requirements, room: Room) -> InputError | None:
    """Return the error that says why a format cannot be written beside others; None if it can."""
    memory = need.memory + need.format_memory[name]
    if room.memory is not None and memory > room.memory:
        return TooLittleMemoryError(
            f"needs up to {in_words(memory)} of memory, and the limit is {in_words(room.memory, free=True)}"
        )
    disk = need.disk_of([*written, name])
    if room.disk is not None and disk > room.disk:
        free = in_words(room.disk, free=True)
        return InputError(f"needs up to {in_words(disk)} of disk with those before it, and {free} is free")
    return None


def in_words(size: int, *, free: bool = False) -> str:
    """Return a size (bytes) in MiB, or from 10 GiB on in GiB: rounded up, or down if it is what is ``free``."""
    unit, name = (MIB, "MiB") if size < 10 * 1024 * MIB else (1024 * MIB, "GiB")
    return f"{size // unit if free else -(-size // unit)} {name}"
