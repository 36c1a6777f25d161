"""A map is made by one version of the scanner and one likelihood: every part refuses what another has begun."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from skymap_api.names import ScanTopics
from skymap_scanner import __version__
from skymap_scanner.broker import open_broker
from skymap_scanner.errors import InputError, ReconstructionError
from skymap_scanner.event.model import Event
from skymap_scanner.reconstruction import load, software_of
from skymap_scanner.reconstruction.millipede import Millipede
from skymap_scanner.roles.producer import producer
from skymap_scanner.roles.producer.planning import ScanSettings
from skymap_scanner.roles.readers import PlanReader
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.topics import create_topics
from skymap_scanner.roles.worker.fitters import Fitters, decode_task_message
from skymap_scanner.scan.levels import parse_levels

TOPICS = ScanTopics.of("scan")
OWN = f"skymap-scanner {__version__}, dummy"
OTHERS = ["skymap-scanner 0.0.9, dummy", f"{OWN} 2"]


class StopAfter(Stop):
    """Requested after so many checks."""

    def __init__(self, checks: int) -> None:
        super().__init__()
        self._checks = checks

    @property
    def requested(self) -> bool:
        self._checks -= 1
        return self._checks < 0


@pytest.fixture
def begin(tmp_path: Path, event: Event, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Return a function that produces the tasks of a scan by a software, and returns the broker's URL."""

    def produce(software: str) -> str:
        url = f"sqlite:///{tmp_path}/broker.sqlite"
        settings = ScanSettings("scan", parse_levels("1:0"), seeds=1, reconstruction="dummy")
        monkeypatch.setattr(producer, "software_of", lambda _: software)
        with open_broker(url) as broker:
            create_topics(broker, TOPICS)
            producer.produce(broker, TOPICS, event, settings, StopAfter(6))
        return url

    return produce


def test_software_is_the_version_and_the_reconstruction() -> None:
    assert software_of(load("dummy")) == OWN
    one, finer = (software_of(Millipede(bin_width=width)) for width in (50, 25))
    assert one.startswith(f"skymap-scanner {__version__}, millipede ")
    assert (
        one.partition(", code ")[0] == software_of(Millipede()).partition(", code ")[0] != finer.partition(", code ")[0]
    )
    assert one.isascii()


@pytest.mark.parametrize("software", OTHERS)
def test_producer_of_another_software_does_not_resume(begin: Callable[[str], str], software: str) -> None:
    begin(OWN)
    with pytest.raises(InputError, match=f"with software {OWN}, not {software}"):
        begin(software)


@pytest.mark.parametrize("software", [OWN, *OTHERS])
def test_worker_fits_for_its_own_software_alone(begin: Callable[[str], str], software: str) -> None:
    with open_broker(begin(software)) as broker, broker.reader(TOPICS.to_be_scanned) as tasks:
        message = tasks.receive(10)
        assert message is not None
        ready = Fitters(broker)
        if software == OWN:
            ready.of(decode_task_message(message))
        else:
            with pytest.raises(ReconstructionError, match=f"'{software}', this worker is '{OWN}'"):
                ready.of(decode_task_message(message))
        own_choice = decode_task_message(message, "dummy")
        if software == OTHERS[0]:
            with pytest.raises(ReconstructionError, match=f"'{software}', this worker is '{OWN}'"):
                ready.of(own_choice)
        else:
            ready.of(own_choice)


def test_other_roles_refuse_a_scan_of_another_version(begin: Callable[[str], str]) -> None:
    with (
        open_broker(begin(OTHERS[0])) as broker,
        PlanReader(broker, TOPICS.plan) as plan,
        pytest.raises(InputError, match=r"'scan' was begun by skymap-scanner 0\.0\.9, this is skymap-scanner "),
    ):
        plan.wait_for_scan(Stop())


@pytest.mark.parametrize("identity", [None, "", "a\nb", "dümmy", 3])
def test_reconstruction_without_identity_is_explained(identity: object) -> None:
    plugin = type("Plugin", (), {} if identity is None else {"identity": identity})()
    with pytest.raises(ReconstructionError, match=r"reconstruction Plugin states no identity"):
        software_of(plugin)
