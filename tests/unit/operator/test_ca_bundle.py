"""A renewed CA bundle of the API server is used without a restart."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from testing.pulsar.certificates import make_certificates

from skymap_operator.cluster import ca_bundle
from skymap_operator.cluster.ca_bundle import CaBundle


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("authorities")
    return [make_certificates(folder / name).authority.read_text() for name in ("old", "new")]


def bundle(tmp_path: Path, text: str) -> tuple[Path, ssl.SSLContext, CaBundle]:
    file = tmp_path / "ca.crt"
    file.write_text(text)
    context = ssl.create_default_context(cafile=file)
    return file, context, CaBundle(str(file), context)


def test_renewed_bundle_is_loaded(authorities: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ca_bundle, "INTERVAL", 0.0)
    file, context, found = bundle(tmp_path, authorities[0])
    found.refresh()
    assert context.cert_store_stats()["x509_ca"] == 1
    file.write_text(authorities[1])
    os.utime(file, ns=(0, 0))
    found.refresh()
    assert context.cert_store_stats()["x509_ca"] == 2


def test_missing_bundle_keeps_the_loaded_one(
    authorities: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ca_bundle, "INTERVAL", 0.0)
    file, context, found = bundle(tmp_path, authorities[0])
    file.unlink()
    found.refresh()
    assert context.cert_store_stats()["x509_ca"] == 1


def test_file_is_not_checked_for_every_request(authorities: list[str], tmp_path: Path) -> None:
    file, context, found = bundle(tmp_path, authorities[0])
    file.write_text(authorities[1])
    os.utime(file, ns=(0, 0))
    found.refresh()
    assert context.cert_store_stats()["x509_ca"] == 1
