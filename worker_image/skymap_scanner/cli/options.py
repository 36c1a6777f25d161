"""Options that several commands share, with the original scanner's names."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from skymap_scanner.broker import Access, Broker, open_broker
from skymap_scanner.broker.url import embedded_url, is_embedded, path_of_url
from skymap_scanner.errors import InputError

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_BROKER = "sqlite:///scan.sqlite"
ORIGINAL = "persistent://icecube"


class LevelsCommand(click.Command):
    """A command whose ``--levels 8:0 64:12 512:24`` may be written with blanks, unquoted."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Join the words of ``--levels`` before they are parsed."""
        joined: list[str] = []
        for word in args:
            follows = len(joined) > 1 and joined[-2] == "--levels"
            if follows and re.fullmatch(r"\d+:\d+,?", word):
                joined[-1] += f" {word}"
            else:
                joined.append(word)
        return super().parse_args(ctx, joined)


def scan_name(required: bool) -> Callable[[F], F]:
    """``-n/--name``."""

    def check(_context: click.Context, _option: click.Parameter, name: str | None) -> str | None:
        from skymap_scanner.roles.topics import check_name

        return None if name is None else check_name(name)

    what = "Name of the scan; its topics are named after it."
    return click.option("-n", "--name", required=required, callback=check, help=what)


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """What a command was told of the broker; ``url`` is empty where none was named (only ``run`` allows that)."""

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
        """Whether there is a broker to look into: an embedded one begins with its first scan."""
        return not is_embedded(self.url) or path_of_url(self.url).exists()


def token_file(context: click.Context, option: click.Parameter, value: str | None) -> Path | None:  # noqa: ARG001 - click's signature
    """Take the path of the file that holds the token. What was given is never printed: it may be the token itself."""
    if value is None:
        return None
    if looks_like_token(value):
        raise click.BadParameter(
            "tokens on a command line can be read by every user of the machine: "
            "put it in a file, or in the environment variable SKYMAP_AUTH_TOKEN"
        )
    if not Path(value).is_file():
        raise click.BadParameter("there is no such file: give the path of a file that holds the token")
    return Path(value)


def looks_like_token(value: str) -> bool:
    """Tell whether ``value`` is a token (a JWT, or with Pulsar's prefix ``token:``) and not the path of its file."""
    return value.startswith("token:") or re.fullmatch(r"ey[\w-]+\.[\w-]+\.[\w-]*", value) is not None


_PEM = click.Path(exists=True, dir_okay=False, path_type=Path)
_ACCESS = {
    "admin_url": click.option(
        "--admin-url",
        metavar="URL",
        envvar="SKYMAP_ADMIN_URL",
        show_envvar=True,
        help="Pulsar's admin interface.  [default: http://HOST:8080, https://HOST:8443 beside pulsar+ssl]",
    ),
    "token_file": click.option(
        "-a",
        "--auth-token",
        "token_file",
        metavar="FILE",
        callback=token_file,
        envvar="SKYMAP_AUTH_TOKEN_FILE",
        show_envvar=True,
        help="File that holds the token for Pulsar; without it, SKYMAP_AUTH_TOKEN may hold the token.",
    ),
    "trusted": click.option(
        "--tls-trust-certs",
        "trusted",
        type=_PEM,
        envvar="SKYMAP_TLS_TRUST_CERTS",
        show_envvar=True,
        help="Certificates (PEM) to trust instead of the system's.",
    ),
    "certificate": click.option(
        "--tls-certificate",
        "certificate",
        type=_PEM,
        envvar="SKYMAP_TLS_CERTIFICATE",
        show_envvar=True,
        help="Certificate (PEM) that says who we are.",
    ),
    "key": click.option(
        "--tls-key", "key", type=_PEM, envvar="SKYMAP_TLS_KEY", show_envvar=True, help="Its private key (PEM)."
    ),
}

#: The parameters of a command that say where the broker is.
BROKER_PARAMETERS = ("broker_url", *_ACCESS)


def broker(function: F) -> F:
    """``-b/--broker`` and how to be let in; the command gets one `BrokerOptions`, ``broker_options``."""
    return _broker(
        function,
        default=DEFAULT_BROKER,
        text="Where the topics live: pulsar://HOST:6650, pulsar+ssl://HOST:6651, or sqlite:///PATH, a file that any "
        "number of processes of this machine may share.",
    )


def shared_broker(function: F) -> F:
    """Give `broker` to ``run``, which has one of its own where none is named."""
    return _broker(
        function,
        default="",
        text="Scan over this broker: pulsar://HOST:6650, pulsar+ssl://HOST:6651 or sqlite:///PATH.  "
        "[default: one of this scan alone, in its folder]",
    )


