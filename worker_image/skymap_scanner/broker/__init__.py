"""Brokers: one protocol (`protocol`), and the implementation that a URL selects."""

from __future__ import annotations

from skymap_scanner.broker.access import Access, is_embedded, path_of_url
from skymap_scanner.broker.protocol import (
    Backlog,
    Broker,
    Capabilities,
    Consumer,
    Message,
    Outgoing,
    Producer,
    Reader,
    SubscriptionType,
)
from skymap_scanner.broker.sqlite import SqliteBroker
from skymap_scanner.errors import InputError

__all__ = [
    "Access",
    "Backlog",
    "Broker",
    "Capabilities",
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

    ``sqlite:///PATH`` (three slashes: a relative path; four: an absolute one): the embedded broker. Its file is created
    if it is missing, its folder is not. ``pulsar://HOST:6650`` or ``pulsar+ssl://HOST:6651``: Apache Pulsar, with the
    credentials of ``access``. Raises InputError if the URL, the credentials or the file cannot be used; BrokerError if
    the file is damaged, or the broker rejects a request; BrokerUnavailable if it cannot be reached.
    """
    if is_embedded(url):
        return SqliteBroker(path_of_url(url))
    scheme = url.partition(":")[0].lower()
    if scheme in {"pulsar", "pulsar+ssl"}:
        try:
            from skymap_scanner.broker.pulsar import PulsarBroker  # noqa: PLC0415 - an extra, and slow to load
        except ImportError as error:
            raise InputError(
                f"a broker at {scheme}:// needs Pulsar's client ({error}): pip install 'skymap-scanner[pulsar]'"
            ) from error
        return PulsarBroker(url, access or Access())
    raise InputError(f"broker {url!r}: unknown scheme {scheme!r}; use sqlite:///PATH or pulsar://HOST:6650")
