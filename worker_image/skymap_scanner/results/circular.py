"""The draft of a GCN circular in the wording of IceCube's. What a scan does not know stands in [BRACKETS]."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from skymap_scanner.results.cautions import cautions
from skymap_scanner.results.contours import Contour, of_rule
from skymap_scanner.results.fits_files import alert_stream, mjd_to_iso
from skymap_scanner.results.result import ScanMetadata, ScanResult
from skymap_scanner.results.rule import WILKS
from skymap_scanner.results.skymap import MultiOrderMap
from skymap_scanner.results.sources import Source, Sources
from skymap_scanner.results.summary import area_number, direction_lines

#: Longest line of a paragraph (characters).
WIDTH = 78
#: Most sources in the region that are named.
NAMED = 10
#: Paragraphs of every circular.
REFINED = (
    "After the initial automated alert, more sophisticated reconstruction algorithms have been applied offline, with "
    "the direction refined to:"
)
FOLLOW_UP = (
    "We encourage follow-up by ground and space-based instruments to help identify a possible astrophysical source for "
    "the candidate neutrino."
)
CONTACT = (
    "The IceCube Neutrino Observatory is a cubic-kilometer neutrino detector operating at the geographic South Pole, "
    "Antarctica. The IceCube realtime alert point of contact can be reached at [ADDRESS]."
)


def circular_text(
    result: ScanResult, skymap: MultiOrderMap, regions: Sequence[Contour], sources: Sources | None = None
) -> str:
    """Return the draft; with ``sources`` it names those in the 90 % region and the nearest one."""
    metadata = result.metadata
    kind = f"{metadata.topology}-like event" if metadata.topology else "event"
    ninety = next(region for region in of_rule(regions, skymap.rule) if region.credible_level == 0.9)
    date, _, time = mjd_to_iso(metadata.mjd).partition("T")
    time = time[:-1]  # to hundredths of a second, cut off
    statistical = " It covers statistical uncertainty alone." if skymap.rule.name == WILKS.name else ""
    at_least = "at least " if ninety.open else ""
    detected = (
        f"On {date} at {time} UT IceCube detected a {kind} with a [HIGH/MODERATE] probability of being of "
        f"astrophysical origin. {_selection(metadata)} This alert has an estimated false alarm rate of [RATE] events "
        "per year due to atmospheric backgrounds. The IceCube detector was in a [NORMAL] operating state at the time "
        "of detection."
    )
    paragraphs = [
        detected,
        REFINED,
        "\n".join([f"Date: {date}", f"Time: {time} UT", *direction_lines(skymap.best, ninety)]),
        f"The 90% region has an area of {at_least}{area_number(ninety.area)} square degrees.{statistical}",
        *([] if sources is None else [_sources_text(sources)]),
        FOLLOW_UP,
        CONTACT,
    ]
    name = metadata.name or f"run {metadata.run_id}, event {metadata.event_id}"
    subject = f"SUBJECT: {name} - IceCube observation of a high-energy neutrino candidate {kind}"
    body = "\n\n".join(part if part.startswith("Date:") else _wrap(part) for part in paragraphs)
    notes = [_wrap(f"NOT TO BE SENT: {note}") for note in _notes(result, skymap)]
    return "\n\n".join([*notes, subject, body]) + "\n"


def _wrap(paragraph: str) -> str:
    """Wrap a paragraph, without breaking names at their hyphens."""
    return textwrap.fill(paragraph, WIDTH, break_on_hyphens=False, break_long_words=False)


def _selection(metadata: ScanMetadata) -> str:
    stream = alert_stream(metadata.event_type)
    return f"The event was selected by the {stream or '[STREAM]'} alert stream."


def _sources_text(sources: Sources) -> str:
    """Return what lies in the 90 % region, and the nearest source."""
    if not sources.nearest:
        return f"The catalog {sources.title} has no sources."
    nearest = (
        f"The source of the catalog {sources.title} nearest to the best-fit direction is {_place(sources.nearest[0])}."
    )
    if not sources.inside:
        return f"No source of the catalog {sources.title} lies within the 90% region. {nearest}"
    named = "; ".join(map(_place, sources.inside[:NAMED]))
    more = f"; and {len(sources.inside) - NAMED} more" if len(sources.inside) > NAMED else ""
    count = len(sources.inside)
    verb = "source lies" if count == 1 else "sources lie"
    found = f"{count} {verb} within the 90% region (catalog {sources.title}): {named}{more}."
    return found if sources.nearest[0] in sources.inside else f"{found} {nearest}"


def _place(source: Source) -> str:
    return f"{source.name} at RA {source.ra:.2f}, Dec {source.dec:.2f} deg (J2000), {source.distance:.2f} deg away"


def _notes(result: ScanResult, skymap: MultiOrderMap) -> list[str]:
    """Return why a circular must not go out as it is."""
    notes = [] if result.metadata.is_real_event else ["the event is simulated."]
    notes += [] if result.complete else ["the scan is not complete."]
    doubts = (result.metadata.choice, result.metadata.caution, *cautions(skymap))
    return notes + [f"check this caution: {doubt.rstrip('.')}." for doubt in doubts if doubt]
