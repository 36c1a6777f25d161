"""Options that several commands share, with the names of the original scanner."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from skymap_api.names import RESULT_FORMATS, TopicBases
from skymap_scanner.errors import InputError

if TYPE_CHECKING:
    from skymap_scanner.event.selection import EventSelection

#: Environment variable with the folder in which workers record their tasks in flight.
STATE_VARIABLE = "SKYMAP_STATE"

F = TypeVar("F", bound=Callable[..., Any])


#: Longest time that an option accepts (s), as in the manifest: eleven days.
LONGEST_TIME = 1e6


class FiniteRange(click.FloatRange):
    """A range of numbers; every bound of `click.FloatRange` lets NaN pass, and one without a maximum infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number; `click.BadParameter` is raised if it is none, or out of the range."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class LevelsCommand(click.Command):
    """A command whose ``--levels 8:0 64:12 512:24`` may be written with blanks, unquoted."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Join the words of ``--levels`` before click parses them."""
        joined: list[str] = []
        for word in args:
            follows = len(joined) > 1 and joined[-2] == "--levels"
            if follows and re.fullmatch(r"\d+:(\d*\.\d+:)?\d+,?", word):
                joined[-1] += f" {word}"
            else:
                joined.append(word)
        return super().parse_args(ctx, joined)


def typed_options() -> dict[str, str]:
    """Return what the user typed: the names of parameters, each with its option as it is written (``--name``)."""
    context = click.get_current_context()
    typed = click.core.ParameterSource.COMMANDLINE
    options = [(one.name or "", one.opts[-1]) for one in context.command.params]
    return {name: option for name, option in options if context.get_parameter_source(name) is typed}


def reject_options_beside_manifest(*allowed: str) -> None:
    """Reject options that a manifest decides; ``allowed`` names the parameters that it does not.

    Raises
    ------
    click.UsageError
        If such an option was typed.
    """
    for name, option in typed_options().items():
        if name not in allowed:
            raise click.UsageError(f"{option} cannot be used with a manifest: set the field in the manifest instead")


def scan_name(*, required: bool) -> Callable[[F], F]:
    """``-n/--name`` of a scan on the broker."""

    def check(_context: click.Context, _option: click.Parameter, name: str | None) -> str | None:
        from skymap_scanner.roles.topics import check_name

        return None if name is None else check_name(name)

    text = "Name of the scan; its topics are named after it."
    return click.option("-n", "--name", required=required, callback=check, help=text)


#: Topics that are in the namespace of the tasks unless they are named, as those without an option are.
_BESIDE_TASKS = ("scanned", "collected")


def topics(*kinds: str) -> Callable[[F], F]:
    """Add the topic options of the original scanner: to_be_scanned, and some of scanned, collected and metadata.

    The command gets one dictionary, ``topic_bases``, arguments of `skymap_api.names.TopicBases`: the same for the same
    options, whichever of them a command has.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def with_topics(*arguments: Any, **options: Any) -> Any:
            given = {kind: options.pop(kind) for kind in kinds}
            namespace, slash, _ = given["to_be_scanned"].rpartition("/")
            bases = {kind: f"{namespace}{slash}{kind}" for kind in _BESIDE_TASKS}
            bases |= {kind: base for kind, base in given.items() if base is not None}
            return function(*arguments, topic_bases=bases, **options)

        decorated: Any = with_topics
        for kind in reversed(kinds):
            decorated = _topic(kind)(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def _topic(kind: str) -> Callable[[F], F]:
    letter, long, text = {
        "to_be_scanned": ("-t", "--topic_in", "tasks"),
        "scanned": ("-s", "--topic_out", "fits"),
        "collected": ("-c", "--topic_col", "best fits"),
        "metadata": ("-m", "--topic_meta", "the event's frames"),
    }[kind]
    ending = "a checksum is appended" if kind == "metadata" else "NAME- is put before its last part"
    text = f"Topic of {text}; {ending}."
    if kind in _BESIDE_TASKS:
        return click.option(letter, long, kind, help=f"{text}  [default: {kind}, in the namespace of -t]")
    return click.option(letter, long, kind, default=getattr(TopicBases(), kind), show_default=True, help=text)


def end_with_parent(function: F) -> F:
    """``--end-with-parent``, hidden: roles that ``run`` starts end when their standard input closes."""
    return click.option("--end-with-parent", is_flag=True, hidden=True)(function)


def result_formats(*, default: str = "all", of: Sequence[str] = RESULT_FORMATS) -> Callable[[F], F]:
    """``--format``: which results ``of`` these are written; ``default`` names those that are if it is not given."""
    return click.option(
        "--format",
        "formats",
        multiple=True,
        type=click.Choice(of),
        help=f"Write only this result format; may be repeated.  [default: {default}]",
    )


def levels(function: F) -> F:
    """``--levels``."""
    return click.option(
        "--levels",
        metavar="NSIDE:[PROBABILITY:]PARENTS...",
        help="Levels: each refines the best PARENTS pixels of the one before to NSIDE; with PROBABILITY, all that may "
        "hold this share, at most PARENTS, unless the area of the 90 % region is known.  "
        "[default: 4:0 8:0.9999:192 16:0.999:192 32:0.999:192 64:0.999:192 128:0.999:192 256:0.99:192 512:0.98:192]",
    )(function)


def event(function: F) -> F:
    """Which event of a file, and which of its pulses."""
    function = click.option(
        "--pulses",
        metavar="KEY",
        help="Key of the pulses to fit.  [default: SplitInIcePulses or SplitUncleanedInIcePulses]",
    )(function)
    return click.option(
        "--select",
        metavar="RUN/EVENT[/[STREAM/]SUB]",
        help="Event, or sub-event, to scan in a file that holds several.  [default: the first event with light, and "
        "of its sub-events the brightest]",
    )(function)


def scan(*, seeds: int, first_seeds: int | None) -> Callable[[F], F]:
    """Options that decide a scan's map; ``seeds``, ``first_seeds``: their defaults (None: as many as the seeds)."""

    def decorate(function: F) -> F:
        for option in reversed(_scan_options(seeds, first_seeds)):
            function = option(function)
        return function

    return decorate


