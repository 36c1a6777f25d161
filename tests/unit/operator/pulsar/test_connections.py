"""Connections to Pulsar: the operator's is shared; that of a scan uses only the scan's Secrets."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from tests.unit.operator.fakes import FakeCluster
from tests.unit.operator.world import NAMESPACE, SETTINGS

from skymap_api.pulsar_admin import PulsarAdminError
from skymap_api.resource.base import Manifest
from skymap_api.resource.spec import TokenSecret
from skymap_operator.cluster.client import Refused
from skymap_operator.observe.read import _keys
from skymap_operator.pulsar.access import PulsarAccess
from skymap_operator.pulsar.connections import Pulsars
from skymap_operator.pulsar.credentials import Credentials

FOREIGN = PulsarAccess("pulsar://other:6650", "http://other:8080", "t", TokenSecret(name="secret"), None, own=False)


def secret(name: str, **data: str) -> Manifest:
    encoded = {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"kind": "Secret", "metadata": {"name": name}, "data": encoded}


def stored(folder: Path, *secrets: Manifest, token: TokenSecret | None = None, tls: str | None = None) -> Credentials:
    access = PulsarAccess("pulsar+ssl://theirs:6651", "https://theirs:8443", "theirs", token, tls, own=False)
    return asyncio.run(Pulsars(FakeCluster(*secrets), SETTINGS)._stored(NAMESPACE, access, folder))


def test_token_and_certificates_become_files(tmp_path: Path) -> None:
    tls = secret("tls", ca_crt="trusted", tls_crt="mine", tls_key="key")
    token = TokenSecret(name="pulsar", key="jwt")
    found = stored(tmp_path, tls, secret("pulsar", jwt="s3cret"), token=token, tls="tls")
    assert found == Credentials(tmp_path / "token", *(tmp_path / name for name in ("ca.crt", "tls.crt", "tls.key")))
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["trusted", "mine", "key", "s3cret"]


def test_missing_secrets_give_no_credentials(tmp_path: Path) -> None:
    assert stored(tmp_path) == Credentials()
    assert stored(tmp_path, secret("tls", ca_crt="x"), tls="tls") == Credentials(trusted=tmp_path / "ca.crt")


def test_missing_secret_or_key_is_named(tmp_path: Path) -> None:
    token = TokenSecret(name="pulsar", key="jwt")
    with pytest.raises(PulsarAdminError, match=r"the Secret pulsar .* does not exist: create it"):
        stored(tmp_path, token=token)
    with pytest.raises(PulsarAdminError, match=r"the Secret pulsar lacks the key jwt .*: add it"):
        stored(tmp_path, secret("pulsar", other="x"), token=token)
    with pytest.raises(PulsarAdminError, match=r"the Secret tls .* does not exist"):
        stored(tmp_path, tls="tls")


def test_forbidden_secret_is_reported_on_the_scan() -> None:
    cluster = FakeCluster()
    cluster.faults["get"] = Refused('secrets "mine" is forbidden')
    with pytest.raises(PulsarAdminError, match=r"may not read the Secret mine: .*rbac\.secretNames"):
        asyncio.run(Pulsars(cluster, SETTINGS)._secret(NAMESPACE, "mine"))
    cluster.faults["get"] = Refused('secrets "mine" is forbidden')
    assert asyncio.run(_keys(cluster, NAMESPACE, "mine")) is None


def reach(access: PulsarAccess, *objects: dict[str, Any]) -> dict[str, Any]:
    """Open the admin interface and return its URL and the token file that it uses."""

    async def inside() -> dict[str, Any]:
        async with (
            Pulsars(FakeCluster(*objects), SETTINGS) as pulsars,
            pulsars.reach("ns", access) as admin,
            pulsars.reach("ns", access) as again,
        ):
            file = admin._credentials.token
            return {
                "url": admin.url,
                "same": admin is again,
                "file": file,
                "token": None if file is None else file.read_bytes(),
                "mode": None if file is None else file.parent.stat().st_mode & 0o777,
            }

    return asyncio.run(inside())


def test_own_pulsar_connection_is_shared() -> None:
    own = PulsarAccess(SETTINGS.pulsar_service_url, SETTINGS.pulsar_admin_url, "icecube", TokenSecret(name="secret"))
    found = reach(own)
    assert (found["url"], found["same"], found["token"]) == ("http://pulsar:8080", True, None)


def test_foreign_pulsar_gets_the_token_of_the_scan() -> None:
    found = reach(FOREIGN, secret("secret", token="jwt"))  # noqa: S106 - a test
    assert (found["url"], found["token"], found["mode"]) == ("http://other:8080", b"jwt", 0o700)
    assert not found["file"].exists()


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([], "the Secret secret .* does not exist"),
        ([secret("secret", other="jwt")], "the Secret secret lacks the key token"),
        ([secret("secret", token="") | {"data": {"token": "%"}}], "the Secret secret lacks the key token"),
    ],
)
def test_missing_token_is_reported(objects: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(PulsarAdminError, match=message):
        reach(FOREIGN, *objects)
