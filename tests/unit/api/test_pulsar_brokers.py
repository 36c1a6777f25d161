"""Redirects between brokers: they lead to brokers of the same service, and change nothing else of a request."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_api.pulsar_brokers import MAX_HOSTS, Brokers, RedirectError

PATH = "/admin/v2/persistent/t/n/a%20b"
HEADLESS = "http://pulsar-broker.data.svc.cluster.local:8080"


@pytest.mark.parametrize(
    ("url", "urls"),
    [
        ("http://Pulsar:8080", ["http://pulsar:8080"]),
        ("HTTPS://pulsar./", ["https://pulsar:443"]),
        ("http://gateway/pulsar/", ["http://gateway:80/pulsar"]),
        ("http://[::1]:8080,10.0.0.1", ["http://[::1]:8080", "http://10.0.0.1:80"]),
        ("http://one:1,two:2,three:3", ["http://one:1", "http://two:2", "http://three:3"]),
    ],
)
def test_brokers_of_a_url_are_listed(url: str, urls: list[str]) -> None:
    assert list(Brokers.parse(url).urls()) == urls


@pytest.mark.parametrize(
    "url",
    [
        "",
        "pulsar:8080",
        "ftp://pulsar",
        "http://",
        "http://,",
        "http://one,",
        "http://host:port",
        "http://host:99999",
        "http://user@host",
        "http://one,user:pw@two",
        "http://[::1",
        "http://host?x",
        "http://host#x",
        "http://ho st",
        "http://host\n",
        "http://" + ",".join("h" * (MAX_HOSTS + 1)),
    ],
)
def test_other_urls_are_rejected(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Brokers.parse(url)


@pytest.mark.parametrize(
    ("admin", "location"),
    [
        ("http://pulsar:8080", f"http://pulsar:8080{PATH}"),
        ("http://pulsar:8080", PATH),
        ("http://pulsar:8080", ""),
        (HEADLESS, f"http://pulsar-broker-2.pulsar-broker.data.svc.cluster.local:8080{PATH}"),
        (HEADLESS, f"http://PULSAR-BROKER-2.pulsar-broker.data.svc.cluster.local.:8080{PATH}"),
        ("http://127.0.0.1:8081,127.0.0.1:8082", f"http://127.0.0.1:8082{PATH}"),
        ("https://one,two.example", f"https://two.example{PATH}"),
    ],
)
def test_redirects_within_the_service_are_followed(admin: str, location: str) -> None:
    brokers = Brokers.parse(admin)
    url = f"{next(brokers.urls())}{PATH}?force=true"
    found = urlsplit(brokers.redirected(url, f"{location}?force=false&authoritative=true&x=1" if location else ""))
    target = urlsplit(location if "://" in location else url)
    default = 443 if target.scheme == "https" else 80
    assert (found.hostname, found.port) == ((target.hostname or "").rstrip("."), target.port) or found.port == default
    assert (found.scheme, found.path) == (target.scheme, PATH)
    assert found.query == ("force=true&authoritative=true" if location else "force=true")


@pytest.mark.parametrize(
    ("admin", "location", "words"),
    [
        ("http://pulsar:8080", f"http://victim:8080{PATH}", "to a host or port that is not one of its brokers"),
        ("http://pulsar:8080", f"http://pulsar:8081{PATH}", "to a host or port"),
        ("http://pulsar:8080", f"http://x.pulsar:8080{PATH}", "to a host or port"),
        ("http://evil.example:8080", f"http://notevil.example:8080{PATH}", "to a host or port"),
        ("http://evil.example:8080", f"http://example:8080{PATH}", "to a host or port"),
        ("http://10.0.0.1:8080", f"http://1.10.0.0.1:8080{PATH}", "to a host or port"),
        ("http://127.1:8080", f"http://10.127.1:8080{PATH}", "to a host or port"),
        ("http://one:1,two:2", f"http://one:2{PATH}", "to a host or port"),
        ("https://pulsar:8443", f"http://pulsar:8443{PATH}", "to another scheme"),
        ("http://pulsar:8080", f"https://pulsar:8080{PATH}", "to another scheme"),
        ("http://pulsar:8080", "file:///etc/passwd", "to an invalid address"),
        ("http://pulsar:8080", "http://pulsar:8080/admin/v2/persistent/t/n/other", "to another path"),
        ("http://pulsar:8080", f"http://pulsar:8080/x/..{PATH}", "to another path"),
        ("http://pulsar:8080", f"http://user@pulsar:8080{PATH}", "to an invalid address"),
        ("http://pulsar:8080", f"http://pulsar:port{PATH}", "to an invalid address"),
        ("http://pulsar:8080", "http://[", "to an invalid address"),
        ("http://pulsar:8080", f"//victim{PATH}", "to a host or port"),
    ],
)
def test_redirects_elsewhere_are_refused(admin: str, location: str, words: str) -> None:
    brokers = Brokers.parse(admin)
    with pytest.raises(RedirectError, match=words):
        brokers.redirected(f"{next(brokers.urls())}{PATH}", location)


HOSTS = st.sampled_from(["pulsar.example", "broker.pulsar.example", "other.example", "[::1]", "10.0.0.1", "x"])


@given(
    st.lists(HOSTS, min_size=1, max_size=3, unique=True),
    st.one_of(st.text(max_size=60), st.builds("http://{}:8080{}{}".format, HOSTS, st.just(PATH), st.text(max_size=20))),
)
def test_a_redirect_changes_nothing_but_the_broker(hosts: list[str], location: str) -> None:
    brokers = Brokers.parse(f"http://{','.join(f'{host}:8080' for host in hosts)}")
    url = f"{next(brokers.urls())}{PATH}?force=true"
    try:
        found = brokers.redirected(url, location)
    except RedirectError as error:
        assert str(error).isascii()  # noqa: PT017 - most locations are errors
        return
    ours, theirs = urlsplit(url), urlsplit(found)
    names = [host.strip("[]") for host in hosts]
    assert theirs.hostname in names or any((theirs.hostname or "").endswith(f".{name}") for name in names)
    assert (theirs.scheme, theirs.port, theirs.path) == (ours.scheme, 8080, ours.path)
    assert theirs.query in {"force=true", "force=true&authoritative=true", "force=true&authoritative=false"}
