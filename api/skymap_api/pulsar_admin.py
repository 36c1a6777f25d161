"""Pulsar's admin REST interface without sending anything: what the operator's client and the scanner's have in common.

Names of topics in paths, policies of namespaces, and how an answer is read. Source:
https://pulsar.apache.org/admin-rest-api (v2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urljoin, urlsplit

SCHEME = "persistent://"

#: Keep everything: the roles read plan, bests and metadata from their start, acknowledged or not.
RETENTION = {"retentionTimeInMinutes": -1, "retentionSizeInMB": -1}

#: With what a namespace begins, in the one request that makes it: nobody finds it without. It keeps all messages, drops
#: repeats, and makes no topic by itself, so that a client that has not heard of a deletion does not bring a topic back.
POLICIES = {
    "retention_policies": RETENTION,
    "deduplicationEnabled": True,
    "autoTopicCreationOverride": {"allowAutoTopicCreation": False},
}

#: As above, but whoever may produce makes topics there: those with an event's frames, which the producer names.
OPEN_POLICIES = POLICIES | {
    "autoTopicCreationOverride": {"allowAutoTopicCreation": True, "topicType": "non-partitioned"}
}

#: What a request meets while others change the same thing, and how often it is tried again (s apart).
BUSY, TRIES, PAUSE = (412, 500), 20, 0.25

#: A broker hands a request for another broker's topic on by a redirection.
REDIRECTIONS, MOST_REDIRECTIONS = {301, 302, 307, 308}, 5


class Answer(Protocol):
    """What is read of an answer; httpx.Response is one."""

    @property
    def url(self) -> Any:
        """Where it came from."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers."""
        ...

    @property
    def text(self) -> str:
        """Its body as text."""
        ...

    @property
    def reason_phrase(self) -> str:
        """What its status code is called."""
        ...

    def json(self) -> Any:
        """Its body, parsed as JSON."""
        ...


@dataclass(frozen=True)
class Rest:
    """Reads names and answers; ``refuse`` makes the error of what cannot be used, ``advice`` ends it."""

    refuse: Callable[[str], Exception]
    advice: str = ""

    def split_topic(self, topic: str) -> tuple[str, str, str]:
        """Split a full name into tenant, namespace and local name; raise if it is none."""
        parts = topic.removeprefix(SCHEME).split("/")
        if not topic.startswith(SCHEME) or len(parts) != 3 or not all(parts):
            raise self.refuse(f"topic {topic!r}: write the full name, persistent://tenant/namespace/topic")
        return parts[0], parts[1], parts[2]

    def path(self, topic: str) -> str:
        """Return the path of a topic."""
        return "/persistent/" + "/".join(quote(part, safe="") for part in self.split_topic(topic))

    def redirected(self, url: str, answer: Answer) -> str:
        """Return where the broker sends us from ``url``; the token goes along, so never from https to http."""
        target = urljoin(url, answer.headers.get("location", ""))
        if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
            raise self.refuse(
                f"{url.partition('/admin/')[0]} sends us from https to {urlsplit(target).scheme}: refused"
            )
        return target

    def object(self, answer: Answer) -> dict[str, Any]:
        """Return the JSON object in the answer; raise if there is none."""
        content = self._json(answer)
        if not isinstance(content, dict):
            raise self._strange(answer)
        return content

    def names(self, answer: Answer) -> list[str]:
        """Return the JSON list of names in the answer; raise if there is none."""
        content = self._json(answer)
        if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
            raise self._strange(answer)
        return content

    def _json(self, answer: Answer) -> Any:
        try:
            return answer.json()
        except ValueError as error:
            raise self._strange(answer) from error

    def _strange(self, answer: Answer) -> Exception:
        return self.refuse(f"{answer.url} does not answer as Pulsar's admin interface does{self.advice}")


def reason(answer: Answer) -> str:
    """Return why Pulsar refuses, in one line."""
    try:
        text = str(answer.json()["reason"])
    except (ValueError, KeyError, TypeError):
        text = answer.text
    return " ".join(text.split())[:200] or answer.reason_phrase  # a stack trace may follow
