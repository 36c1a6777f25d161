"""The forms in which a notice is sent: our own JSON, CloudEvents, a message for chats, and GCN's JSON.

Each is the exact text that is sent, so that a repeated attempt sends the same bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from skymap_scanner.notices.notice import Notice
from skymap_scanner.results.summary import area_number

#: Version of our own JSON: a reader may rely on the keys that `webhook` writes.
VERSION = 1
#: GCN's schema of the alerts: https://github.com/nasa-gcn/gcn-schema
GCN_SCHEMA: Final = "https://gcn.nasa.gov/schema/v7.2.3/gcn/notices/icecube/single_neutrino_alerts.schema.json"
#: Type of a CloudEvent, before the type of the notice.
EVENT_TYPE = "edu.wisc.icecube.skymap.notice"

#: Characters that a chat gets from names and comments: they form no markup, mention or link.
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .,:;+-()%°²'?!\"=")
#: Longest text that a chat gets from a name or a comment (characters).
_LONGEST = 500


def webhook(notice: Notice) -> str:
    """Return our own JSON: type, tense, number, links, and the whole summary."""
    return _json(_content(notice))


def cloudevents(notice: Notice) -> str:
    """Return a CloudEvent (version 1.0, structured mode) whose data is our own JSON."""
    return _json(
        {
            "specversion": "1.0",
            "id": notice.key,
            "source": "skymap-scanner",
            "type": f"{EVENT_TYPE}.{notice.type}",
            "subject": notice.event_id,
            "time": notice.created,
            "datacontenttype": "application/json",
            "data": _content(notice),
        }
    )


def slack(notice: Notice) -> str:
    """Return a message with an attachment, which Slack, Mattermost and Rocket.Chat show.

    Incoming webhooks take no files: the picture is there only if ``links`` say where the chat can fetch it.
    """
    headline = _plain(notice.headline)
    attachment: dict[str, Any] = {"fallback": headline, "color": _colour(notice), "fields": _chat_fields(notice)}
    if "report" in notice.links:
        attachment |= {"title": "Report of the scan", "title_link": notice.links["report"]}
    if "picture" in notice.links:
        attachment["image_url"] = notice.links["picture"]
    return _json({"text": headline, "attachments": [attachment]})


def gcn(notice: Notice) -> str:
    """Return GCN's JSON, valid against `GCN_SCHEMA`.

    What is not known is left out: a notice without a map has no ``healpix_url`` and no direction. The energy losses of
    a fit are not ``nu_energy``, the most probable energy of the neutrino, so that is left out, too.
    """
    fields: dict[str, Any] = {"$schema": GCN_SCHEMA, **notice.fields}
    fields |= {
        "record_number": notice.number,
        "alert_datetime": notice.created,
        "alert_type": notice.type,
        "alert_tense": notice.tense,
        "number_of_events": 1,
    }
    if notice.has_map and "map" in notice.links:
        fields["healpix_url"] = notice.links["map"]
    if notice.comment:
        fields["description"] = notice.comment
    return _json(fields)


#: How each kind of destination gets a notice.
DOCUMENTS: Final[dict[str, Callable[[Notice], str]]] = {
    "webhook": webhook,
    "cloudevents": cloudevents,
    "slack": slack,
    "gcn": gcn,
}
#: The media type of each.
MEDIA_TYPES: Final = {
    "webhook": "application/json",
    "cloudevents": "application/cloudevents+json; charset=utf-8",
    "slack": "application/json",
    "gcn": "application/json",
}


def _content(notice: Notice) -> dict[str, Any]:
    return {
        "version": VERSION,
        "key": notice.key,
        "type": notice.type,
        "tense": notice.tense,
        "number": notice.number,
        "created": notice.created,
        "comment": notice.comment,
        "text": notice.headline,
        "links": dict(notice.links),
        "summary": dict(notice.summary),
    }


def _chat_fields(notice: Notice) -> list[dict[str, Any]]:
    """Return the rows of the message: direction, areas, cautions."""
    summary = notice.summary
    rows = [("Event", f"run {summary['run_id']}, event {summary['event_id']}"), ("Time", summary["time"] or "unknown")]
    if notice.has_map:
        rows.append(("Best fit (J2000)", f"RA {notice.fields['ra']}°, Dec {notice.fields['dec']:+}°"))
        for region in summary["regions"]:
            share = f"{100 * region['credible_level']:.4g} % area"
            rows.append((share, f"{area_number(region['area_deg2'])} deg²{' (open)' if region['open'] else ''}"))
        rows.append(("Contours", summary["rule_statement"]))
    rows += [("CAUTION", caution) for caution in summary["cautions"]]
    return [{"title": title, "value": _plain(value), "short": len(value) < 40} for title, value in rows]


def _colour(notice: Notice) -> str:
    """Return the colour of the bar beside the message: grey for a test, red for a retraction, else blue."""
    if notice.tense == "test":
        return "#888888"
    return "#cc3311" if notice.type == "retraction" else "#0077bb"


def _plain(text: str) -> str:
    """Return a text that no chat takes for markup, a link or a mention: names and comments are not trusted.

    Chats also make links of names that begin with www.
    """
    plain = "".join(one if one in _PLAIN else "?" for one in text[:_LONGEST])
    return re.sub(r"www\.", "www?", plain, flags=re.IGNORECASE)


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False)
