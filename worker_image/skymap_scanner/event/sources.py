"""Read events from a file, the standard input or a URL; the content shows whether it is an I3Live message or .i3."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from skymap_api.limited_file import read_limited
from skymap_api.text import printable_line
from skymap_scanner.errors import I3Error, InputError
from skymap_scanner.event.download_options import Credentials, DownloadLimits, allowed_addresses
from skymap_scanner.event.i3live import MAX_MESSAGE, decode_message, is_message
from skymap_scanner.event.lookup import STOPS, find
from skymap_scanner.event.model import Event, event_label
from skymap_scanner.event.selection import STORED_PHYSICS, Choice, EventSelection, choose
from skymap_scanner.i3 import Frame, I3EventHeader, I3String, read_frames
from skymap_scanner.i3.compression import decompressed

log = logging.getLogger(__name__)

#: The key under which a scan stores the name of its event; an event read from a scan's output keeps it.
NAME_KEY = "SCAN_EventName"

#: The key under which a scan stores which other events could have been meant.
CHOICE_KEY = "SCAN_EventChoice"
_LONGEST_CHOICE = 1000

#: A name becomes part of the names of files and topics.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def read_event(
    source: str,
    *,
    credentials: Credentials | None = None,
    select: EventSelection | None = None,
    pulse_series: str | None = None,
    limits: DownloadLimits | None = None,
) -> Event:
    """Read one event.

    Of several, it is the one with the most light of the first that has any, see ``event/selection.py``; what else could
    have been meant is logged.

    Its name is the one that a scan has stored in it; else that of ``event_label``, after its header, followed by its
    alert, where the message names one: ``run00138632.evt000031747601.neutrino``.

    Parameters
    ----------
    source
        A path, ``-`` for the standard input, or an http(s) URL.
    credentials
        For a URL; None: those of the environment, if it has any (``Credentials.from_environment``).
    select
        The event to look for; None: the first event that has light, or the first if none has.
    pulse_series
        The key of the pulses whose light is compared; None: the first of ``PULSE_SERIES`` that an event has.
    limits
        For a URL and the standard input.

    Raises
    ------
    InputError
        When the source cannot be read, holds no event, or not the one selected; the message names the source.
    """
    limits = limits or DownloadLimits()
    if "://" in source:
        content = _downloaded(source, credentials or Credentials.from_environment(os.environ), limits)
        return decode_event(io.BytesIO(content), source.partition("?")[0], select, pulse_series)
    place = place_of(source)
    with _opened(source, place) as file:
        rewinds = source != "-" and file.seekable()
        stream = file if rewinds else io.BytesIO(read_limited(file, limits.size))
        return decode_event(stream, place, select, pulse_series)


def read_content(source: str, limits: DownloadLimits) -> bytes:
    """Return all bytes of a path or of the standard input, ``-``; raises InputError as ``read_event``."""
    place = place_of(source)
    with _opened(source, place) as file:
        return read_limited(file, limits.size)


def place_of(source: str) -> str:
    """Return what messages call a path or the standard input."""
    return "standard input" if source == "-" else source


@contextmanager
def _opened(source: str, place: str) -> Iterator[BinaryIO]:
    if "\0" in source:
        raise InputError(f"{source!r} cannot be the path of a file")
    try:
        with nullcontext(sys.stdin.buffer) if source == "-" else Path(source).open("rb") as file:
            yield file
    except OSError as error:  # also of a standard input that is open for writing only
        raise InputError(f"{place}: {error.strerror or error}") from error


def _downloaded(url: str, credentials: Credentials | None, limits: DownloadLimits) -> bytes:
    from skymap_scanner.event.download import download  # noqa: PLC0415 - httpx takes 0.1 s, in every role

    return download(url, credentials, addresses=allowed_addresses(os.environ), limits=limits)


def decode_event(
    stream: BinaryIO, place: str, select: EventSelection | None = None, pulse_series: str | None = None
) -> Event:
    """Read one event from a seekable stream, as ``read_event`` does; ``place`` names it in messages."""
    try:
        if _is_message(stream):
            alert, events = _message_events(stream)
        else:
            alert, events = None, _physics_events(read_frames(stream))
        choice = choose(events, select, pulse_series)
        event = Event(_name(choice.frames, alert), choice.frames, _choice(choice))
    except I3Error as error:
        error.file = error.file or place
        raise
    except InputError as error:
        raise InputError(f"{place}: {error}") from error
    for note in choice.notes:
        log.warning("%s: %s", place, note)
    return event


def _is_message(stream: BinaryIO) -> bool:
    """Whether the stream, decompressed if need be, begins as an I3Live message does; it is rewound."""
    start = next(decompressed(stream), b"")
    stream.seek(0)
    if not start:
        raise InputError("is empty")
    return is_message(start)


def _message_events(stream: BinaryIO) -> tuple[str | None, Iterator[dict[str, Frame]]]:
    """Return the alert and the events of an I3Live message."""
    message = bytearray()
    for piece in decompressed(stream):
        message += piece
        if len(message) > MAX_MESSAGE:
            break  # decode_message raises
    decoded = decode_message(bytes(message))
    frames = []
    for number, (stop, data) in enumerate(decoded.frames):
        try:
            frame = Frame.from_bytes(data)
        except I3Error as error:
            error.frame = number
            raise
        if frame.stop != stop:
            raise I3Error(f"the message calls it {stop}, but it is a {frame.stop} frame", frame=number)
        frames.append(frame)
    frames.sort(key=lambda frame: (STOPS + STORED_PHYSICS).find(frame.stop))  # one event, in any order
    return decoded.alert, _physics_events(frames)


def _physics_events(frames: Iterable[Frame]) -> Iterator[dict[str, Frame]]:
    """Yield each physics event of a file with the G, C, D and Q frames that hold for it, in that order."""
    latest: dict[str, Frame] = {}
    for frame in frames:
        if frame.stop in ("P", STORED_PHYSICS):
            yield {stop: latest[stop] for stop in STOPS if stop in latest} | {"P": frame}
        elif frame.stop in STOPS:
            latest[frame.stop] = frame
            if frame.stop != "Q":
                latest.pop("Q", None)


def _choice(choice: Choice) -> str:
    """Return what a scan has stored about the choice of its event, and what this choice adds."""
    stored = find(choice.frames, CHOICE_KEY, I3String)
    said = [*([stored.value] if stored else []), *choice.notes]
    return printable_line("; ".join(said))[:_LONGEST_CHOICE]


def _name(frames: Mapping[str, Frame], alert: str | None) -> str:
    stored = find(frames, NAME_KEY, I3String)
    if stored is not None and _NAME.fullmatch(stored.value):
        return stored.value
    header = find(frames, "I3EventHeader", I3EventHeader)
    if header is None:
        raise InputError("the event has no I3EventHeader, so neither its number nor its time is known")
    name = event_label(header.run_id, header.event_id, header.sub_event_id)
    return f"{name}.{alert}" if alert and _NAME.fullmatch(alert) else name
