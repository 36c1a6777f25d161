"""The words of a picture: its title, and the foot with the thresholds of the contours."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from skymap_scanner.results.cautions import cautions
from skymap_scanner.results.contours import Contour, of_rule
from skymap_scanner.results.fits_files import mjd_to_iso
from skymap_scanner.results.result import ScanResult
from skymap_scanner.results.rule import WILKS, ContourRule, percent
from skymap_scanner.results.skymap import MultiOrderMap
from skymap_scanner.results.summary import event_name

INK = "#222222"
#: Number of characters at the foot of a picture, and in its notes.
FOOT = 145


def write_title(figure: Figure, result: ScanResult, skymap: MultiOrderMap, regions: Sequence[Contour]) -> None:
    """Write the title, line by line: event, time and reconstruction, best fit, notes.

    The foot of the picture has the thresholds of the contours and their source.
    """
    metadata = result.metadata
    time = mjd_to_iso(metadata.mjd).split(".", maxsplit=1)[0].replace("T", " ")
    facts = [f"{time} UTC", metadata.event_type, metadata.reconstruction, f"contours: {skymap.rule.label}"]
    name = event_name(metadata)
    size = min(13.0, 100 * figure.get_figwidth() / len(name))  # a long name still fits
    lines = [
        (name, size, "bold", INK),
        ("  ·  ".join(filter(None, facts)), 9.5, "normal", INK),
        (_direction_text(skymap, regions), 9.5, "normal", INK),
    ]
    notes = notes_text(result, skymap)
    if notes:
        lines.append((notes, min(10.5, 100 * figure.get_figwidth() / len(notes)), "bold", "#c92a2a"))
    figure.text(0.5, 0.005, rule_text(skymap.rule), ha="center", va="bottom", fontsize=6.5, color=INK)
    height = figure.get_figheight()
    for line, (text, size, weight, colour) in enumerate(lines):
        y = 1 - (0.24 + 0.25 * line) / height
        figure.text(
            *(0.5, y, drawable(text)),
            ha="center",
            va="center",
            fontsize=size,
            weight=weight,
            color=colour,
            parse_math=False,  # a name may hold dollar signs
        )


def drawable(text: str) -> str:
    """Return text with escapes for the characters that the font lacks."""
    font = get_font(findfont(FontProperties()))
    return "".join(c if font.get_char_index(ord(c)) else c.encode("unicode_escape").decode() for c in text)


def _direction_text(skymap: MultiOrderMap, regions: Sequence[Contour]) -> str:
    """Return the best fit with the errors of the 90 % region."""
    best = skymap.best
    text = f"RA {best.ra:.2f}°, Dec {best.dec:.2f}°"
    covers = "90 % statistical only" if skymap.rule.name == WILKS.name else "90 %"
    for box in (region.box for region in of_rule(regions, skymap.rule) if region.credible_level == 0.9):
        text = (
            f"RA {best.ra:.2f}° (+{box.ra_plus:.2f}/-{box.ra_minus:.2f}),  "
            f"Dec {best.dec:.2f}° (+{box.dec_plus:.2f}/-{box.dec_minus:.2f}),  {covers}, J2000"
        )
    return text.replace("-", "−")


def rule_text(rule: ContourRule) -> str:
    """Return the thresholds of a rule and their source, shortened to one line."""
    levels = ", ".join(f"{threshold:.3g} ({percent(level)})" for level, threshold in rule.levels.items())
    return textwrap.shorten(f"Contours where 2Δ(−ln L) = {levels}: {rule.source}", FOOT, placeholder=" …")


def notes_text(result: ScanResult, skymap: MultiOrderMap) -> str:
    """Return in one line how much of a partial scan is done, and what the event and the best fit lack; or ""."""
    notes = [] if result.complete else [partial_note(result)]
    notes += [
        f"CAUTION: {caution}"
        for caution in (result.metadata.choice, result.metadata.caution, *cautions(skymap))
        if caution
    ]
    return textwrap.shorten(" · ".join(notes), FOOT, placeholder=" …")


def partial_note(result: ScanResult) -> str:
    """Return how much of a scan is done: ``partial: 345/768 pixels``."""
    planned = sum(result.metadata.plan.values())
    return f"partial: {result.scanned}{f'/{planned}' if planned else ''} pixels"
