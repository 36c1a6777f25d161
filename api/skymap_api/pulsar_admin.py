"""Pulsar's admin REST interface as values: which requests an operation sends, and how their answers are read.

Nothing here does I/O. An operation is a generator (`Exchange`): it yields each `Request`, is sent the `Answer`, and
returns the result. Retries, redirects and errors are part of the operation, so that a client is a short loop, blocking
or asynchronous::

    request = next(exchange)
    while True:  # until StopIteration, whose value is the result
        sleep(request.delay)
        try:
            answer = send(request)
        except PulsarUnavailable as error:
            request = exchange.throw(error)  # the next broker, or the error
        else:
            request = exchange.send(answer)

Every operation may be repeated: creating what exists and deleting what is gone are not errors.
Answers come from a server that a tenant may have named, so they are validated and bounded, redirects lead to brokers of
the same service only (`skymap_api.pulsar_brokers`), and errors repeat nothing of them but the status code.

Source: https://pulsar.apache.org/admin-rest-api (v2).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from http.client import responses
from typing import Any, TypeVar
from urllib.parse import quote

from skymap_api.pulsar_brokers import Brokers, RedirectError
from skymap_api.pulsar_policies import RETENTION, keeps_messages
from skymap_api.pulsar_statistics import Subscription, read_partitions, read_subscriptions
from skymap_api.text import bounded_line

T = TypeVar("T")

SCHEME = "persistent://"

#: Permissions of the pods' role in the namespaces of scans.
PERMISSIONS = ("produce", "consume")

#: Statuses of a request that met a concurrent change, how often it is retried, and the back-off between tries (s).
BUSY, RETRIES, BACK_OFF = (412, 500), 20, 0.25

#: A broker redirects requests for a topic that another broker owns.
REDIRECTS, MAX_REDIRECTS = {301, 302, 307, 308}, 5

#: Longest answer that is read (bytes): a list or statistics, unless a client says less; a message, of which snapshots
#: and first entries of plans have a few kilobytes; the explanation of an error.
MAX_LIST, MAX_MESSAGE, MAX_ERROR = 16 << 20, 1 << 20, 1 << 16

#: Most partitions of a topic: far beyond any use, and few enough to list.
MAX_PARTITIONS = 1024


class PulsarAdminError(Exception):
    """Pulsar refused a request, or its answer cannot be used. A retry does not help."""


class PulsarDenied(PulsarAdminError):  # noqa: N818 - as Pulsar says it
    """The role may not do this, or its token or certificate is invalid."""


class PulsarUnavailable(PulsarAdminError):  # noqa: N818 - a temporary state, not a mistake
    """Pulsar cannot be reached for now."""


class UnreadableMessage(PulsarAdminError):  # noqa: N818 - what a tenant has written, not a mistake of Pulsar
    """A message is too large, or none of ours."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; ``json`` is its body, None for none. It is sent after ``delay`` (s).

    ``limit`` is the longest body of a successful answer (bytes), and ``error_limit`` that of another one: a longer one
    counts as empty, and with 0 it is not read.
    """

    method: str
    url: str
    json: object = None
    delay: float = 0.0
    limit: int = MAX_MESSAGE
    error_limit: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response; names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Exchange = Generator[Request, Answer, T]


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message of a topic, with the time at which its producer published it."""

    payload: bytes
    published: datetime


@dataclass(frozen=True, slots=True)
class TopicList:
    """The topics of a namespace, a partitioned topic once; ``partitioned``: those among them that have partitions."""

    topics: frozenset[str] = frozenset()
    partitioned: frozenset[str] = frozenset()


def split_topic(topic: str) -> tuple[str, str, str]:
    """Split a full name into tenant, namespace and local name. Raises PulsarAdminError if it is none."""
    parts = topic.removeprefix(SCHEME).split("/")
    if not topic.startswith(SCHEME) or len(parts) != 3 or not all(parts):
        raise PulsarAdminError(f"topic {topic!r}: write the full name, persistent://tenant/namespace/topic")
    return parts[0], parts[1], parts[2]


