"""``skymap-scanner page``."""

from __future__ import annotations

import os
import socket
import sys
from threading import Event, Thread
from typing import TYPE_CHECKING

import click

from skymap_scanner.cli import options
from skymap_scanner.cli.broker_options import BrokerOptions, with_broker
from skymap_scanner.errors import InputError

if TYPE_CHECKING:
    from skymap_scanner.broker import Broker

#: Added to the niceness of a page beside a scan, so that the workers come first.
NICENESS = 5


@click.command()
@click.argument("scan", required=False)
@with_broker()
@options.topics("metadata", "collected", "to_be_scanned")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port of this machine.  [default: one that is free]"
)
@click.option("--listener", type=int, hidden=True, help="Descriptor of a socket that listens already, from `run`.")
def command(
    scan: str | None, broker_options: BrokerOptions, topic_bases: dict[str, str], port: int, listener: int | None
) -> int:
    """Serve a web page that shows SCAN while it runs, and its report once it has ended; Ctrl-C ends it.

    Without SCAN, the page lists all scans on the broker. It is for browsers on this machine, and only reads: the scan
    does not notice it.

    \b
    Examples:
        skymap-scanner page myscan --broker pulsar://localhost:6650
        skymap-scanner page --broker pulsar://localhost:6650 --port 8000
    """
    opened = listen(port) if listener is None else socket.socket(fileno=listener)

    from skymap_api.names import TopicBases
    from skymap_scanner.live.scans import Scans
    from skymap_scanner.live.server import LocalPages, serve
    from skymap_scanner.roles.stop import Stop
    from skymap_scanner.roles.topics import check_name

    def open_broker() -> Broker | None:
        return broker_options.open() if broker_options.exists else None

    stop, scan_ended = Stop().on_signals(), Event()
    if listener is None:
        click.echo(f"The page is at {address(opened, scan)} until Ctrl-C.")
    else:
        os.nice(NICENESS)
        Thread(target=_wait_for_parent, args=(scan_ended,), daemon=True).start()
    scans = Scans(open_broker, TopicBases(**topic_bases), None if scan is None else check_name(scan))
    try:
        serve(opened, LocalPages(scans), stop, scan_ended)
    finally:
        scans.close()
    return stop.exit_code if stop.requested else 0


def check_installed() -> None:
    """Check that the server's library is there; raises InputError if it is not."""
    from importlib.util import find_spec

    if find_spec("aiohttp") is None:
        raise InputError("the live page needs aiohttp: pip install 'skymap-scanner[page]'")


def listen(port: int, host: str = "127.0.0.1") -> socket.socket:
    """Return a socket that listens, by default on this machine alone; port 0: any that is free.

    ``::`` stands for all addresses, of IPv4 too. Raises InputError if the address or port cannot be used, or the
    server's library is missing.
    """
    check_installed()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=64, dualstack_ipv6=host == "::")
    except OSError as error:
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror or "no such address"  # gaierror's are negative
        raise InputError(f"address {where} cannot be used ({reason}): choose another one") from error


def all_addresses() -> str:
    """Return the host that stands for all addresses of this machine, where it has IPv6 or not."""
    return "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - for a pod


def address(listener: socket.socket, scan: str | None) -> str:
    """Return the address of the page of a scan, or of all scans."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}/{'' if scan is None else f'scans/{scan}/'}"


def _wait_for_parent(scan_ended: Event) -> None:
    """Wait until the standard input closes: the scan that this page is for has ended, or its process has."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    scan_ended.set()
