"""Exit codes of ``skymap-scanner``: what they mean to whoever restarts a role, and to scripts."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a process of the scanner ends. A signal that it does not handle ends it with 128 plus the signal's number."""

    DONE = 0
    """Its part of the scan is done. A worker never ends with it, because its part has no end."""
    ERROR = 1
    """It failed with a reported error, and would fail in the same way again; or a notice was refused for good."""
    USAGE = 2
    """The command line is wrong."""
    OTHER_SOFTWARE = 3
    """Another version of the scanner or another likelihood began the scan or made some of its fits."""
    TOO_LITTLE_MEMORY = 4
    """The results of the scan need more memory than the limit; with a higher one it works."""
    INTERNAL_ERROR = 70
    """A bug in the scanner (EX_SOFTWARE of sysexits.h)."""
    UNAVAILABLE = 75
    """Broker, cluster or a destination of notices is unavailable; the same may work later (EX_TEMPFAIL)."""
    INTERRUPTED = 130
    """SIGINT stopped it before its part was done; the same command resumes it."""
    TERMINATED = 143
    """SIGTERM stopped it before its part was done; the same command resumes it."""


#: A restart would fail in the same way.
PERMANENT = frozenset({ExitCode.ERROR, ExitCode.USAGE, ExitCode.OTHER_SOFTWARE, ExitCode.TOO_LITTLE_MEMORY})

#: No fault of the process: restart it, and do not count the failure.
NOT_COUNTED = frozenset({ExitCode.UNAVAILABLE, ExitCode.INTERRUPTED, ExitCode.TERMINATED})
