from __future__ import annotations

import pytest

from skymap_api.addresses import Addresses
from skymap_scanner.errors import InputError
from skymap_scanner.event.download_options import allowed_addresses

PRIVATE = [
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",  # noqa: S104 - an address that reaches this machine
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.1",
    "192.0.0.9",
    "192.0.0.10",
    "192.0.0.192",
    "192.88.99.1",
    "168.63.129.16",
    "::ffff:168.63.129.16",
    "64:ff9b::168.63.129.16",
    "2002:a83f:8110::",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "3fff::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::10.0.0.1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:0:a00:1::",
]
PUBLIC = ["8.8.8.8", "128.104.255.1", "2600:1f14::1", "2607:f388::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_not_public(address: str) -> None:
    assert not Addresses.parse("public").allow(address)
    assert Addresses.parse("any").allow(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_internet_addresses_are_public(address: str) -> None:
    assert Addresses.parse("public").allow(address)


@pytest.mark.parametrize(
    ("words", "allowed", "rejected"),
    [
        ("10.1.0.0/16", ["10.1.2.3", "::ffff:10.1.2.3"], ["10.2.0.1", "8.8.8.8", "127.0.0.1"]),
        ("public 10.1.0.0/16", ["10.1.2.3", "8.8.8.8"], ["10.2.0.1"]),
        ("public,fd00::/8", ["fd00::1", "8.8.8.8"], ["fc00::1", "10.0.0.1"]),
        ("public !8.8.0.0/16", ["8.9.0.1"], ["8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]),
        ("any !169.254.0.0/16", ["10.0.0.1", "127.0.0.1"], ["169.254.169.254"]),
        ("10.0.0.7", ["10.0.0.7"], ["10.0.0.8"]),
        ("!10.0.0.0/8", [], ["10.0.0.1", "8.8.8.8"]),
    ],
)
def test_networks_can_be_added_and_removed(words: str, allowed: list[str], rejected: list[str]) -> None:
    addresses = Addresses.parse(words)
    assert [one for one in allowed if not addresses.allow(one)] == []
    assert [one for one in rejected if addresses.allow(one)] == []


@pytest.mark.parametrize("word", ["everything", "10.1.2.3/16", "10.0.0.0/33", "example.org", "!public", "::/129"])
def test_invalid_network_is_named(word: str) -> None:
    with pytest.raises(ValueError, match=r".* is none of any, public, a network such as"):
        Addresses.parse(f"public {word}")
    with pytest.raises(InputError, match=r"SKYMAP_EVENT_ADDRESSES: .* is none of any, public, a network such as"):
        allowed_addresses({"SKYMAP_EVENT_ADDRESSES": f"public {word}"})


@pytest.mark.parametrize("empty", ["", " "])
def test_every_address_is_allowed_by_default(empty: str) -> None:
    assert Addresses.parse(empty).unlimited
    assert not Addresses.parse("public").unlimited
