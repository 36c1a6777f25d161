"""The addresses at which the servers of the pages listen."""

from __future__ import annotations

import socket

import pytest

from skymap_scanner.cli.page import all_addresses, listen
from skymap_scanner.errors import InputError

needs_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


@needs_ipv6
@pytest.mark.parametrize("client", ["127.0.0.1", "::1"])
def test_all_addresses_are_those_of_both_families(client: str) -> None:
    with listen(0, all_addresses()) as listener:
        socket.create_connection((client, listener.getsockname()[1]), timeout=10).close()


@needs_ipv6
def test_one_address_of_ipv6_is_listened_on() -> None:
    with listen(0, "::1") as listener:
        socket.create_connection(("::1", listener.getsockname()[1]), timeout=10).close()


def test_all_addresses_without_ipv6_are_those_of_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    assert all_addresses() == "0.0.0.0"  # noqa: S104 - only compared


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no address"])
def test_unusable_addresses_are_named_with_a_reason(host: str) -> None:
    with pytest.raises(InputError, match=host) as raised:
        listen(0, host)
    assert "Unknown error" not in str(raised.value)
