"""The admin REST interface of Apache Pulsar, as far as a scan needs it: namespaces, topics, subscriptions, backlogs.

Everything may be repeated: what is there already, or gone already, is no error.
Source: https://pulsar.apache.org/admin-rest-api (v2).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from skymap_api.pulsar_admin import (
    BUSY,
    MOST_REDIRECTIONS,
    OPEN_POLICIES,
    PAUSE,
    POLICIES,
    REDIRECTIONS,
    RETENTION,
    SCHEME,
    TRIES,
    Rest,
    reason,
)
from skymap_scanner.broker.access import Access
from skymap_scanner.broker.protocol import Backlog
from skymap_scanner.broker.pulsar.handshake import trust
from skymap_scanner.errors import BrokerError, BrokerUnavailable, InputError

TIMEOUT = 30.0

REST = Rest(BrokerError, advice=": is --admin-url right?")


class PulsarAdmin:
    """One admin interface; ``broker_url`` tells where it is unless ``access`` does."""

    def __init__(self, broker_url: str, access: Access) -> None:
        self.url = access.admin_url_beside(broker_url)
        self._access = access
        self._http = httpx.Client(verify=trust(access), timeout=TIMEOUT)
        self._namespaces: set[str] = set()  # known to be there, with their policies

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    def exists(self, topic: str) -> bool:
        """Tell whether there is such a topic; this makes none."""
        return self._ask("GET", f"{REST.path(topic)}/partitions", fine=(404,)).status_code == 200

    def prepare(self, base: str) -> None:
        """Make the namespace of topics that producers will make, where it is missing."""
        self._create_namespace(base, OPEN_POLICIES)

    def create_topic(self, topic: str) -> None:
        """Make the topic, and its namespace, where they are missing; else no right to make any is needed."""
        self._create_namespace(topic, POLICIES)
        if not self.exists(topic):
            self._insist("PUT", REST.path(topic), fine=409)

    def create_subscription(self, topic: str, name: str) -> None:
        """Make a subscription that begins at the first message."""
        self._insist("PUT", f"{REST.path(topic)}/subscription/{quote(name, safe='')}", "earliest", fine=409)

    def delete_topic(self, topic: str) -> None:
        """Delete the topic with its messages and subscriptions, its clients are cut off."""
        if self._partitions(topic):
            self._insist("DELETE", f"{REST.path(topic)}/partitions?force=true")
        else:
            self._insist("DELETE", f"{REST.path(topic)}?force=true")

    def partitions(self, topic: str) -> list[str]:
        """Name the partitions of the topic; only itself where it has none."""
        count = self._partitions(topic)
        return [f"{topic}-partition-{number}" for number in range(count)] if count else [topic]

    def topics(self, prefix: str) -> Iterator[str]:
        """List the topics whose full name begins with ``prefix``; a partitioned one counts once."""
        for namespace in self._namespaces_within(prefix):
            yield from (topic for topic in self._topics_of(namespace) if topic.startswith(prefix))

    def backlog(self, topic: str, subscription: str) -> Backlog:
        """Count what the subscription has to do.

        Raises
        ------
        BrokerError
            If there is no such topic or subscription.
        """
        waiting = unacked = 0
        for stats in self._stats(topic, subscription):
            total = int(stats.get("msgBacklog", 0))
            held = min(int(stats.get("unackedMessages", 0)), total)
            waiting, unacked = waiting + total - held, unacked + held
        return Backlog(waiting, unacked)

    def kind(self, topic: str, subscription: str) -> str:
        """Name the kind of the subscription's consumers, as `SubscriptionType` does."""
        kinds = {str(stats.get("type", "other")) for stats in self._stats(topic, subscription)}
        return " and ".join(sorted(kinds)).lower()

    def _stats(self, topic: str, subscription: str) -> Iterator[dict[str, Any]]:
        """Return the statistics of the subscription, for each partition."""
        for partition in self.partitions(topic):
            answer = self._ask("GET", f"{REST.path(partition)}/stats?getPreciseBacklog=true", fine=(404,))
            stats = REST.object(answer) if answer.status_code == 200 else {}
            if subscription not in stats.get("subscriptions", {}):
                what = f"no subscription {subscription!r}" if stats else "no such topic"
                raise BrokerError(f"{topic}: {what}; `skymap-scanner topics create` makes it")
            yield stats["subscriptions"][subscription]

    def _create_namespace(self, topic: str, policies: Mapping[str, object]) -> None:
        """Make the topic's namespace with our policies; one that is there keeps its own, but must keep messages.

        Who may not know of policies, or not change them, takes the namespace as it is.
        """
        tenant, namespace, _ = REST.split_topic(topic)
        name = f"{tenant}/{namespace}"
        if name in self._namespaces:
            return
        path = f"/namespaces/{quote(tenant)}/{quote(namespace)}"
        found = self._ask("GET", f"{path}/retention", fine=(401, 403, 404))
        if found.status_code == 404:
            self._create_tenant(tenant)
            self._insist("PUT", path, policies, fine=409)
        elif found.status_code == 200 and not _keeps(REST.object(found) if found.content else None):
            self._ask("POST", f"{path}/retention", json=RETENTION)
        self._namespaces.add(name)

    def _create_tenant(self, tenant: str) -> None:
        path = f"/tenants/{quote(tenant)}"
        if self._ask("GET", path, fine=(401, 403, 404)).status_code == 404:
            clusters = [name for name in REST.names(self._ask("GET", "/clusters")) if name != "global"]
            self._insist("PUT", path, {"allowedClusters": clusters, "adminRoles": []}, fine=409)

    def _namespaces_within(self, prefix: str) -> Iterator[str]:
        """List the namespaces that can hold topics beginning with ``prefix``."""
        tenant, slash, rest = prefix.removeprefix(SCHEME).partition("/")
        tenants = [tenant] if slash else REST.names(self._ask("GET", "/tenants"))
        namespace, slash, _ = rest.partition("/")
        if slash:
            yield f"{tenant}/{namespace}"
            return
        for one in tenants:
            answer = self._ask("GET", f"/namespaces/{quote(one)}", fine=(404,))
            yield from REST.names(answer) if answer.status_code == 200 else ()

    def _topics_of(self, namespace: str) -> Iterator[str]:
        path = f"/persistent/{quote(namespace)}"
        found = self._ask("GET", path, fine=(404,))
        if found.status_code == 404:
            return
        partitioned = self._ask("GET", f"{path}/partitioned", fine=(404,))
        whole = set(REST.names(partitioned)) if partitioned.status_code == 200 else set()
        for topic in REST.names(found):
            if topic.rpartition("-partition-")[0] not in whole and not topic.rpartition("/")[2].startswith("__"):
                yield topic
        yield from whole

    def _partitions(self, topic: str) -> int:
        answer = self._ask("GET", f"{REST.path(topic)}/partitions", fine=(404,))
        return int(REST.object(answer).get("partitions", 0)) if answer.status_code == 200 else 0

    def _insist(self, method: str, path: str, json: object = None, fine: int = 404) -> None:
        """Ask again while others are just at it: they create the same, or their clients leave or come."""
        for _ in range(TRIES):
            if self._ask(method, path, json, fine=(fine, *BUSY)).status_code not in BUSY:
                return
            time.sleep(PAUSE)
        self._ask(method, path, json, fine=(fine,))

    def _ask(self, method: str, path: str, json: object = None, fine: tuple[int, ...] = ()) -> httpx.Response:
        """Send a request, follow redirections, and explain every answer that is neither success nor ``fine``."""
        url = f"{self.url}/admin/v2{path}"
        for _ in range(MOST_REDIRECTIONS):
            answer = self._send(method, url, json)
            if answer.status_code not in REDIRECTIONS:
                break
            url = REST.redirected(url, answer)
        if answer.is_success or answer.status_code in fine:
            return answer
        what = f"{self.url} refused {method} {path.partition('?')[0]}: {answer.status_code} {reason(answer)}"
        if answer.status_code in {401, 403}:
            raise BrokerError(f"{what}. Check the token (--auth-token FILE) and what its role may do")
        if answer.status_code >= 500 or answer.status_code in REDIRECTIONS:
            raise BrokerUnavailable(what)
        raise BrokerError(what)

    def _send(self, method: str, url: str, json: object) -> httpx.Response:
        token = self._access.token()
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            if json is None:
                return self._http.request(method, url, headers=headers)
            return self._http.request(method, url, headers=headers, json=json)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise InputError(f"admin URL {self.url!r}: {error}") from error
        except httpx.HTTPError as error:
            raise BrokerUnavailable(
                f"cannot reach Pulsar's admin interface at {self.url} ({error}): is it up, and is --admin-url right?"
            ) from error


def _keeps(retention: Any) -> bool:
    """Whether a namespace's retention keeps anything beyond its acknowledgement; none given is Pulsar's default, no."""
    return bool(retention) and all(value != 0 for value in (retention.get(name, 0) for name in RETENTION))
