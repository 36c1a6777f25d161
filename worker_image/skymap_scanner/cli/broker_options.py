"""Options that say where the broker is and how to authenticate there."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from skymap_scanner.broker import Access, Broker, open_broker
from skymap_scanner.broker.access import embedded_url, is_embedded, path_of_url
from skymap_scanner.cli.options import typed_options

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_BROKER = "sqlite:///scan.sqlite"


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """The broker's URL and credentials; ``url`` is empty if none was given, which only ``run`` allows."""

    url: str
    access: Access = field(default_factory=Access)

    def open(self) -> Broker:
        """Open the broker; see `skymap_scanner.broker.open_broker`."""
        return open_broker(self.url, self.access)

    def absolute(self) -> BrokerOptions:
        """Return them with the path of an embedded broker made absolute."""
        if not is_embedded(self.url):
            return self
        return BrokerOptions(embedded_url(path_of_url(self.url)), self.access)

    @property
    def exists(self) -> bool:
        """Whether the broker can be read without creating it: the file of an embedded broker exists."""
        return not is_embedded(self.url) or path_of_url(self.url).exists()


def token_file(context: click.Context, option: click.Parameter, value: str | None) -> Path | None:  # noqa: ARG001 - click's signature
    """Return the path of the file that holds the token. The value is never printed: it may be the token itself."""
    if value is None:
        return None
    if looks_like_token(value):
        raise click.BadParameter(
            "every user of the machine can read a token on a command line: "
            "put it in a file, or in the environment variable SKYMAP_AUTH_TOKEN"
        )
    if not Path(value).is_file():
        raise click.BadParameter("no such file: give the path of a file that holds the token")
    return Path(value)


def looks_like_token(value: str) -> bool:
    """Return whether ``value`` is a token (a JWT, or with Pulsar's prefix ``token:``) and not the path of its file."""
    return value.startswith("token:") or re.fullmatch(r"ey[\w-]+\.[\w-]+\.[\w-]*", value) is not None


def _pem_option(name: str, parameter: str, text: str) -> Callable[[F], F]:
    variable = f"SKYMAP_{name.removeprefix('--').replace('-', '_').upper()}"
    pem = click.Path(exists=True, dir_okay=False, path_type=Path)
    return click.option(name, parameter, type=pem, envvar=variable, show_envvar=True, help=text)


_ACCESS: dict[str, Callable[..., Any]] = {
    "admin_url": click.option(
        "--admin-url",
        metavar="URL",
        envvar="SKYMAP_ADMIN_URL",
        show_envvar=True,
        help="Pulsar's admin interface; further brokers after commas.  [default: http://HOST:8080, or "
        "https://HOST:8443 with pulsar+ssl]",
    ),
    "token_file": click.option(
        "-a",
        "--auth-token",
        "token_file",
        metavar="FILE",
        callback=token_file,
        envvar="SKYMAP_AUTH_TOKEN_FILE",
        show_envvar=True,
        help="File with the token for Pulsar; SKYMAP_AUTH_TOKEN may hold the token itself instead.",
    ),
    "trusted": _pem_option("--tls-trust-certs", "trusted", "Certificates (PEM) to trust instead of the system's."),
    "certificate": _pem_option("--tls-certificate", "certificate", "Client certificate (PEM) for Pulsar."),
    "key": _pem_option("--tls-key", "key", "Private key (PEM) of the client certificate."),
}

#: The parameters of a command that say where the broker is.
BROKER_PARAMETERS = ("broker_url", *_ACCESS)


def with_broker(*, required: bool = True) -> Callable[[F], F]:
    """Add ``-b/--broker`` and the credentials; the command gets one `BrokerOptions`, ``broker_options``.

    Unless ``required``, the URL is empty if none is given: the command then has a broker of its own.
    """
    address = "pulsar://HOST:6650, pulsar+ssl://HOST:6651, or sqlite:///PATH"
    text = (
        f"Broker of the scan: {address}, a file that any number of processes on this machine may share."
        if required
        else f"Broker to share with other scans and workers: {address}.  [default: a file in the output folder]"
    )
    url = click.option(
        "-b",
        "--broker",
        "broker_url",
        metavar="URL",
        default=DEFAULT_BROKER if required else "",
        show_default=required,
        envvar="SKYMAP_BROKER",
        show_envvar=True,
        help=text,
    )

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def with_options(*arguments: Any, broker_url: str, **options: Any) -> Any:
            access = {name: options.pop(name) for name in _ACCESS}
            return function(*arguments, broker_options=_checked(broker_url, access), **options)

        decorated: Any = with_options
        for option in reversed([url, *_ACCESS.values()]):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def _checked(url: str, access: dict[str, Any]) -> BrokerOptions:
    """Reject options that contradict each other, before anything is opened."""
    for option, address in (("--broker", url), ("--admin-url", access["admin_url"])):
        if _has_credentials(address or ""):
            raise click.UsageError(
                f"{option}: every user of the machine can read credentials in a URL: "
                "put the token in a file and give --auth-token FILE"
            )
    if not url or is_embedded(url):
        for name, option in typed_options().items():  # environment variables may be meant for another broker
            if name in _ACCESS:
                raise click.UsageError(f"{option} is for Pulsar: remove it, or give --broker pulsar://HOST:6650")
        return BrokerOptions(url)
    if (access["certificate"] is None) != (access["key"] is None):
        raise click.UsageError("--tls-certificate and --tls-key belong together: give both")
    return BrokerOptions(url, Access(**access))


def _has_credentials(url: str) -> bool:
    return "@" in url.partition("://")[2].partition("/")[0]
