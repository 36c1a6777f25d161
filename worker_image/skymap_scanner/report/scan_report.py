"""The contents of a report, without the slow imports that its page needs for contours and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.reconstruction.protocol import Loss
from skymap_scanner.report.history import FitRecord
from skymap_scanner.results import ScanResult

#: How the names of reports end.
SUFFIX = ".report.html"


@dataclass(frozen=True)
class ScanReport:
    """All that a report is made of.

    ``event`` with the ``losses`` of the best fit is None, and ``history`` empty, where the files do not have them.
    ``files``: names of the files beside the report.
    """

    result: ScanResult
    event: PreparedEvent | None = None
    losses: Sequence[Loss] = ()
    history: Sequence[FitRecord] = ()
    files: Sequence[str] = field(default=())
