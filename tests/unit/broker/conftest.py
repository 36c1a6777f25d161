"""Brokers to test: one `Place` for each implementation, and processes to kill."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest
from testing import broker_actor

from skymap_scanner.broker import Access, Broker, open_broker


@dataclass(frozen=True)
class Place:
    """A broker for one test: its URL, and a namespace for its topics."""

    url: str
    namespace: str
    admin_url: str | None = None

    def topic(self, name: str = "topic") -> str:
        return f"{self.namespace}/{name}"

    def open(self) -> Broker:
        return open_broker(self.url, Access(admin_url=self.admin_url))


def sqlite_place(request: pytest.FixtureRequest) -> Place:
    folder = request.getfixturevalue("tmp_path")
    return Place(f"sqlite:///{folder / 'broker.db'}", "persistent://icecube/skymap")


def pulsar_place(request: pytest.FixtureRequest) -> Place:
    server = request.getfixturevalue("pulsar_server")
    namespace = request.getfixturevalue("pulsar_namespace")
    return Place(server.url, namespace, server.admin_url)


#: The implementations of the protocol; the contract suite runs on each of them.
IMPLEMENTATIONS: dict[str, Callable[[pytest.FixtureRequest], Place]] = {"pulsar": pulsar_place, "sqlite": sqlite_place}


@pytest.fixture(params=[pytest.param("pulsar", marks=pytest.mark.pulsar), "sqlite"])
def place(request: pytest.FixtureRequest) -> Place:
    return IMPLEMENTATIONS[request.param](request)


@pytest.fixture
def broker(place: Place) -> Iterator[Broker]:
    with place.open() as broker:
        yield broker


@pytest.fixture
def topic(place: Place) -> str:
    return place.topic(f"scan-{uuid4().hex[:8]}")


class Actor:
    """A running process of ``testing.broker_actor``."""

    def __init__(self, role: str, place: Place, *arguments: object) -> None:
        # -P: the folder of the script holds testing/pulsar, which would hide the Pulsar client
        command = [
            sys.executable,
            "-P",
            broker_actor.__file__,
            role,
            place.url,
            place.admin_url or "",
            *map(str, arguments),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def line(self) -> str:
        """Wait for the next line that it prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.endswith("\n"), f"the process ended early, saying {line!r}"
        return line.strip()

    def lines(self) -> list[str]:
        """Wait for its end, return all whole lines left."""
        assert self.process.stdout is not None
        return [line.strip() for line in self.process.stdout if line.endswith("\n")]

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def actor(place: Place) -> Iterator[Callable[..., Actor]]:
    started: list[Actor] = []

    def start(role: str, *arguments: object) -> Actor:
        started.append(Actor(role, place, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.close()
