"""A map is made by one version of the scanner and one likelihood: every part refuses what another has begun."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from skymap_api.names import ScanTopics
from skymap_scanner import __version__
from skymap_scanner.broker import Outgoing, open_broker
from skymap_scanner.errors import BrokerError, ReconstructionError, SoftwareMismatchError
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
from skymap_scanner.scan.plan_entries import ScanEntry

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
    one, coarser = (software_of(Millipede(bin_width=width)) for width in (25, 50))
    assert one.startswith(f"skymap-scanner {__version__}, millipede ")
    assert (
        one.partition(", code ")[0]
        == software_of(Millipede()).partition(", code ")[0]
        != coarser.partition(", code ")[0]
    )
    assert one.isascii()


@pytest.mark.parametrize("software", OTHERS)
def test_producer_of_another_software_does_not_resume(begin: Callable[[str], str], software: str) -> None:
    begin(OWN)
    with pytest.raises(SoftwareMismatchError, match=f"with software {OWN}, not {software}"):
        begin(software)


@pytest.mark.parametrize("software", [OWN, *OTHERS])
def test_worker_fits_for_its_own_software_alone(begin: Callable[[str], str], software: str) -> None:
    with open_broker(begin(software)) as broker, broker.reader(TOPICS.plan) as plan:
        message = plan.receive(10)
        assert message is not None
        scan = ScanEntry.model_validate_json(message.payload)
        if software == OWN:
            Fitters(broker, scan)
        else:
            with pytest.raises(SoftwareMismatchError, match=f"'{software}', this worker is '{OWN}'"):
                Fitters(broker, scan)
        if software == OTHERS[0]:
            with pytest.raises(SoftwareMismatchError, match=f"'{software}', this worker is '{OWN}'"):
                Fitters(broker, scan, "dummy")
        else:
            Fitters(broker, scan, "dummy")


@pytest.mark.parametrize("name", ["software", "reconstruction", "reconstruction_parameters", "metadata_topics"])
def test_task_of_another_scan_is_rejected(begin: Callable[[str], str], name: str) -> None:
    with open_broker(begin(OWN)) as broker, broker.reader(TOPICS.to_be_scanned) as tasks:
        message = tasks.receive(10)
        assert message is not None
        properties = {key: value for key, value in message.properties.items() if key != "seed"}
        decode_task_message(message, properties)
        for changed in ({**properties, name: "x"}, {key: value for key, value in properties.items() if key != name}):
            with pytest.raises(BrokerError, match=f"has the {name} '.*', the scan has "):
                decode_task_message(replace(message, properties=changed), properties)


@pytest.mark.parametrize("unreadable", [False, True], ids=["readable", "unreadable"])
def test_roles_refuse_a_scan_of_another_version(begin: Callable[[str], str], tmp_path: Path, unreadable: bool) -> None:
    if unreadable:  # it states something that this version does not know
        url = f"sqlite:///{tmp_path}/other.sqlite"
        payload = json.dumps({"kind": "scan", "version": 2, "software": OTHERS[0], "curvature": 1}).encode()
        with open_broker(url) as broker, broker.producer(TOPICS.plan, "producer") as plan_out:
            plan_out.send(Outgoing(payload))
    else:
        url = begin(OTHERS[0])
    with (
        open_broker(url) as broker,
        PlanReader(broker, TOPICS.plan) as plan,
        pytest.raises(SoftwareMismatchError, match=r"was begun by skymap-scanner 0\.0\.9, this is skymap-scanner "),
    ):
        plan.wait_for_scan(Stop())


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"kind": "end", "levels": 1}', b'{"kind": "scan", "software": 3}'])
def test_plan_that_names_no_software_is_explained(tmp_path: Path, payload: bytes) -> None:
    with open_broker(f"sqlite:///{tmp_path}/broker.sqlite") as broker:
        with broker.producer(TOPICS.plan, "producer") as plan_out:
            plan_out.send(Outgoing(payload))
        with PlanReader(broker, TOPICS.plan) as plan, pytest.raises(BrokerError, match="the plan "):
            plan.wait_for_scan(Stop())


@pytest.mark.parametrize("identity", [None, "", "a\nb", "dümmy", 3])
def test_reconstruction_without_identity_is_explained(identity: object) -> None:
    plugin = type("Plugin", (), {} if identity is None else {"identity": identity})()
    with pytest.raises(ReconstructionError, match=r"reconstruction Plugin states no identity"):
        software_of(plugin)
