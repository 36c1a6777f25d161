"""Failed pixels in result files: left out of the data, and listed in the metadata.

skyreader takes the lowest -ln L of a level with numpy, which returns NaN if there is one, and then ignores the level.
A level without any fit keeps its failed pixels, and is rightly ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.errors import InputError

Levels = Mapping[int, NDArray[Any]]


def without_failed(levels: Levels) -> Levels:
    """Return the levels without failed pixels, except those that have no fit."""
    fitted = {nside: level[np.isfinite(level["llh"])] for nside, level in levels.items()}
    return {nside: rows if len(rows) else levels[nside] for nside, rows in fitted.items()}


def failed_to_text(levels: Levels, written: Levels) -> str:
    """Name the pixels of ``levels`` that are not ``written``: ``8:5 8:6 64:3``."""
    lost = {
        nside: np.setdiff1d(level["index"], written[nside]["index"]) for nside, level in levels.items() if len(level)
    }
    return " ".join(f"{nside}:{index}" for nside, indices in lost.items() for index in indices)


def with_failed(levels: Levels, failed: str) -> Levels:
    """Put back the pixels that `failed_to_text` names; raises InputError for one of a level that is not there."""
    indices: dict[int, list[int]] = {}
    try:
        for pixel in failed.split():
            nside, index = map(int, pixel.split(":"))
            indices.setdefault(nside, []).append(index)
        lost = {nside: np.array(listed, dtype=np.int64) for nside, listed in indices.items()}
    except (ValueError, OverflowError) as error:
        raise InputError(f"failed: {failed[:50]!r} is not NSIDE:PIXEL of each failed pixel") from error
    complete = dict(levels)
    for nside, failures in lost.items():
        if nside not in levels:
            raise InputError(f"failed: there is no level of nside {str(nside)[:20]}")
        rows = np.zeros(len(failures), dtype=levels[nside].dtype)
        rows["index"], rows["llh"] = failures, np.nan
        complete[nside] = np.concatenate([levels[nside], rows])
    return complete
