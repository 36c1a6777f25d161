"""The brokers: one protocol (`protocol`), and the implementation that the URL names."""

from __future__ import annotations

from skymap_scanner.broker.protocol import (
    Backlog,
    Broker,
    Consumer,
    Message,
    Outgoing,
    Producer,
    Reader,
    SubscriptionType,
)
from skymap_scanner.broker.sqlite import SqliteBroker, path_of_url
from skymap_scanner.errors import InputError

__all__ = [
    "Backlog",
    "Broker",
    "Consumer",
    "Message",
    "Outgoing",
    "Producer",
    "Reader",
    "SubscriptionType",
    "open_broker",
]


def open_broker(url: str) -> Broker:
    """Open the broker at ``url``: ``sqlite:///PATH`` (three slashes: relative to here; four: absolute).

    The file is made when it is missing, its folder is not. Raises InputError when the URL or what stands at its path
    cannot be used, BrokerError when the file is damaged.
    """
    scheme = url.partition(":")[0].lower()
    if scheme == "sqlite":
        return SqliteBroker(path_of_url(url))
    if scheme in {"pulsar", "pulsar+ssl"}:
        raise InputError(f"broker {url!r}: this build speaks sqlite only; use sqlite:///PATH")
    raise InputError(f"broker {url!r}: unknown scheme {scheme!r}; use sqlite:///PATH (four slashes: an absolute path)")
