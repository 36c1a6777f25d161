"""The errors of the scanner: one root, and a subclass only where a caller acts differently.

    SkymapError
    ├── InputError            what the user gave cannot be used: file, event, option, manifest
    │   └── I3Error           a damaged or impossible .i3 stream, with its place
    ├── BrokerError           the broker refused or is not what we need
    │   └── BrokerUnavailable the broker cannot be reached for now; the caller may try again
    ├── ClusterError          the Kubernetes cluster refused, or kubectl cannot be used
    │   └── ClusterUnavailable the cluster cannot be reached for now; the caller may try again
    └── ReconstructionError   this reconstruction cannot run here, or cannot fit this event

Every message names the file, field or object and says what to do. The command line prints it in one line and
exits with 1; a traceback appears only with ``--debug``.
"""

from __future__ import annotations

from dataclasses import dataclass, field


def printable(text: str) -> str:
    """Write what a terminal would obey, or could not print, as escapes; line ends stay.

    For whatever is shown and comes from outside: an event, a broker, a server, a pod's log.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\n" else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class SkymapError(Exception):
    """Root of every error that the scanner raises on purpose."""


class InputError(SkymapError):
    """What the user gave cannot be used."""


@dataclass
class I3Error(InputError):
    """A damaged .i3 stream: what was expected, what was found, and where.

    ``offset`` counts bytes of the uncompressed stream (or of the blob, when only a blob was given), ``frame`` counts
    from 0, ``key`` is the frame object; each is None where it is not known.
    """

    message: str
    offset: int | None = field(default=None, kw_only=True)
    frame: int | None = field(default=None, kw_only=True)
    key: str | None = field(default=None, kw_only=True)
    file: str | None = field(default=None, kw_only=True)

    def __str__(self) -> str:
        places = [
            self.file,
            None if self.frame is None else f"frame {self.frame}",
            None if self.key is None else f"key {self.key!r}",
            None if self.offset is None else f"offset {self.offset}",
        ]
        where = ", ".join(place for place in places if place is not None)
        return f"{where}: {self.message}" if where else self.message


class BrokerError(SkymapError):
    """The broker refused, or is not what we need."""


class BrokerUnavailable(BrokerError):  # noqa: N818 - a state that passes, not a mistake
    """The broker cannot be reached for now."""


class ClusterError(SkymapError):
    """The Kubernetes cluster refused, or kubectl cannot be used."""


class ClusterUnavailable(ClusterError):  # noqa: N818 - a state that passes, not a mistake
    """The cluster cannot be reached for now."""


class ReconstructionError(SkymapError):
    """A reconstruction cannot run here, or cannot fit this event."""
