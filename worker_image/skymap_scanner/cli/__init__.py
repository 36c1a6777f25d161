"""The command line: ``skymap-scanner COMMAND …``; one module per command, imported only when it is called.

As in the original scanner, options may precede the command: ``IMAGE -b URL -n NAME producer EVENT``.
`skymap_api.exit_codes` explains the exit codes.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import logging
import sys
import traceback
from collections.abc import Sequence
from itertools import compress
from operator import not_

import click

from skymap_api.exit_codes import ExitCode
from skymap_api.home import ensure_home
from skymap_api.log_format import safe_handler
from skymap_api.standard_streams import guarded_streams
from skymap_api.text import printable
from skymap_scanner import __version__
from skymap_scanner.errors import (
    BrokerUnavailable,
    ClusterUnavailable,
    SkymapError,
    SoftwareMismatchError,
    TooLittleMemoryError,
)

#: The commands, in the order of the work, with one line of help each, so that ``--help`` imports none of them.
COMMANDS = {
    "run": "Scan one event on this machine, from event file to sky map.",
    "simulate": "Simulate an event with a known direction.",
    "producer": "Read the event, plan the levels, send the tasks.",
    "worker": "Fit tasks, one at a time, until stopped.",
    "collector": "Pass on the best fit of every pixel.",
    "saver": "Write the .i3 file and the results.",
    "save": "Write the files of a scan now, complete or not.",
    "watch": "Show the progress of a scan live.",
    "page": "Serve a web page that shows scans live.",
    "cluster-page": "Serve a web page of a cluster's scans to its users.",
    "topics": "Create, list and delete the topics of scans.",
    "submit": "Have a Kubernetes cluster scan an event.",
    "status": "Show the scans of a cluster, or everything about one.",
    "logs": "Print the logs of a scan's pods.",
    "fetch": "Copy the results of a scan from its cluster.",
    "abort": "Stop, resume or delete a scan on a cluster.",
    "show": "Print the frames and objects of an .i3 file.",
    "convert": "Decode and encode an .i3 file, or change its compression.",
    "plot": "Draw the pictures of a result file, or write it in other formats.",
    "report": "Write the report of a scan, or an index of reports.",
    "notify": "Send a notice about a scan, or its retraction.",
    "circular": "Print the draft of a GCN circular about a scan.",
    "compare": "Compare two maps: distance, overlap of the regions, agreement.",
    "inside": "Print the probability of a map inside a field of view or a MOC.",
    "sources": "List the sources of a catalogue that lie in the regions of a scan.",
    "compile": "Compile the reconstruction now instead of at the first fit.",
}
GROUP_FLAGS = {"--debug", "--version", "--help", "-h"}


class Commands(click.Group):
    """Finds a command by name without importing the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"skymap_scanner.cli.{cmd_name.replace('-', '_')}")
        command = module.command
        assert isinstance(command, click.Command)  # noqa: S101 - for the type checker
        command.name = cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the commands with their lines of help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="skymap-scanner")
@click.option("--debug", is_flag=True, help="Print a traceback with errors, and log everything.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    envvar="SKYMAP_LOG_LEVEL",
    help="Least severe messages to log to standard error.",
)
def group(debug: bool, log_level: str) -> None:
    """Scan the sky for the direction of a neutrino alert.

    \b
    Scan one event on this machine:
        skymap-scanner run event.json -o result/
    Every command has its own help and example:
        skymap-scanner run --help
    """
    logging.basicConfig(level=logging.DEBUG if debug else log_level.upper(), handlers=[safe_handler()])
    for chatty in ("numba", "matplotlib", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def command_first(arguments: Sequence[str], commands: click.Group) -> list[str]:
    """Move the command in front of the options that precede it, except the options of the group itself."""
    for place, word in enumerate(arguments):
        command = commands.get_command(click.Context(commands), word)
        if command is None or (place and _takes_value(arguments[place - 1], command)):
            continue  # not a command, or the value of an option
        before = arguments[:place]
        of_group = [
            one in GROUP_FLAGS or "--log-level" in {one.partition("=")[0], last}
            for last, one in zip(["", *before], before, strict=False)
        ]
        return [*compress(before, of_group), word, *compress(before, map(not_, of_group)), *arguments[place + 1 :]]
    return list(arguments)


def _takes_value(word: str, command: click.Command) -> bool:
    commands = command.commands.values() if isinstance(command, click.Group) else [command]
    flags = {
        name for one in commands for option in one.params if getattr(option, "is_flag", False) for name in option.opts
    }
    return word.startswith("-") and "=" not in word and word not in GROUP_FLAGS | flags


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with one of the exit codes."""
    atexit.register(gc.freeze)  # else Python looks for garbage in what numba and astropy leave, for up to 0.3 s
    with guarded_streams():
        ensure_home()
        _main(arguments)


def _main(arguments: Sequence[str] | None) -> None:
    words = command_first(sys.argv[1:] if arguments is None else arguments, group)
    if "--debug" in words:  # also behind the command
        words = ["--debug", *(word for word in words if word != "--debug")]
    try:
        code = group.main(words, prog_name="skymap-scanner", standalone_mode=False)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        click.echo(printable(shown.getvalue()), err=True, nl=False)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    except SkymapError as error:
        _report("Error", error, words)
        sys.exit(_exit_code(error))
    except Exception as error:  # noqa: BLE001 - the last place where an error can be reported
        _report("Internal error, please report it", error, words)
        sys.exit(ExitCode.INTERNAL_ERROR)
    sys.exit(code if isinstance(code, int) else ExitCode.DONE)


def _exit_code(error: SkymapError) -> ExitCode:
    if isinstance(error, BrokerUnavailable | ClusterUnavailable):
        return ExitCode.UNAVAILABLE
    if isinstance(error, TooLittleMemoryError):
        return ExitCode.TOO_LITTLE_MEMORY
    return ExitCode.OTHER_SOFTWARE if isinstance(error, SoftwareMismatchError) else ExitCode.ERROR


def _report(what: str, error: Exception, words: Sequence[str]) -> None:
    if "--debug" in words:
        click.echo(printable(traceback.format_exc()), err=True, nl=False)
    kind = "" if isinstance(error, SkymapError) else f"{type(error).__name__}: "
    click.echo(printable(f"{what}: {kind}{error}"), err=True)
