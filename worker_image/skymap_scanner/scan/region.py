"""Whether the area of the 90 % region is known from the pixels of one level."""

from __future__ import annotations

import math
from collections.abc import Mapping

from skymap_scanner.scan.pixels import Pixel

#: -ln L above the best pixel at the edge of the 90 % region: Wilks' theorem with two degrees of freedom.
EDGE = -math.log1p(-0.9)

#: With so many pixel centres inside, the interpolated area of an ellipse is right to 2 %, up to an axis ratio of 3: of
#: 60 random ones by 0.7 % on average, and one by more than 2 %. The error falls as one over their number.
ENOUGH = 80


def area_is_known(llh: Mapping[Pixel, float]) -> bool:
    """Return whether the level resolves the 90 % region, from -ln L (NaN: failed) of its pixels.

    A finer level would then change the area by less than 2 %. A calibrated region is larger, and known even better.
    """
    values = [value for value in llh.values() if not math.isnan(value)]
    lowest = min(values, default=math.nan)
    return sum(value - lowest <= EDGE for value in values) >= ENOUGH