def _scan_options(seeds: int, first_seeds: int | None) -> list[Callable[[F], F]]:
    return [
        levels,
        click.option("--seeds", type=int, default=seeds, show_default=True, help="Vertex seeds per pixel, 1 to 7."),
        click.option(
            "--first-seeds",
            type=int,
            default=first_seeds,
            help="Fit every pixel from so many of the seeds, and from the others where fits disagree or compete.  "
            f"[default: {first_seeds or 'all seeds'}]",
        ),
        click.option(
            "--area",
            metavar="NSIDE,PIXEL,COUNT",
            help="Scan only the COUNT first-level pixels nearest to the centre of this coarse pixel.",
        ),
        click.option(
            "--pixel-list", metavar="PIXELS", help="Scan only these pixels of the first level, such as 3,7,100-120."
        ),
        click.option("--reconstruction", default="millipede", show_default=True, help="Reconstruction to use."),
        parameters,
        click.option(
            "--keep-all-seeds", is_flag=True, help="Keep the fits of all seeds in the .i3 file, not only the best."
        ),
        calibrate,
        click.option(
            "--predictive",
            type=FiniteRange(0, 1, min_open=True),
            default=1.0,
            show_default=True,
            help="Start the next level on a guess once this fraction of a level is done; the map stays the same.",
        ),
    ]


def calibrate(function: F) -> F:
    """``--calibrate``."""
    return click.option(
        "--calibrate",
        type=int,
        default=0,
        metavar="N",
        help="Simulate the event again N times, 60 to 1000, each in other ice, and take the thresholds of its contours "
        "from the fits; needs a reconstruction that can fit a direction.  [default: the shipped calibration]",
    )(function)


def parameters(function: F) -> F:
    """``--parameter KEY=VALUE`` of the reconstruction."""
    return click.option(
        "--parameter",
        "parameters",
        multiple=True,
        metavar="KEY=VALUE",
        help="Parameter of the reconstruction; may be repeated.",
    )(function)


def timeout(text: str) -> Callable[[F], F]:
    """``--timeout SECONDS``, 120 s unless given."""
    return click.option(
        "--timeout", type=FiniteRange(0, LONGEST_TIME), default=120.0, show_default=True, metavar="SECONDS", help=text
    )


def as_json(text: str) -> Callable[[F], F]:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help=text)


def output_folder(**settings: Any) -> Callable[[F], F]:
    """``-o/--output``, a folder."""
    return click.option("-o", "--output", "folder", type=click.Path(file_okay=False, path_type=Path), **settings)


def parse_parameters(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` pairs; a value is JSON, or else text.

    Raises
    ------
    InputError
        If a pair has no equals sign, or is not Unicode.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise InputError(f"--parameter {pair!r} is not KEY=VALUE")
        values[key] = json_or_text(value)
    return values


def json_or_text(text: str) -> Any:
    """Return the JSON value that ``text`` holds, or ``text`` if it is not JSON, such as NaN.

    Raises
    ------
    InputError
        If it holds bytes, or escapes, that are not Unicode, or a number too large for a float, or is nested too deeply.
    """
    try:
        value = json.loads(text, parse_constant=_reject_constant)
    except ValueError:
        value = text
    except RecursionError as error:
        raise InputError(f"{text[:20]}… is nested too deeply for a value") from error
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{text!r} is not text in UTF-8: write it in UTF-8") from error
    except ValueError as error:
        raise InputError(f"{text!r} holds a number that is too large") from error
    return value


def _reject_constant(name: str) -> NoReturn:
    """Reject what Python's JSON has and JSON has not: NaN, Infinity and -Infinity."""
    raise ValueError(name)


def parse_select(text: str | None) -> EventSelection | None:
    """Read which event of a file is meant.

    Raises
    ------
    InputError
        If it is not RUN/EVENT, RUN/EVENT/SUB or RUN/EVENT/STREAM/SUB.
    """
    from skymap_scanner.event.selection import EventSelection

    try:
        return None if text is None else EventSelection.parse(text)
    except InputError as error:
        raise InputError(f"--select {error}") from None


def letter(function: F) -> F:
    """``--letter``."""
    return click.option(
        "--letter",
        metavar="X",
        help="Name the event IceCube-YYMMDDX, after its UTC date: X counts the events of a day, from A.",
    )(function)


def parse_circle(text: str) -> tuple[float, float, float]:
    """Read ``RA,DEC,RADIUS`` (deg); raises InputError if these are not three numbers."""
    try:
        ra, dec, radius = map(float, text.split(","))
    except ValueError as error:
        raise InputError(f"--circle {text!r} is not RA,DEC,RADIUS: three numbers, deg") from error
    return ra, dec, radius
