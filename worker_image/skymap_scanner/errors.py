"""The errors of the scanner: one root, and a subclass only where a caller acts differently.

    SkymapError
    ├── InputError             a file, event, option or manifest of the user is invalid
    │   ├── I3Error            a damaged or invalid .i3 stream, with the place of the fault
    │   ├── SoftwareMismatchError  another version or likelihood has begun the scan
    │   └── TooLittleMemoryError   the results need more memory than there may be
    ├── BrokerError            the broker rejected a request, or does not meet our needs
    │   ├── BrokerDenied       the admin interface denies it to this role
    │   └── BrokerUnavailable  the broker is unavailable for now; the caller may try again
    ├── ClusterError           the Kubernetes cluster rejected a request, or kubectl failed
    │   └── ClusterUnavailable the cluster is unavailable for now; the caller may try again
    └── ReconstructionError    a reconstruction cannot run here, or cannot fit this event

Every message names the file, field or object and says what to do. The command line prints it in one line, with a
traceback only if ``--debug`` is given; `skymap_api.exit_codes` lists the exit codes.
"""

from __future__ import annotations

from dataclasses import dataclass, field


class SkymapError(Exception):
    """Root of every error that the scanner raises on purpose."""


class InputError(SkymapError):
    """A file, event, option or manifest of the user is invalid."""


@dataclass
class I3Error(InputError):
    """A damaged or invalid .i3 stream: what was expected, what was found, and where.

    ``offset`` counts bytes of the uncompressed stream (or of the blob if only a blob was given), ``frame`` counts
    from 0, ``key`` is the frame object; each is None if unknown.
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


class SoftwareMismatchError(InputError):
    """Another version of the scanner, or another likelihood, began the scan or made some of its fits."""


class TooLittleMemoryError(InputError):
    """The results of a scan need more memory than this process may have."""


class BrokerError(SkymapError):
    """The broker rejected a request, or does not meet our needs."""


class BrokerDenied(BrokerError):  # noqa: N818 - the broker's answer, not a mistake of ours
    """The broker's admin interface denies a request to this role."""


class BrokerUnavailable(BrokerError):  # noqa: N818 - a temporary state, not a mistake
    """The broker is unavailable for now."""


class ClusterError(SkymapError):
    """The Kubernetes cluster rejected a request, or kubectl failed."""


class ClusterUnavailable(ClusterError):  # noqa: N818 - a temporary state, not a mistake
    """The cluster is unavailable for now."""


class ReconstructionError(SkymapError):
    """A reconstruction cannot run here, or cannot fit this event."""
