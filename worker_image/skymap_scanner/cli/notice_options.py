"""Options of the commands that send notices."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from skymap_scanner.cli.notices import NoticeOptions, Notices

F = TypeVar("F", bound=Callable[..., Any])

#: The parameters of `with_notices`; what they decide is not part of a scan, nor of its manifest.
NOTICE_PARAMETERS = ("notify", "results_url", "alert_tense")
#: Kinds of destinations; the same as `notices.documents.DOCUMENTS`, whose import takes a second.
KINDS = "webhook[=URL], cloudevents[=URL], slack or gcn[=TOPIC]"


def with_notices(option: str, *, required: bool, text: str) -> Callable[[F], F]:
    """Add the options of notices; the command gets ``notice_options``, a function that reads them, or None."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def with_options(*arguments: Any, **options: Any) -> Any:
            given = {name: options.pop(name) for name in NOTICE_PARAMETERS}
            if not given["notify"] and any(given.values()):
                raise click.UsageError("--results-url and --alert-tense are for notices: give --notify too")
            read = functools.partial(_read, **given) if given["notify"] else None
            return function(*arguments, notice_options=read, **options)

        decorated: Any = with_options
        for one in reversed(_options(option, required, text)):
            decorated = one(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def _options(option: str, required: bool, text: str) -> list[Callable[[F], F]]:
    return [
        click.option(
            option,
            "notify",
            multiple=True,
            required=required,
            metavar="DESTINATION",
            help=f"{text} {KINDS}; may be repeated.",
        ),
        click.option(
            "--results-url",
            metavar="URL",
            default="",
            help="Where the result files will be published: notices link to map, picture and report there.",
        ),
        click.option(
            "--alert-tense",
            type=click.Choice(["current", "archival", "test"]),
            help="How notices are marked: archival is a new analysis of an old event. Those of events that "
            "this scanner simulated are always tests.  [default: current]",
        ),
    ]


def _read(notify: tuple[str, ...], results_url: str, alert_tense: Any, *, checked: bool = True) -> NoticeOptions:
    """Return the options; unless ``checked``, addresses and secrets may be missing. Raises InputError."""
    from skymap_scanner.cli.notices import read_options

    return read_options(notify, results_url, alert_tense, checked=checked)


def discard_unsent(folder: Path) -> None:
    """Remove the unsent notices of a deleted scan, except retractions; raises InputError as `open_outbox`."""
    if (folder / "notices.json").exists():
        from skymap_scanner.notices.outbox import open_outbox

        with open_outbox(folder) as outbox:
            outbox.discard_unsent()


@contextmanager
def notices_of(folder: Path, options: NoticeOptions | None) -> Iterator[Notices | None]:
    """Open the notices of a folder; None without options, which saves slow imports before the first fit."""
    if options is None:
        yield None
        return
    from skymap_scanner.cli.notices import Notices

    with Notices(folder, options) as notices:
        yield notices
