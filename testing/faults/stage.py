"""Where faults of a replicated Pulsar are played: the cluster, whole scans over it, and the tokens of their roles."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from skymap_api.names import ScanTopics
from skymap_scanner.broker import Access, Broker, open_broker
from testing.killing import LocalScan
from testing.pulsar.replicated import ReplicatedPulsar
from testing.waiting import UnavailableError

#: A scan of 66 fits. How long a fit takes changes nothing of the files.
LEVELS = ("1:0", "2:4", "4:4")
DUMMY = ("--reconstruction", "dummy", "--parameter", "ra=200", "--parameter", "dec=20")
SEEDS = ("--seeds", "2", "--workers", "2")

#: How long a scan may take on a busy machine (s).
SCAN_SECONDS = 500.0

#: How often a token that expires is renewed (s).
RENEWED_EVERY = 5.0

#: The disk of each bookie (MiB), which a fault may fill.
DISK = 96


@dataclass
class Stage:
    """A running cluster, the files of a scan without faults, and the token of its roles."""

    cluster: ReplicatedPulsar
    event: Path
    folder: Path
    expected: Mapping[str, str]

    def __post_init__(self) -> None:
        tenant = {"adminRoles": ["scanner"], "allowedClusters": ["replicated"]}
        self.cluster.request("PUT", "/admin/v2/tenants/icecube", tenant).raise_for_status()

    def scan(self, name: str, fit_seconds: float) -> LocalScan:
        """Return a scan over the cluster, not started yet."""
        more = (*SEEDS, *DUMMY, "--parameter", f"seconds={fit_seconds}", "--auth-token", str(self._token("scan")))
        return LocalScan(self.event, self.folder / name, LEVELS, self.cluster, more)

    @contextmanager
    def token(self, seconds: float | None) -> Iterator[None]:
        """Keep a token for the roles that expires in so many seconds and is renewed in time, or never expires."""
        self._write_token("scan", seconds)
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(RENEWED_EVERY):
                self._write_token("scan", seconds)

        renewing = threading.Thread(target=renew, daemon=True)
        renewing.start()
        try:
            yield
        finally:
            ended.set()
            renewing.join()

    @contextmanager
    def broker(self) -> Iterator[Broker]:
        """Open the cluster as a client whose token does not expire."""
        self._write_token("own", None)
        address = self.cluster.address
        with open_broker(address.url, Access(address.admin_url, self._token("own"))) as broker:
            yield broker

    def collected(self, name: str) -> int:
        """Return the number of best fits that are collected so far; raises UnavailableError while it is unknown."""
        topic = ScanTopics.of(name).collected.replace("://", "/")
        answer = self.cluster.request("GET", f"/admin/v2/{topic}/stats")
        if not answer.is_success:
            raise UnavailableError(f"{answer.status_code} {answer.text[:200]}")
        return int(answer.json()["msgInCounter"])

    def _token(self, owner: str) -> Path:
        return self.folder / f"{owner}.token"

    def _write_token(self, owner: str, seconds: float | None) -> None:
        new = self.folder / f"{owner}.token.new"
        new.write_text(self.cluster.token("scanner", seconds))
        new.replace(self._token(owner))


def undisturbed(event: Path, folder: Path) -> dict[str, str]:
    """Return the checksums of the files of the same scan over the embedded broker; raises RuntimeError if it fails."""
    scan = LocalScan(event, folder / "undisturbed", LEVELS, more=(*SEEDS, *DUMMY))
    with scan.running() as process:
        if process.wait(SCAN_SECONDS) != 0:
            raise RuntimeError(scan.folder.with_suffix(".log").read_text())
    return scan.digest()
