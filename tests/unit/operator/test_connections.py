"""What a scan's own Pulsar is shown: what its Secrets hold, and nothing of the operator's."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

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


def secret(name: str, **data: str) -> Manifest:
    encoded = {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"kind": "Secret", "metadata": {"name": name}, "data": encoded}


def stored(folder: Path, *secrets: Manifest, token: TokenSecret | None = None, tls: str | None = None) -> Credentials:
    access = PulsarAccess("pulsar+ssl://theirs:6651", "https://theirs:8443", "theirs", token, tls, own=False)
    return asyncio.run(Pulsars(FakeCluster(*secrets), SETTINGS)._stored(NAMESPACE, access, folder))


def test_a_token_and_certificates_become_files(tmp_path: Path) -> None:
    tls = secret("tls", ca_crt="trusted", tls_crt="mine", tls_key="key")
    token = TokenSecret(name="pulsar", key="jwt")
    found = stored(tmp_path, tls, secret("pulsar", jwt="s3cret"), token=token, tls="tls")
    assert found == Credentials(tmp_path / "token", *(tmp_path / name for name in ("ca.crt", "tls.crt", "tls.key")))
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["trusted", "mine", "key", "s3cret"]


def test_only_what_the_secrets_hold_is_shown(tmp_path: Path) -> None:
    assert stored(tmp_path) == Credentials()
    assert stored(tmp_path, secret("tls", ca_crt="x"), tls="tls") == Credentials(trusted=tmp_path / "ca.crt")


def test_a_secret_that_is_missing_or_lacks_its_key_is_named(tmp_path: Path) -> None:
    token = TokenSecret(name="pulsar", key="jwt")
    with pytest.raises(PulsarAdminError, match=r"there is no Secret pulsar, .* make it"):
        stored(tmp_path, token=token)
    with pytest.raises(PulsarAdminError, match=r"the Secret pulsar has no key jwt, .* add it"):
        stored(tmp_path, secret("pulsar", other="x"), token=token)
    with pytest.raises(PulsarAdminError, match="there is no Secret tls"):
        stored(tmp_path, tls="tls")


def test_a_secret_that_may_not_be_read_is_a_scans_trouble_and_not_the_operators() -> None:
    cluster = FakeCluster()
    cluster.faults["get"] = Refused('secrets "mine" is forbidden')
    with pytest.raises(PulsarAdminError, match=r"may not read the Secret mine: .*rbac\.secretNames"):
        asyncio.run(Pulsars(cluster, SETTINGS)._secret(NAMESPACE, "mine"))
    cluster.faults["get"] = Refused('secrets "mine" is forbidden')
    assert asyncio.run(_keys(cluster, NAMESPACE, "mine")) is None
