"""Blocking client of Pulsar's admin interface: namespaces, topics, subscriptions, backlogs.

What is sent and how answers are read is in `skymap_api.pulsar_admin`.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import TypeVar

import httpx

from skymap_api.http_body import ACCEPTED, Body, BodyError
from skymap_api.pulsar_admin import (
    AdminRequests,
    Answer,
    Exchange,
    PulsarAdminError,
    PulsarDenied,
    PulsarUnavailable,
    Request,
    split_topic,
)
from skymap_api.pulsar_policies import OPEN_POLICIES, POLICIES
from skymap_api.pulsar_statistics import Subscription, add_subscriptions
from skymap_scanner.bounded_http import Deadline, OverdueError, Transport
from skymap_scanner.broker.access import Access
from skymap_scanner.broker.protocol import Backlog
from skymap_scanner.broker.pulsar.handshake import trust
from skymap_scanner.errors import BrokerDenied, BrokerError, BrokerUnavailable, InputError

#: Longest silence during a request, and longest request (s).
TIMEOUT, DURATION = 30.0, 120.0

T = TypeVar("T")


def check_topic(topic: str) -> tuple[str, str, str]:
    """Return tenant, namespace and local name of a topic; raises BrokerError if it is not a full name."""
    try:
        return split_topic(topic)
    except PulsarAdminError as error:
        raise BrokerError(str(error)) from error


class PulsarAdmin:
    """The admin interface beside ``broker_url``, unless ``access`` names another one.

    Methods raise BrokerError: BrokerDenied where the role may not do it, BrokerUnavailable where a later try may
    succeed.
    """

    def __init__(self, broker_url: str, access: Access) -> None:
        self.url = access.admin_url_beside(broker_url)
        self._access = access
        try:
            self._requests = AdminRequests(self.url, "the token (--auth-token FILE)")
        except PulsarAdminError as error:
            raise InputError(str(error)) from None
        self._context = trust(access)
        self._namespaces: set[tuple[str, str]] = set()  # known to exist with their policies

    def exists(self, topic: str) -> bool:
        """Return whether a topic exists. Does not create it."""
        return self._run(self._requests.topic_exists(topic))

    def create_namespace(self, base: str) -> None:
        """Create the namespace of topics that producers will create, where it is missing."""
        self._create_namespace(base, OPEN_POLICIES)

    def create_topic(self, topic: str) -> None:
        """Create the topic and its namespace where they are missing; no right to create is needed otherwise."""
        self._create_namespace(topic, POLICIES)
        if not self.exists(topic):
            self._run(self._requests.create_topic(topic))

    def create_subscription(self, topic: str, name: str) -> None:
        """Create a subscription that begins at the first message."""
        self._run(self._requests.create_subscription(topic, name))

    def delete_topic(self, topic: str) -> None:
        """Delete the topic with its messages and subscriptions; its clients are disconnected."""
        partitioned = self._run(self._requests.partition_count(topic)) > 0
        self._run(self._requests.delete_topic(topic, partitioned=partitioned))

    def topics(self, prefix: str) -> list[str]:
        """List the topics whose full name begins with ``prefix``, in order; a partitioned one once."""
        return self._run(self._requests.find_topics(prefix))

    def backlog(self, topic: str, subscription: str) -> Backlog:
        """Count the messages that the subscription has to deliver or to acknowledge.

        Raises BrokerError if there is no such topic or subscription.
        """
        found = self._subscription(topic, subscription)
        return Backlog(found.waiting, found.unacked)

    def kind(self, topic: str, subscription: str) -> str:
        """Return the type of the subscription's consumers, as `SubscriptionType` names it."""
        return self._subscription(topic, subscription).type.lower()

    def _subscription(self, topic: str, name: str) -> Subscription:
        count = self._run(self._requests.partition_count(topic))
        found = []
        for part in [f"{topic}-partition-{number}" for number in range(count)] or [topic]:
            one = self._run(self._requests.subscriptions(part))
            if one is None or name not in one:
                what = "no such topic" if one is None else f"no subscription {name!r}"
                raise BrokerError(f"{topic}: {what}; `skymap-scanner topics create` creates it")
            found.append(one)
        return add_subscriptions(found, len(found))[name]

    def _create_namespace(self, topic: str, policies: dict[str, object]) -> None:
        """Create the topic's namespace where it is missing; an existing one must at least keep its messages."""
        tenant, namespace, _ = check_topic(topic)
        if (tenant, namespace) not in self._namespaces:
            self._run(self._requests.create_namespace(tenant, namespace, policies, keep_messages=True))
            self._namespaces.add((tenant, namespace))

    def _run(self, exchange: Exchange[T]) -> T:
        try:
            request = next(exchange)
            while True:
                time.sleep(request.delay)
                try:
                    answer = self._send(request)
                except PulsarUnavailable as error:
                    request = exchange.throw(error)
                else:
                    request = exchange.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result
        except PulsarUnavailable as error:
            raise BrokerUnavailable(str(error)) from error
        except PulsarDenied as error:
            raise BrokerDenied(str(error)) from error
        except PulsarAdminError as error:
            raise BrokerError(str(error)) from error

    def _send(self, request: Request) -> Answer:
        headers = {"Accept-Encoding": ACCEPTED}
        if (token := self._access.token()) is not None:
            headers["Authorization"] = f"Bearer {token}"
        timeout = httpx.Timeout(TIMEOUT).as_dict()
        try:
            asked = httpx.Request(
                request.method, request.url, headers=headers, json=request.json, extensions={"timeout": timeout}
            )
            with closing(Transport(Deadline(time.monotonic() + DURATION), context=self._context)) as transport:
                answer = transport.handle_request(asked)
                return Answer(answer.status_code, answer.headers, _body(answer, request))
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:  # the host's name
            raise InputError(f"admin URL {self.url!r}: {error}") from error
        except BodyError as error:
            raise PulsarAdminError(f"{self.url} answers {request.method} with {error}") from error
        except OverdueError as error:
            raise PulsarUnavailable(f"{self.url} does not finish its answer within {DURATION:g} s") from error
        except httpx.HTTPError as error:
            raise PulsarUnavailable(
                f"cannot reach Pulsar's admin interface at {self.url} ({error}): is it up, and is --admin-url right?"
            ) from error


def _body(answer: httpx.Response, request: Request) -> bytes:
    """Return the body of an answer; that of an error is not read."""
    if not answer.is_success:
        return b""
    body = Body(answer.headers, request.limit)
    for piece in answer.iter_raw():
        body.add(piece)
    return body.end()
