"""A real Pulsar that a test owns: it can start, stop, kill, freeze and restart it, on free ports."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import random
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from testing.pulsar.certificates import Certificates, make_certificates
from testing.waiting import eventually

START = Path(__file__).resolve().parents[2] / "dev" / "pulsar" / "start.sh"

#: Time limits on a busy machine (s). On an idle one a start takes 5 s and a stop 2 s.
START_SECONDS = 120.0
STOP_SECONDS = 30.0


@dataclass(frozen=True)
class PulsarAddress:
    """Addresses of a broker (``pulsar://``, ``pulsar+ssl://``) and of its admin interface (``http://``, ``https://``)."""

    url: str
    admin_url: str


class PulsarServer:
    """A broker with its data in ``folder``; not started yet.

    Parameters
    ----------
    folder
        For data, configuration and log; created if missing. A folder that has been used before continues.
    configuration
        More lines of ``standalone.conf``.
    authentication
        Require a token from every client. The role ``admin`` may do everything, others what they are granted.
    host
        The address of this machine to listen on; loopback unless pods must reach it.
    tls
        Use ``pulsar+ssl://`` and ``https://`` with the certificates in ``certificates``.

    Notes
    -----
    The broker dies with the thread that starts it (Linux), so start it from the main thread.
    """

    def __init__(
        self,
        folder: Path,
        configuration: Mapping[str, str] | None = None,
        *,
        authentication: bool = False,
        tls: bool = False,
        host: str = "127.0.0.1",
    ) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.certificates: Certificates | None = make_certificates(self.folder / "certificates") if tls else None
        self._port, self._web_port, self._storage_port, tls_port, tls_web_port = free_ports(5)
        if tls:
            self.address = PulsarAddress(f"pulsar+ssl://localhost:{tls_port}", f"https://localhost:{tls_web_port}")
        else:
            self.address = PulsarAddress(f"pulsar://{host}:{self._port}", f"http://{host}:{self._web_port}")
        self._host = host
        self._key = secrets.token_bytes(32) if authentication else None
        required = authentication_lines(self._key, self.folder) if self._key is not None else {}
        lines = required | self._tls_lines(tls_port, tls_web_port) | dict(configuration or {})
        self._configuration = self.folder / "test.conf"
        _write_private(self._configuration, "".join(f"{key}={value}\n" for key, value in lines.items()).encode())
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.address.url

    @property
    def admin_url(self) -> str:
        return self.address.admin_url

    @property
    def pid(self) -> int:
        """The process id of the one Java process."""
        return self._running().pid

    @property
    def has_ended(self) -> bool:
        """Whether the broker has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """Start on the same ports and data as before; return when the broker can send and receive."""
        if self._process is not None and not self.has_ended:
            raise RuntimeError("this Pulsar is running already")
        # start.sh replaces itself with Java, so the process id and the parent-death signal apply to Java.
        with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        ports = [
            "--address",
            self._host,
            "--port",
            self._port,
            "--web-port",
            self._web_port,
            "--storage-port",
            self._storage_port,
        ]
        command = [*with_us, START, "--data", self.folder, "--conf", self._configuration, *ports]
        with (self.folder / "console.log").open("ab") as console:
            # In its own session: Ctrl-C at the terminal goes to the tests, which then stop the broker.
            self._process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Only the quick compiler: it halves the start of a server that lives for one test.
                env=os.environ | {"JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1"},
            )
        with ExitStack() as unless_ready:
            unless_ready.callback(self.kill)
            self._wait_until_ready()
            unless_ready.pop_all()

    def stop(self) -> None:
        """Stop the broker with SIGTERM."""
        process = self._running()
        process.send_signal(signal.SIGCONT)  # a frozen process does not handle SIGTERM
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"Pulsar did not end within {STOP_SECONDS:g} s of SIGTERM.\n{self.log()}") from None
        self._process = None

    def kill(self) -> None:
        """Kill the broker with SIGKILL."""
        process = self._running()
        process.kill()
        process.wait()
        self._process = None

    def suspend(self) -> None:
        """Freeze the broker: connections stay open and nothing answers."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after `suspend`."""
        self._running().send_signal(signal.SIGCONT)

    def token(self, subject: str, expires_in: float | None = None) -> str:
        """Return a token for the role ``subject`` that expires in so many seconds (negative: expired), or never."""
        if self._key is None:
            raise RuntimeError("this Pulsar requires no token")
        return make_token(self._key, subject, expires_in)

    def log(self, lines: int = 40) -> str:
        """Return the last lines of the log, for the report of a failed test."""
        shown = []
        for path in (self.folder / "console.log", self.folder / "log" / "pulsar.log"):
            text = path.read_text(errors="replace") if path.exists() else "(nothing)"
            shown.append(f"--- {path}\n" + "\n".join(text.splitlines()[-lines:]))
        return "\n".join(shown)

    @property
    def key_file(self) -> Path:
        """The secret key of the tokens, of a Pulsar that requires one."""
        return self.folder / "secret.key"

    def request(
        self, method: str, path: str, token: str | None = None, *, body: object = None, timeout: float = 10
    ) -> httpx.Response:
        """Call the REST interface, by default with the token of ``admin`` if one is required."""
        if token is None and self._key is not None:
            token = self.token("admin", 60)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        verify: ssl.SSLContext | bool = True
        if self.certificates:
            verify = ssl.create_default_context(cafile=self.certificates.authority)
            verify.load_cert_chain(self.certificates.client, self.certificates.client_key)
        content = {} if body is None else {"json": body}
        return httpx.request(method, self.admin_url + path, headers=headers, verify=verify, timeout=timeout, **content)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None:
            self.kill()  # its data are removed with the folder, so a clean stop would only take time

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("this Pulsar is not running")
        return self._process

    def _wait_until_ready(self) -> None:
        """Wait for Pulsar's health check, which sends a message through the broker and reads it again."""
        process = self._running()

        def health() -> str:
            if process.poll() is not None:
                raise RuntimeError(f"Pulsar ended with {process.returncode} while it started.\n{self.log()}")
            try:
                answer = self.request("GET", "/admin/v2/brokers/health")
            except httpx.HTTPError as error:
                return repr(error)
            return f"{answer.status_code} {answer.text}"

        try:
            eventually(health, lambda found: found == "200 ok", START_SECONDS)
        except AssertionError as error:
            raise TimeoutError(f"Pulsar did not become ready: {error}\n{self.log()}") from None

    def _tls_lines(self, port: int, web_port: int) -> dict[str, str]:
        if self.certificates is None:
            return {}
        return {
            "brokerServicePortTls": str(port),
            "webServicePortTls": str(web_port),
            "tlsCertificateFilePath": str(self.certificates.server),
            "tlsKeyFilePath": str(self.certificates.server_key),
            "tlsTrustCertsFilePath": str(self.certificates.authority),
        }


def authentication_lines(secret: bytes, folder: Path) -> dict[str, str]:
    """Return the configuration of a broker that requires tokens signed with ``secret``; writes its files to ``folder``.

    The role ``admin`` may do everything, others what they are granted.
    """
    key, admin = folder / "secret.key", folder / "admin.token"
    _write_private(key, secret)
    _write_private(admin, make_token(secret, "admin").encode())
    return {
        "authenticationEnabled": "true",
        "authenticationProviders": "org.apache.pulsar.broker.authentication.AuthenticationProviderToken",
        "tokenSecretKey": f"file://{key}",
        "authorizationEnabled": "true",
        "authorizationProvider": "org.apache.pulsar.broker.authorization.PulsarAuthorizationProvider",
        "superUserRoles": "admin",
        # The broker is its own client, for example in the health check.
        "brokerClientAuthenticationPlugin": "org.apache.pulsar.client.impl.auth.AuthenticationToken",
        "brokerClientAuthenticationParameters": f"file://{admin}",
    }


def make_token(key: bytes, subject: str, expires_in: float | None = None) -> str:
    """Return a JSON web token (RFC 7519) signed with HMAC-SHA256 (RFC 7515), as Pulsar uses."""
    claims: dict[str, object] = {"sub": subject}
    if expires_in is not None:
        claims["exp"] = int(time.time() + expires_in)
    signed = ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "HS256"}, claims))
    return f"{signed}.{_base64(hmac.digest(key, signed.encode(), hashlib.sha256))}"


def free_ports(count: int) -> list[int]:
    """Draw free ports of loopback.

    They lie below the range of outgoing connections (32768 and above): otherwise a client that reconnects to a killed
    broker could be given the broker's port.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(content)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
