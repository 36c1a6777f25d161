"""The keys of the chart's own Pulsar are made once, and kept."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from click.testing import CliRunner
from tests.unit.operator.fakes import FakeCluster

from skymap_api.resource.base import Manifest
from skymap_operator import main
from skymap_operator.cluster.client import ClusterError, Conflict
from skymap_operator.install.keys import BROKER_TOKEN, KEY, PAGE_TOKEN, make_keys
from skymap_operator.pulsar.tokens import sign

ROLE = "pulsar-broker"


def secret(**data: bytes) -> Manifest:
    """Return the Secret as Helm makes it, with more data."""
    encoded = {name.replace("_", "-"): base64.b64encode(value).decode() for name, value in data.items()}
    meta = {"namespace": "skymap", "name": "keys", "resourceVersion": "7", "labels": {"a": "b"}}
    found: Manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": meta}
    return found | ({"data": encoded} if encoded else {})


def made(cluster: FakeCluster) -> tuple[str, dict[str, bytes]]:
    """Make the keys; return the sentence, and what the Secret holds then."""
    said = asyncio.run(make_keys(cluster, "skymap", "keys", ROLE))
    found = cluster.objects["Secret", "keys"]
    assert found["metadata"]["labels"] == {"a": "b"}
    return said, {name: base64.b64decode(value) for name, value in found["data"].items()}


def test_empty_secret_gets_key_and_token() -> None:
    first, second = FakeCluster(secret()), FakeCluster(secret())
    said, data = made(first)
    assert said == "the Secret keys has new keys"
    assert set(data) == {KEY, BROKER_TOKEN}
    assert len(data[KEY]) == 32
    assert data[BROKER_TOKEN].decode() == sign(data[KEY], ROLE)
    assert made(second)[1][KEY] != data[KEY]


def test_existing_keys_are_kept() -> None:
    cluster = FakeCluster(secret())
    _, data = made(cluster)
    cluster.done.clear()
    assert made(cluster) == ("the Secret keys has its keys", data)
    assert cluster.done == []


def test_token_follows_the_key() -> None:
    for given in (secret(key=b"k" * 64), secret(key=b"k" * 64, broker_token=b"of another key", other=b"o")):
        said, data = made(FakeCluster(given))
        assert said == "the Secret keys has new tokens"
        assert (data[KEY], data[BROKER_TOKEN].decode()) == (b"k" * 64, sign(b"k" * 64, ROLE))
        assert data.get("other", b"o") == b"o"


def test_page_gets_a_token_of_its_own_and_loses_it() -> None:
    cluster = FakeCluster(secret())
    before = made(cluster)[1]
    assert asyncio.run(make_keys(cluster, "skymap", "keys", ROLE, "a-page")) == "the Secret keys has new tokens"
    stored = cluster.objects["Secret", "keys"]["data"]
    token = base64.b64decode(stored.pop(PAGE_TOKEN)).decode()
    assert token == sign(before[KEY], "a-page")
    assert {name: base64.b64decode(value) for name, value in stored.items()} == before
    asyncio.run(make_keys(cluster, "skymap", "keys", ROLE, "a-page"))
    assert made(cluster) == ("the Secret keys has new tokens", before)


def test_change_by_others_is_read_again() -> None:
    cluster = FakeCluster(secret())
    cluster.faults["replace"] = Conflict("it was changed meanwhile")
    assert made(cluster)[0] == "the Secret keys has new keys"


@pytest.mark.parametrize(
    ("given", "message"),
    [(None, "does not exist"), (secret(key=b"short"), "fewer than 32 bytes")],
)
def test_impossible_secret_is_reported(given: Manifest | None, message: str) -> None:
    cluster = FakeCluster(*([given] if given else []))
    with pytest.raises(ClusterError, match=message):
        asyncio.run(make_keys(cluster, "skymap", "keys", ROLE))
    assert cluster.done == []


def test_command_never_prints_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(secret())

    async def connect() -> None:
        return None

    class Connected:
        def __init__(self, _: Any) -> None: ...

        async def __aenter__(self) -> FakeCluster:
            return cluster

        async def __aexit__(self, *_: object) -> None: ...

    monkeypatch.setattr(main, "connect", connect)
    monkeypatch.setattr(main, "Cluster", Connected)
    words = ["keys", "--namespace", "skymap", "--secret", "keys", "--role", ROLE]
    done = CliRunner().invoke(main.main, words)
    assert (done.exit_code, done.output) == (0, "the Secret keys has new keys\n")
    assert set(cluster.objects["Secret", "keys"]["data"]) == {KEY, BROKER_TOKEN}
    absent = CliRunner().invoke(main.main, [*words, "--secret", "another"])
    assert absent.exit_code == 1
    assert "the Secret another does not exist" in absent.output
