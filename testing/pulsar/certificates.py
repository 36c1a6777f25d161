"""Certificates for one test run: an authority, a server and a client."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificates:
    """Files in PEM; the keys are PKCS#8 and not encrypted."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def make_certificates(folder: Path, address: str = "127.0.0.1") -> Certificates:
    """Create certificates that are valid for two days, with the ``openssl`` command (3.0 or later).

    That of the server is for localhost and an ``address``.
    """
    folder.mkdir(mode=0o700)
    authority, authority_key = folder / "authority.pem", folder / "authority.key"
    signed = ["-CA", str(authority), "-CAkey", str(authority_key), "-addext", "basicConstraints=critical,CA:false"]
    _certify(folder, "authority", "authority", ["-addext", "keyUsage=critical,keyCertSign"])
    _certify(folder, "server", "localhost", [*signed, "-addext", f"subjectAltName=DNS:localhost,IP:{address}"])
    _certify(folder, "client", "client", signed)
    return Certificates(
        authority, folder / "server.pem", folder / "server.key", folder / "client.pem", folder / "client.key"
    )


def _certify(folder: Path, name: str, common_name: str, options: list[str]) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "2", "-subj", f"/CN={common_name}"]
    files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
    made = subprocess.run([*command, *files, *options], capture_output=True, text=True, check=False)
    if made.returncode:
        raise RuntimeError(f"openssl could not create the certificate {name}: {made.stderr}")
