"""Options that several commands share, with the original scanner's names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

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
    return click.option("-n", "--name", required=required, help="Name of the scan; its topics are named after it.")


def broker(function: F) -> F:
    """``-b/--broker``."""
    return click.option(
        "-b",
        "--broker",
        "broker_url",
        default=DEFAULT_BROKER,
        show_default=True,
        envvar="SKYMAP_BROKER",
        help="Where the topics live: sqlite:///PATH, a file that any number of processes of this machine may share.",
    )(function)


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
