"""The live page of a scan that ``run`` makes, in a process of its own, so that no fault of it ends the scan."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from skymap_api.progress import Progress
from skymap_scanner.cli.page import address, listen
from skymap_scanner.errors import InputError
from skymap_scanner.roles.local.local import LocalScan, broker_arguments
from skymap_scanner.roles.local.local_role import child_environment
from skymap_scanner.roles.stop import Stop

log = logging.getLogger(__name__)

#: Time for open pages to load the report at the end of the scan, and for the server to end once told to (s).
REPORT_TIME, END_TIME = 20.0, 3.0


class PageProcess:
    """The server of the page. Without a process, as it did not start or has ended, its methods do nothing."""

    def __init__(self, process: subprocess.Popen[bytes] | None, log_file: Path) -> None:
        self._process = process
        self._log_file = log_file
        self._until = 0.0

    def watching(self, show: Callable[[Progress], None]) -> Callable[[Progress], None]:
        """Return a function that shows the progress, and warns once if the server has ended."""

        def both(progress: Progress) -> None:
            self._check()
            show(progress)

        return both

    def _check(self) -> None:
        if self._process is not None and (code := self._process.poll()) is not None:
            log.warning("the live page has ended (exit code %d); the scan goes on. Its log: %s", code, self._log_file)
            self._close()

    def show_report(self) -> None:
        """Tell the server that the scan has ended: it ends once the open pages have loaded the report."""
        self._until = time.monotonic() + REPORT_TIME
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def finish(self, stop: Stop) -> None:
        """Wait until open pages have loaded the report, or a stop is requested, then end the server."""
        while self._process is not None and self._process.poll() is None and not stop.wait(0.05):
            if time.monotonic() > self._until:
                log.warning("the live page does not end; it is stopped")
                break
        self.end()

    def end(self) -> None:
        """End the server now, if it runs."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(END_TIME)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close()

    def _close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None


@contextmanager
def live_page(scan: LocalScan, port: int | None) -> Iterator[PageProcess]:
    """Start the page of a scan and print its address; ``port``: 0 for any that is free, None for no page.

    A page that cannot be started is a warning.
    """
    log_file = scan.folder / "logs" / "page.log"
    process = None
    if port is not None:
        try:
            process = _start(scan, port, log_file)
        except (OSError, InputError) as error:
            log.warning("there is no live page: %s", error)
    page = PageProcess(process, log_file)
    try:
        yield page
    finally:
        page.end()


def _start(scan: LocalScan, port: int, log_file: Path) -> subprocess.Popen[bytes]:
    name = scan.settings.name
    with listen(port) as listener:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        words = ["page", name, *broker_arguments(scan.broker, scan.access), "--listener", str(listener.fileno())]
        with log_file.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-P", "-m", "skymap_scanner", *words],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[listener.fileno()],
                env=child_environment(),
            )
        click.echo(f"Live page: {address(listener, name)}", err=True)
    return process
