"""Notices of a scan on a cluster: who gets them, and how they are marked."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from skymap_api.resource.base import Model, Rule, Word

#: A URL that may be published: without user, password, query and fragment.
_RESULTS_URL = "^https?://[^ /?#@]+(/[^ ?#@]*)?$"


class Notices(Model):
    """Notices when the scan begins and ends, to destinations that the administrator defines."""

    to: Annotated[tuple[Word, ...], Field(min_length=1, max_length=8)]
    """Names of destinations, which the administrator defines and opens to namespaces."""
    alert_tense: Literal["current", "archival", "test"]
    """How notices are marked: archival is a new analysis of an old event. Those of events that the scanner simulated
    are always tests."""
    results_url: Annotated[str, Field(max_length=2048)] | None = None
    """URL at which the result files will be published: notices link to map, picture and report there. Default: no
    links."""

    rules: ClassVar = (
        Rule(
            "resultsUrl is published: it must be http://HOST... or https://HOST..., without user, password and query",
            cel=f"!has(self.resultsUrl) || self.resultsUrl.matches('{_RESULTS_URL}')",
            holds=lambda one: one.results_url is None or re.fullmatch(_RESULTS_URL, one.results_url) is not None,
            field="resultsUrl",
        ),
    )
