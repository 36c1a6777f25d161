"""The chart's own Pulsar, by its rendered configuration: who has no token of it gets nowhere."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from testing.chart import CHART, find, render
from testing.pulsar.server import PulsarServer, make_token
from testing.waiting import eventually
from tests.pulsar.test_role_tokens import Scan
from tests.unit.helm.conftest import helm_installed  # noqa: F401 - a fixture

from skymap_api.names import WORKER
from skymap_operator.install.keys import BROKER_TOKEN, KEY, complete
from skymap_scanner.broker import Access, open_broker
from skymap_scanner.errors import BrokerError


def settings(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))


def evaluation(folder: Path) -> PulsarServer:
    """Return a Pulsar with what the chart adds to the configuration, and with the keys that its Job makes."""
    given = settings(find(render(), "ConfigMap", "skymap-pulsar")["data"]["standalone.conf"])
    common = settings((CHART / "files" / "standalone.conf").read_text())
    added = {name: value for name, value in given.items() if name not in common}
    assert set(common) < set(given)
    # Paths of the files on this machine, and the role of the test server.
    added = {name: value.replace("file:///keys/", f"file://{folder}/") for name, value in added.items()}
    added |= {"statusFilePath": str(folder / KEY), "superUserRoles": f"{added['superUserRoles']},admin"}
    server = PulsarServer(folder / "data", added, authentication=True)
    made = complete({KEY: base64.b64encode(server.key_file.read_bytes()).decode()}, "pulsar-broker", None, b"")
    for name in (KEY, BROKER_TOKEN):
        (folder / name).write_bytes(base64.b64decode(made[name]))
    return server


@pytest.fixture(scope="module")
def server(
    helm_installed: None,  # noqa: F811
    pulsar_installed: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[PulsarServer]:
    with evaluation(tmp_path_factory.mktemp("evaluation")) as server:
        yield server


def startup_probe(server: PulsarServer, token: Path) -> subprocess.CompletedProcess[str]:
    """Run the command of the chart's startup probe against this server, with the token in a file of this machine."""
    (container,) = find(render(), "StatefulSet", "skymap-pulsar")["spec"]["template"]["spec"]["containers"]
    script = container["startupProbe"]["exec"]["command"][-1]
    for given, here in (("/keys/broker-token", str(token)), ("http://127.0.0.1:8080", server.admin_url)):
        assert given in script
        script = script.replace(given, here)
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, timeout=30)


def test_operator_can_begin_once_the_probe_passes(
    helm_installed: None,  # noqa: F811
    pulsar_installed: None,
    tmp_path: Path,
) -> None:
    server = evaluation(tmp_path)
    assert startup_probe(server, tmp_path / BROKER_TOKEN).returncode == 7, "curl cannot connect"

    def begin() -> Scan:
        eventually(lambda: startup_probe(server, tmp_path / BROKER_TOKEN).returncode == 0, within=120)
        return Scan(server, tmp_path, "first")

    with ThreadPoolExecutor(1) as pool:
        begun = pool.submit(begin)
        with server:
            scan = begun.result()
            with scan.open(WORKER) as broker:
                broker.reader(scan.topics.plan).close()
            invalid = tmp_path / "invalid"
            invalid.write_text(make_token(b"k" * 32, "pulsar-broker"))
            refused = startup_probe(server, invalid)
            assert (refused.returncode, "401" in refused.stderr) == (22, True), refused.stderr


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
    assert httpx.get(f"{server.admin_url}/status.html", timeout=20).text == "OK", "the readiness probe"
