"""The chart's own Pulsar, by its rendered configuration: who has no token of it gets nowhere."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from testing.chart import CHART, find, render
from testing.pulsar.server import PulsarServer, make_token
from tests.pulsar.test_role_tokens import Scan
from tests.unit.helm.conftest import helm_installed  # noqa: F401 - a fixture

from skymap_api.names import WORKER
from skymap_operator.install.keys import BROKER_TOKEN, KEY, complete
from skymap_scanner.broker import Access, open_broker
from skymap_scanner.errors import BrokerError


def settings(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))


@pytest.fixture(scope="module")
def server(
    helm_installed: None,  # noqa: F811
    pulsar_installed: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[PulsarServer]:
    """A Pulsar with what the chart adds to the configuration, and with the keys that its Job makes."""
    folder = tmp_path_factory.mktemp("evaluation")
    given = settings(find(render(), "ConfigMap", "skymap-pulsar")["data"]["standalone.conf"])
    common = settings((CHART / "files" / "standalone.conf").read_text())
    added = {name: value for name, value in given.items() if name not in common}
    assert set(common) < set(given)
    # Paths of the files on this machine, and the role of the test server.
    added = {name: value.replace("file:///keys/", f"file://{folder}/") for name, value in added.items()}
    added |= {"statusFilePath": str(folder / KEY), "superUserRoles": f"{added['superUserRoles']},admin"}
    server = PulsarServer(folder / "data", added, authentication=True)
    made = complete({KEY: base64.b64encode(server.key_file.read_bytes()).decode()}, "pulsar-broker", b"")
    for name in (KEY, BROKER_TOKEN):
        (folder / name).write_bytes(base64.b64decode(made[name]))
    with server:
        yield server


def test_operator_makes_what_its_scans_need(server: PulsarServer, tmp_path: Path) -> None:
    scan, other = (Scan(server, tmp_path, name) for name in ("first", "second"))
    with scan.open(WORKER) as broker:
        broker.reader(scan.topics.plan).close()
        with pytest.raises(BrokerError, match="grant it produce and consume"):
            broker.reader(other.topics.plan)


@pytest.mark.parametrize("key", [None, b"k" * 32])
def test_client_without_a_valid_token_is_refused(server: PulsarServer, tmp_path: Path, key: bytes | None) -> None:
    """Even with the name of an administrator, signed with another key."""
    scan = Scan(server, tmp_path, "third")
    token = tmp_path / "token"
    token.write_text("" if key is None else make_token(key, "skymap-operator"))
    with (
        pytest.raises(BrokerError, match="does not accept our credentials"),
        open_broker(server.url, Access(server.admin_url, None if key is None else token)) as broker,
    ):
        broker.reader(scan.topics.plan)
    headers = {} if key is None else {"Authorization": f"Bearer {token.read_text()}"}
    for path in ("/admin/v2/tenants", "/admin/v2/brokers/health", "/metrics/"):
        assert httpx.get(server.admin_url + path, headers=headers, timeout=20).status_code == 401, path
    assert httpx.get(f"{server.admin_url}/status.html", timeout=20).text == "OK", "the probes"