@dataclass(frozen=True)
class AdminRequests:
    """The operations of the admin interface at ``url``; ``credentials`` names what to check when access is denied.

    ``trusted``: errors quote the server's own words. Nobody else's may reach a status or a log: whoever names a server
    could read what it answers to us. ``longest``: the longest list or statistics that are read (bytes).

    A ``url`` may list further brokers, which are asked where those before them cannot be reached. Every operation
    raises PulsarAdminError, or PulsarUnavailable where a later try may succeed.
    """

    url: str
    credentials: str = "the token or certificate"
    trusted: bool = False
    longest: int = MAX_LIST
    _brokers: Brokers = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Parse the URL; raises PulsarAdminError."""
        try:
            object.__setattr__(self, "_brokers", Brokers.parse(self.url))
        except ValueError as error:
            raise PulsarAdminError(f"admin URL {self.url!r}: {error}") from None

    def create_namespace(
        self, tenant: str, namespace: str, policies: Mapping[str, object], *, keep_messages: bool = False
    ) -> Exchange[None]:
        """Create a namespace with ``policies``, and its tenant, where they are missing.

        An existing namespace keeps its policies, but with ``keep_messages`` one without retention is given ours.
        A role that may not read or change policies uses the namespace as it is.
        """
        path = f"/namespaces/{_quoted(tenant, namespace)}"
        found = yield from self._ask("GET", f"{path}/retention", expected=(401, 403, 404))
        if found.status == 404:
            yield from self._create_tenant(tenant)
            yield from self._insist("PUT", path, policies, expected=409)
        elif keep_messages and found.status == 200 and not keeps_messages(self._json(found) if found.body else None):
            yield from self._ask("POST", f"{path}/retention", RETENTION)

    def policies(self, tenant: str) -> Exchange[dict[str, dict[str, Any]]]:
        """Return the policies of the tenant's namespaces by their names, ``tenant/namespace``."""
        answer = yield from self._ask("GET", f"/namespaces/{_quoted(tenant)}", expected=(404,))
        found = {}
        for place in sorted(self._names(answer)) if answer.status == 200 else ():
            policies = yield from self._ask("GET", f"/namespaces/{_quoted(*place.split('/'))}", expected=(404,))
            if policies.status == 200:
                found[place] = self._json(policies)
                if not isinstance(found[place], dict):
                    raise self._unexpected()
        return found

    def permissions(self, place: str) -> Exchange[dict[str, frozenset[str]]]:
        """Return what roles may do on a topic, given by its full name, or in a namespace, ``tenant/namespace``.

        What they may do on a topic includes what they may do in its namespace.
        """
        found = self._json((yield from self._ask("GET", _permissions(place))))
        if not isinstance(found, dict) or not all(isinstance(actions, list) for actions in found.values()):
            raise self._unexpected()
        return {role: frozenset(map(str, actions)) for role, actions in found.items()}

    def grant(self, place: str, role: str, actions: Sequence[str] = PERMISSIONS) -> Exchange[None]:
        """Let a role do these ``actions``, and no others, on an existing topic or in a namespace."""
        yield from self._insist("POST", f"{_permissions(place)}/{_quoted(role)}", list(actions), expected=204)

    def revoke(self, place: str, role: str) -> Exchange[None]:
        """Take all permissions from a role on a topic or in a namespace. Deleting a topic does it, too."""
        yield from self._insist("DELETE", f"{_permissions(place)}/{_quoted(role)}")

    def create_topic(self, topic: str) -> Exchange[None]:
        """Create a topic."""
        yield from self._insist("PUT", _path(topic), expected=409)

    def create_subscription(self, topic: str, name: str) -> Exchange[None]:
        """Create a subscription that begins at the first message."""
        yield from self._insist("PUT", f"{_path(topic)}/subscription/{_quoted(name)}", "earliest", expected=409)

    def delete_topic(self, topic: str, *, partitioned: bool) -> Exchange[None]:
        """Delete a topic with its messages and subscriptions; its clients are disconnected."""
        yield from self._insist("DELETE", f"{_path(topic)}{'/partitions' if partitioned else ''}?force=true")

    def topic_exists(self, topic: str) -> Exchange[bool]:
        """Return whether a topic exists. Does not create it."""
        found = yield from self._ask("GET", f"{_path(topic)}/partitions", expected=(404,))
        return found.status == 200

    def partition_count(self, topic: str) -> Exchange[int]:
        """Return how many partitions a topic has, 0 if it is not partitioned or does not exist."""
        found = yield from self._ask("GET", f"{_path(topic)}/partitions", expected=(404,))
        if found.status != 200:
            return 0
        count = self._read(read_partitions, found)
        if count > MAX_PARTITIONS:
            raise PulsarAdminError(f"{topic} has {count} partitions, more than the {MAX_PARTITIONS} that can be read")
        return max(count, 0)

    def list_topics(self, tenant: str, namespace: str) -> Exchange[TopicList]:
        """List the topics of a namespace without Pulsar's internal ones; empty where there is no such namespace."""
        path = f"/persistent/{_quoted(tenant, namespace)}"
        found = yield from self._ask("GET", path, expected=(404,), limit=self.longest)
        if found.status == 404:
            return TopicList()
        answer = yield from self._ask("GET", f"{path}/partitioned", expected=(404,), limit=self.longest)
        partitioned = frozenset(self._names(answer) if answer.status == 200 else ())
        listed = (topic for topic in self._names(found) if not topic.rpartition("/")[2].startswith("__"))
        single = {topic for topic in listed if topic.rpartition("-partition-")[0] not in partitioned}
        return TopicList(partitioned | single, partitioned)

    def find_topics(self, prefix: str) -> Exchange[list[str]]:
        """List the topics whose full name begins with ``prefix``, in order; a partitioned one once."""
        found = []
        for tenant, namespace in (yield from self._namespaces(prefix)):
            listed = yield from self.list_topics(tenant, namespace)
            found += [topic for topic in listed.topics if topic.startswith(prefix)]
        return sorted(found)

    def subscriptions(self, partition: str) -> Exchange[dict[str, Subscription] | None]:
        """Return the statistics of a topic's subscriptions, or of one partition's; None if it does not exist."""
        path = f"{_path(partition)}/stats?getPreciseBacklog=true"
        found = yield from self._ask("GET", path, expected=(404,), limit=self.longest)
        if found.status != 200:
            return None
        return self._read(read_subscriptions, found)

    def _create_tenant(self, tenant: str) -> Exchange[None]:
        path = f"/tenants/{_quoted(tenant)}"
        found = yield from self._ask("GET", path, expected=(401, 403, 404))
        if found.status == 404:
            clusters = self._names((yield from self._ask("GET", "/clusters")))
            body = {"allowedClusters": [name for name in clusters if name != "global"], "adminRoles": []}
            yield from self._insist("PUT", path, body, expected=409)

    def _namespaces(self, prefix: str) -> Exchange[list[tuple[str, str]]]:
        """List the namespaces that can hold topics beginning with ``prefix``."""
        tenant, slash, rest = prefix.removeprefix(SCHEME).partition("/")
        namespace, whole, _ = rest.partition("/")
        if whole:
            return [(tenant, namespace)]
        tenants = [tenant] if slash else self._names((yield from self._ask("GET", "/tenants")))
        found = []
        for one in tenants:
            answer = yield from self._ask("GET", f"/namespaces/{_quoted(one)}", expected=(404,))
            names = self._names(answer) if answer.status == 200 else []
            found += [(one, name.rpartition("/")[2]) for name in names]
        return found

    def _insist(self, method: str, path: str, json: object = None, expected: int = 404) -> Exchange[None]:
        """Retry while others change the same object: they create it, too, or connect or disconnect a client."""
        for tries in range(RETRIES):
            delay = BACK_OFF if tries else 0.0
            answer = yield from self._ask(method, path, json, expected=(expected, *BUSY), delay=delay)
            if answer.status not in BUSY:
                return
        yield from self._ask(method, path, json, expected=(expected,), delay=BACK_OFF)

    def _ask(
        self,
        method: str,
        path: str,
        json: object = None,
        expected: Iterable[int] = (),
        delay: float = 0.0,
        limit: int = MAX_MESSAGE,
    ) -> Exchange[Answer]:
        """Send a request, follow redirects, and raise unless it succeeds or its status is ``expected``."""
        answer = yield from self._answer(Request(method, path, json, delay, limit, MAX_ERROR if self.trusted else 0))
        if answer.status in range(200, 300) or answer.status in expected:
            return answer
        what = f"{self.url} refused {method} {path.partition('?')[0]}: {answer.status} {self._reason(answer)}".rstrip()
        if answer.status in {401, 403}:
            raise PulsarDenied(f"{what}. Check {self.credentials}, and what its role may do")
        if answer.status >= 500 or answer.status in REDIRECTS:
            raise PulsarUnavailable(what)
        raise PulsarAdminError(what)

    def _answer(self, request: Request) -> Exchange[Answer]:
        """Send a request, whose URL is a path, to the first broker that can be reached; return its last answer."""
        unreachable = None
        for base in self._brokers.urls():
            try:
                return (yield from self._follow(replace(request, url=f"{base}/admin/v2{request.url}")))
            except PulsarUnavailable as error:
                unreachable = unreachable or error
        raise unreachable or PulsarUnavailable(f"{self.url} names no broker")

    def _follow(self, request: Request) -> Exchange[Answer]:
        """Send a request and follow its redirects."""
        for _ in range(MAX_REDIRECTS):
            answer = yield request
            if answer.status not in REDIRECTS:
                break
            try:
                url = self._brokers.redirected(request.url, answer.headers.get("location", ""))
            except RedirectError as error:
                raise PulsarUnavailable(
                    f"{self.url} redirects ({answer.status}) {error}, which is not followed: name the brokers in the "
                    "admin URL, http://HOST:8080,HOST:8080, or a host above them"
                ) from None
            request = replace(request, url=url, delay=0.0)
        return answer

    def _reason(self, answer: Answer) -> str:
        """Return why Pulsar refuses, in one line: its own words if they are trusted."""
        if not self.trusted or not answer.body:
            return responses.get(answer.status, "")
        try:
            text = str(json.loads(answer.body)["reason"])
        except (ValueError, KeyError, TypeError, RecursionError):
            text = answer.body.decode(errors="replace")
        return bounded_line(text, 200)  # a stack trace may follow

    def _names(self, answer: Answer) -> list[str]:
        content = self._json(answer)
        if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
            raise self._unexpected()
        return content

    def _json(self, answer: Answer) -> Any:
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise self._unexpected() from error

    def _read(self, read: Callable[[bytes], T], answer: Answer) -> T:
        try:
            return read(answer.body)
        except ValueError as error:
            raise self._unexpected() from error

    def _unexpected(self) -> PulsarAdminError:
        return PulsarAdminError(f"{self.url} does not answer as Pulsar's admin interface does: check its address")


def _path(topic: str) -> str:
    return f"/persistent/{_quoted(*split_topic(topic))}"


def _permissions(place: str) -> str:
    if place.startswith(SCHEME):
        return f"{_path(place)}/permissions"
    return f"/namespaces/{_quoted(*place.split('/'))}/permissions"


def _quoted(*parts: str) -> str:
    return "/".join(quote(part, safe="") for part in parts)