def _broker(function: F, default: str, text: str) -> F:
    @functools.wraps(function)
    def with_broker(*arguments: Any, broker_url: str, **options: Any) -> Any:
        access = {name: options.pop(name) for name in _ACCESS}
        return function(*arguments, broker_options=_checked(broker_url, access), **options)

    where = click.option(
        "-b",
        "--broker",
        "broker_url",
        metavar="URL",
        default=default,
        show_default=bool(default),
        envvar="SKYMAP_BROKER",
        show_envvar=True,
        help=text,
    )
    decorated: Any = with_broker
    for option in reversed([where, *_ACCESS.values()]):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def _checked(url: str, access: dict[str, Any]) -> BrokerOptions:
    """Check what belongs together, before anything is opened."""
    for option, address in (("--broker", url), ("--admin-url", access["admin_url"])):
        if _has_credentials(address or ""):
            raise click.UsageError(
                f"{option}: every user of the machine can read credentials in a URL: "
                "put the token in a file and give --auth-token FILE"
            )
    if not url or is_embedded(url):
        context = click.get_current_context()
        for one in context.command.params:  # from the environment they may be meant for another broker
            if one.name in _ACCESS and _is_typed(context, one.name):
                raise click.UsageError(f"{one.opts[-1]} is for Pulsar: a broker in a file needs none")
        return BrokerOptions(url)
    if (access["certificate"] is None) != (access["key"] is None):
        raise click.UsageError("--tls-certificate and --tls-key belong together: give both")
    return BrokerOptions(url, Access(**access))


def _has_credentials(url: str) -> bool:
    return "@" in url.partition("://")[2].partition("/")[0]


def _is_typed(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def topic(kind: str) -> Callable[[F], F]:
    """One of the original's topic options: to_be_scanned, scanned, collected or metadata."""
    letter, long, last, text = {
        "to_be_scanned": ("-t", "--topic_in", "skymap/to_be_scanned", "tasks"),
        "scanned": ("-s", "--topic_out", "skymap/scanned", "fits"),
        "collected": ("-c", "--topic_col", "skymap/collected", "best fits"),
        "metadata": ("-m", "--topic_meta", "skymap_metadata/mf_", "the event's frames"),
    }[kind]
    ending = "its checksum is appended" if kind == "metadata" else "NAME- is put in front of its last part"
    return click.option(
        letter, long, kind, default=f"{ORIGINAL}/{last}", show_default=True, help=f"Topic of {text}; {ending}."
    )


def end_with_parent(function: F) -> F:
    """``--end-with-parent``, hidden: roles that ``run`` starts end when their standard input closes."""
    return click.option("--end-with-parent", is_flag=True, hidden=True)(function)


def parse_parameters(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` pairs; a value is JSON, or text where it is not.

    Raises
    ------
    InputError
        If a pair has no equals sign.
    """
    parameters: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise InputError(f"--parameter {pair!r} is not KEY=VALUE")
        try:
            parameters[key] = json.loads(value)
        except ValueError:
            parameters[key] = value
    return parameters


def event_options(function: F) -> F:
    """Which event of a file, and which of its pulses."""
    function = click.option(
        "--pulses", help="Key of the pulses to fit.  [default: SplitInIcePulses or SplitUncleanedInIcePulses]"
    )(function)
    return click.option(
        "--select", metavar="RUN/EVENT", help="Which event of a file that holds several.  [default: the first]"
    )(function)


def parse_select(text: str | None) -> tuple[int, int] | None:
    """Read ``RUN/EVENT``.

    Raises
    ------
    InputError
        If it is not two numbers.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,10})/(\d{1,10})", text)
    if match is None:
        raise InputError(f"--select {text!r} is not RUN/EVENT (such as 138632/31747601)")
    return int(match[1]), int(match[2])


def scan_options(function: F) -> F:
    """Everything that decides a scan's map."""
    for option in reversed(
        [
            click.option(
                "--levels",
                help="NSIDE:PARENTS of each level: refine the best PARENTS pixels to NSIDE [default: 8:0 64:12 512:24]",
            ),
            click.option("--seeds", type=int, default=7, show_default=True, help="Vertex seeds per pixel, 1 to 7."),
            click.option(
                "--area",
                help="COARSE_NSIDE,COARSE_PIXEL,PIXELS: only the pixels nearest to a coarse one (first level).",
            ),
            click.option("--pixel-list", help="Only these pixels of the first level: 3,7,100-120."),
            click.option("--reconstruction", default="millipede", show_default=True, help="What fits a task."),
            click.option(
                "--parameter",
                "parameters",
                multiple=True,
                metavar="KEY=VALUE",
                help="A parameter of the reconstruction; may be repeated.",
            ),
            click.option(
                "--keep-all-seeds", is_flag=True, help="Keep the fits of all seeds in the .i3 file, not only the best."
            ),
            click.option(
                "--predictive",
                type=click.FloatRange(0, 1, min_open=True),
                default=1.0,
                show_default=True,
                help="Start the next level on a guess when this fraction of a level is done. The map stays the same.",
            ),
        ]
    ):
        function = option(function)
    return function
