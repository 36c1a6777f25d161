"""The brokers: one protocol (`protocol`), and the implementation that the URL names."""

from __future__ import annotations

from skymap_scanner.broker.access import Access
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
    "Access",
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


def open_broker(url: str, access: Access | None = None) -> Broker:
    """Open the broker at ``url``.

    ``sqlite:///PATH`` (three slashes: relative to here; four: absolute): the embedded broker, in a file that is made
    when it is missing, its folder is not. ``pulsar://HOST:6650`` or ``pulsar+ssl://HOST:6651``: Apache Pulsar, with the
    credentials of ``access``.

    Raises
    ------
    InputError
        If the URL, the credentials or what stands at the path cannot be used.
    BrokerError
        If the file is damaged, or the broker refuses; BrokerUnavailable if it cannot be reached.
    """
    scheme = url.partition(":")[0].lower()
    if scheme == "sqlite":
        return SqliteBroker(path_of_url(url))
    if scheme in {"pulsar", "pulsar+ssl"}:
        from skymap_scanner.broker.pulsar import PulsarBroker  # noqa: PLC0415 - an extra, and slow to load

        return PulsarBroker(url, access or Access())
    raise InputError(f"broker {url!r}: unknown scheme {scheme!r}; use sqlite:///PATH or pulsar://HOST:6650")
