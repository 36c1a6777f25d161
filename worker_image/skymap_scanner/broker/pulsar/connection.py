"""The connection to a Pulsar cluster: one client and one admin interface, shared by all that a broker hands out.

This package is the only place that imports the Pulsar client.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import TypeVar

import pulsar

from skymap_scanner.broker.access import TOKEN_VARIABLE, Access
from skymap_scanner.broker.pulsar.admin import PulsarAdmin
from skymap_scanner.broker.pulsar.faults import fault, passes
from skymap_scanner.broker.pulsar.handshake import greet, split_url
from skymap_scanner.errors import BrokerError, BrokerUnavailable

T = TypeVar("T")
log = logging.getLogger(__name__)

#: How long a single request may take (s).
PATIENCE = 30

#: How long a place that another holds is waited for (s): its holder may just have been killed.
LEAVING = 10.0

#: Pause between two tries of what passes, and between two lines of the log that say so (s).
PAUSE, SAY_EVERY = 1.0, 30.0


class Connection:
    """Where the cluster is, and the way there; raises BrokerUnavailable when nobody listens."""

    def __init__(self, url: str, access: Access) -> None:
        split_url(url)  # before anything shows it: what stands before an @ could be a secret
        self.url = url
        self._access = access
        self.admin = PulsarAdmin(url, access)
        self.closed = False
        greet(url, access)
        self._client = pulsar.Client(
            url,
            authentication=_authentication(access),
            operation_timeout_seconds=PATIENCE,
            tls_trust_certs_file_path=None if access.trusted is None else str(access.trusted),
            tls_validate_hostname=True,
            logger=_logger(),
        )

    def close(self) -> None:
        """Close the client; twice does nothing."""
        if not self.closed:
            self.closed = True
            self._client.close()
            self.admin.close()

    def open(self, topic: str, what: str, make: Callable[[pulsar.Client], T]) -> T:
        """Open something on the topic, which is made if it is missing; a full quota is waited for.

        Raises
        ------
        BrokerError
            If Pulsar refuses; BrokerUnavailable if it cannot be reached, or if another holds our place.
        """
        self.check_open()
        waiting = Waiting(f"{what} on {topic}", self.url)
        deadline = time.monotonic() + LEAVING
        while True:
            try:
                return make(self._client)
            except pulsar.TopicNotFound:
                self.admin.create_topic(topic)
                return self._again(topic, what, make)
            except pulsar.PulsarException as error:
                result = type(error).__name__
                # Who held the place has just died, or the quota is full: both pass.
                leaving = result == "ProducerBusy" and time.monotonic() < deadline
                if not (leaving or result.startswith("ProducerBlockedQuotaExceeded")):
                    raise fault(result, f"{what} on {topic}", self.url) from error
                waiting.say(result)

    def _again(self, topic: str, what: str, make: Callable[[pulsar.Client], T]) -> T:
        try:
            return make(self._client)
        except pulsar.PulsarException as error:
            raise fault(type(error).__name__, f"{what} on {topic}", self.url) from error

    def check_open(self) -> None:
        """Raise BrokerError once closed."""
        if self.closed:
            raise BrokerError(f"the broker {self.url} is closed")

    def attempt(self, make: Callable[[pulsar.Client], T]) -> T | str:
        """Make it once; where that fails return the name of the result."""
        try:
            return make(self._client)
        except pulsar.PulsarException as error:
            return type(error).__name__

    def check_topic(self, topic: str) -> str:
        """Having lost the topic, find out why: return the result to wait for, or "" where all is well again.

        Raises
        ------
        BrokerError
            If the topic is gone (the client itself would look for it for ever), or the broker lets us in no longer.
        """
        try:
            greet(self.url, self._access)
            self._client.get_topic_partitions(topic)
        except BrokerUnavailable:
            return "ConnectError"
        except pulsar.TopicNotFound as error:
            raise BrokerError(f"{topic}: the topic has been deleted while in use") from error
        except pulsar.PulsarException as error:
            return type(error).__name__
        return ""


class Waiting:
    """Waits for what passes, saying so at first and then now and again, for each reason."""

    def __init__(self, what: str, url: str) -> None:
        self._what = what
        self._url = url
        self._said: dict[str, float] = {}  # when each result was told of

    def say(self, result: str) -> None:
        """Pause once more for ``result``; raise it if it does not pass.

        Raises
        ------
        BrokerError
            If waiting does not help.
        """
        error = fault(result, self._what, self._url)
        if not passes(result):
            raise error
        now = time.monotonic()
        if now - self._said.get(result, -SAY_EVERY) >= SAY_EVERY:
            self._said[result] = now
            log.warning("%s; waiting", error)
        time.sleep(PAUSE)


def _logger() -> pulsar.ConsoleLogger | pulsar.FileLogger:
    """Return where the client logs: nowhere, since we say what matters, but all of it where debugging is wanted.

    A Python logger will not do: the client calls it from its own threads, also after the interpreter's end.
    """
    if log.isEnabledFor(logging.DEBUG):
        return pulsar.ConsoleLogger(pulsar.LoggerLevel.Info)
    return pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull)


def _authentication(access: Access) -> pulsar.Authentication | None:
    if access.certificate is not None:
        return pulsar.AuthenticationTLS(str(access.certificate), str(access.key))
    if access.token() is None:  # raises where its file cannot be read
        return None
    # The client itself reads file or variable, anew at every connection. (A Python function that it may call outlives
    # the interpreter in the client's threads, and aborts the process at its end.)
    place = f"env:{TOKEN_VARIABLE}" if access.token_file is None else f"file://{access.token_file.resolve()}"
    return pulsar.Authentication("token", place)
