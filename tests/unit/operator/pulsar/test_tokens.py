"""The tokens that the operator signs for Pulsar."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from skymap_api.pulsar_admin import PulsarAdminError
from skymap_operator.pulsar.credentials import Credentials, Signer
from skymap_operator.pulsar.tokens import read_key, sign, sign_all

KEY = bytes(range(32))


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def claims(token: str) -> dict[str, object]:
    """Return the claims of a token whose signature is right (RFC 7515, section 5.2)."""
    header, payload, signature = token.split(".")
    assert json.loads(decoded(header)) == {"alg": "HS256", "typ": "JWT"}
    assert hmac.new(KEY, f"{header}.{payload}".encode(), hashlib.sha256).digest() == decoded(signature)
    found: dict[str, object] = json.loads(decoded(payload))
    return found


def test_token_names_its_role_and_expires() -> None:
    assert claims(sign(KEY, "broker")) == {"sub": "broker"}
    assert claims(sign(KEY, "a/ü", 1800000000.9)) == {"sub": "a/ü", "exp": 1800000000}
    assert "=" not in sign(KEY, "broker")


def test_each_role_has_a_token_of_its_own() -> None:
    found = {role: claims(token) for role, token in sign_all(KEY, "uid-1", 60.0).items()}
    assert found == {
        role: {"sub": f"scan-uid-1-{role}", "exp": 60} for role in ("producer", "collector", "saver", "worker")
    }


@pytest.mark.parametrize("size", [0, 31, 4097])
def test_file_without_a_key_is_reported(size: int, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"s" * size)
    with pytest.raises(PulsarAdminError, match=r"key is no secret key .* 32 to 4096 bytes") as raised:
        read_key(tmp_path / "key")
    assert "sss" not in str(raised.value)
    with pytest.raises(PulsarAdminError, match=r"cannot read the key .*missing"):
        read_key(tmp_path / "missing")


def test_operator_signs_its_own_token_unless_it_has_one(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(KEY)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    signer = Signer(tmp_path / "key", "skymap-operator", lambda: now)
    header = Credentials(signer=signer).headers()["Authorization"]
    assert claims(header.removeprefix("Bearer ")) == {"sub": "skymap-operator", "exp": now.timestamp() + 3600}
    (tmp_path / "token").write_text("one")
    assert Credentials(tmp_path / "token", signer=signer).headers() == {"Authorization": "Bearer one"}
