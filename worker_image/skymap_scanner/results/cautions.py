"""What a reader of the best fit must know: a minimum that may lie elsewhere."""

from __future__ import annotations

from skymap_scanner.results.skymap import MultiOrderMap

#: From this excess of the best fit over a replaced pixel, in ln L, there is a caution. Fits of one minimum differ by up
#: to a tenth, and a coarser pixel's centre may lie nearer to the minimum than those of the finer ones.
NOTEWORTHY = 0.1


def cautions(skymap: MultiOrderMap) -> list[str]:
    """Return a sentence for each reason to doubt the best fit; it is one line of ASCII."""
    found = []
    if skymap.best_at_edge:
        found.append("the best fit is at the edge of the sky with fits, so the minimum may lie beyond it")
    if skymap.replaced is not None and skymap.best.llh - skymap.replaced.llh > NOTEWORTHY:
        lower = skymap.replaced
        found.append(
            f"pixel {lower.index} of nside {lower.nside}, which finer pixels replace, has a lower -ln L than the best "
            f"fit by {skymap.best.llh - lower.llh:.2f}, so the finer fits may have missed the minimum"
        )
    return found
