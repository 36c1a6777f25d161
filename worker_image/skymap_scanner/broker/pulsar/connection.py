"""The connection to a Pulsar cluster: one client and one admin interface, shared by everything a broker opens.

Only this package imports the Pulsar client.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pulsar

from skymap_scanner.broker.access import TOKEN_VARIABLE, Access, split_url
from skymap_scanner.broker.pulsar.admin import PulsarAdmin
from skymap_scanner.broker.pulsar.handshake import greet
from skymap_scanner.broker.pulsar.results import error_for, is_transient
from skymap_scanner.errors import BrokerError, BrokerUnavailable, InputError

T = TypeVar("T")
log = logging.getLogger(__name__)

#: Timeout of a single request (s).
REQUEST_TIMEOUT = 30

#: How long to wait for a producer name that another holds (s): its holder may just have been killed.
NAME_TIMEOUT = 10.0

#: Pause between two attempts after a transient error, and between two log lines about it (s).
PAUSE, LOG_INTERVAL = 1.0, 30.0


class Connection:
    """A connection to the cluster at ``url``; raises BrokerUnavailable if nothing listens there."""

    def __init__(self, url: str, access: Access) -> None:
        split_url(url)  # before any message shows it: the part before an @ could be a secret
        self.url = url
        self._access = access
        self._admin = PulsarAdmin(url, access)
        self.closed = False
        greet(url, access)
        self._client = pulsar.Client(
            url,
            authentication=_authentication(access),
            operation_timeout_seconds=REQUEST_TIMEOUT,
            tls_trust_certs_file_path=None if access.trusted is None else _client_path(access.trusted),
            tls_validate_hostname=True,
            logger=_logger(),
        )

    @property
    def admin(self) -> PulsarAdmin:
        """The admin interface; raises BrokerError if the connection is closed."""
        self.check_open()
        return self._admin

    def close(self) -> None:
        """Close the client; twice does nothing."""
        if not self.closed:
            self.closed = True
            self._client.close()

    def open(self, topic: str, what: str, make: Callable[[pulsar.Client], T]) -> T:
        """Open a producer, consumer or reader on the topic; create a missing topic, and wait for a full quota.

        Raises BrokerError if Pulsar refuses; BrokerUnavailable if it cannot be reached, or if another producer holds
        the name.
        """
        self.check_open()
        waiting = TransientErrors(f"{what} on {topic}", self.url)
        deadline = time.monotonic() + NAME_TIMEOUT
        created = False
        while True:
            try:
                return make(self._client)
            except pulsar.PulsarException as error:
                result = type(error).__name__
                if result == "TopicNotFound" and not created:
                    self.admin.create_topic(topic)
                    created = True
                    continue
                # Both are transient: the holder of the name has just crashed, or the quota is full.
                name_held = result == "ProducerBusy" and time.monotonic() < deadline
                if not (name_held or result.startswith("ProducerBlockedQuotaExceeded")):
                    raise error_for(result, f"{what} on {topic}", self.url) from error
                waiting.wait(result)

    def check_open(self) -> None:
        """Raise BrokerError if closed."""
        if self.closed:
            raise BrokerError(f"the broker {self.url} is closed")

    def attempt(self, make: Callable[[pulsar.Client], T]) -> T | str:
        """Call ``make`` once; if it fails, return the name of the Pulsar result."""
        try:
            return make(self._client)
        except pulsar.PulsarException as error:
            return type(error).__name__

    def check_topic(self, topic: str) -> str:
        """Find out why the connection to a topic is lost; return the result to wait for, or "" if it works again.

        Raises BrokerError if the topic has been deleted (the client would retry for ever), or the broker no longer
        accepts us.
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


class TransientErrors:
    """Waits after transient errors, and logs each kind at first and then at intervals."""

    def __init__(self, what: str, url: str) -> None:
        self._what = what
        self._url = url
        self._logged: dict[str, float] = {}  # when each result was last logged

    def wait(self, result: str) -> None:
        """Pause before the next attempt; raises BrokerError if ``result`` is not transient."""
        error = error_for(result, self._what, self._url)
        if not is_transient(result):
            raise error
        now = time.monotonic()
        if now - self._logged.get(result, -LOG_INTERVAL) >= LOG_INTERVAL:
            self._logged[result] = now
            log.warning("%s; waiting", error)
        time.sleep(PAUSE)


def _logger() -> pulsar.ConsoleLogger | pulsar.FileLogger:
    """Return the client's logger: none, since we log what matters, unless debug logging is on.

    A Python logger is unsafe: the client calls it from its own threads, even after the end of the interpreter.
    """
    if log.isEnabledFor(logging.DEBUG):
        return pulsar.ConsoleLogger(pulsar.LoggerLevel.Info)
    return pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull)


def _authentication(access: Access) -> pulsar.Authentication | None:
    if access.certificate is not None and access.key is not None:
        return pulsar.AuthenticationTLS(_client_path(access.certificate), _client_path(access.key))
    if access.token() is None:  # raises InputError if its file cannot be read
        return None
    # The client reads the file or the variable at every connection. (A Python callback would outlive the interpreter in
    # the client's threads and abort the process at its end.)
    source = f"env:{TOKEN_VARIABLE}" if access.token_file is None else f"file://{_client_path(access.token_file)}"
    return pulsar.Authentication("token", source)


def _client_path(path: Path) -> str:
    """Return a path for Pulsar's client, which takes text alone; raises InputError if the path is not text."""
    absolute = str(path.resolve())
    try:
        absolute.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"Pulsar's client cannot open {absolute}, which is not UTF-8: give another path") from error
    return absolute
