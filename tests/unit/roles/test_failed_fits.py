"""Failed fits in the history of a scan: each has its own reason, whatever became of its round."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from tests.unit.roles.conftest import Scan

from skymap_scanner.i3 import FitStatus
from skymap_scanner.reconstruction.protocol import Fit, Start
from skymap_scanner.report import history_from_csv


def test_history_has_the_reason_of_each_failed_fit(
    scan: Callable[..., Scan], change_fits: Callable[[Callable[[Start, Fit], Fit]], None]
) -> None:
    first_seeds: dict[tuple[float, float], Start] = {}
    reasons: list[str] = []

    def fail(start: Start, fit: Fit) -> Fit:
        """Fail from the second seed, and from both in the north."""
        first = first_seeds.setdefault((start.zenith, start.azimuth), start)
        if start == first and start.zenith > 1:
            return fit
        reasons.append(f"no fit {len(reasons)}")
        return replace(fit, llh=math.nan, status=FitStatus.GeneralFailure, reason=reasons[-1])

    change_fits(fail)
    one = scan("1:0", seeds=2)
    one.saver = replace(one.saver, formats=("json", "report"))
    one.run(workers=1)
    (path,) = one.folder.glob("*.history.csv")
    rows = history_from_csv(path.read_bytes())
    assert (len(rows), len(reasons)) == (24, 16)
    assert sorted(row.failure for row in rows if math.isnan(row.llh)) == sorted(reasons)
    assert {row.failure for row in rows if not math.isnan(row.llh)} == {""}
