"""The notices of one folder with results: how `run`, `saver` and `notify` use its outbox."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import click

from skymap_api.exit_codes import ExitCode
from skymap_api.text import printable_line
from skymap_scanner.cli.report import result_files, results_in
from skymap_scanner.errors import InputError
from skymap_scanner.notices.channel import Channel
from skymap_scanner.notices.destination import Destination, parse_destination, parse_kind, url_parts
from skymap_scanner.notices.gcn_settings import topic_of
from skymap_scanner.notices.http_channel import HttpChannel
from skymap_scanner.notices.notice import (
    Notice,
    NoticeType,
    Tense,
    chosen_tense,
    links_of,
    summary_of_event,
    summary_of_result,
    utc_now,
    without_map,
)
from skymap_scanner.notices.outbox import Entry, Outbox, open_outbox
from skymap_scanner.notices.sender import Sender
from skymap_scanner.results import ScanResult
from skymap_scanner.results.naming import is_named_by_date, named_by_date
from skymap_scanner.roles.saver.scan_state import event_metadata
from skymap_scanner.scan.plan_entries import EventFacts

log = logging.getLogger(__name__)

#: How long attempts are repeated after the last fit (s).
FINISH_SECONDS = 120.0


@dataclass(frozen=True)
class NoticeOptions:
    """Where notices go, where the results will be published, and how notices are marked (None: as current)."""

    destinations: tuple[Destination, ...]
    results_url: str = ""
    tense: Tense | None = None

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each destination by its label."""
        return {one.label: one.kind for one in self.destinations}


def read_options(texts: tuple[str, ...], results_url: str, tense: Tense | None, *, checked: bool) -> NoticeOptions:
    """Read what the user gave; raises InputError if a destination or the URL is invalid."""
    if results_url:
        _check_results_url(results_url)
    read = [parse_destination(text, os.environ) if checked else parse_kind(text) for text in dict.fromkeys(texts)]
    if sum(one.kind == "gcn" for one in read) > 1:
        raise InputError("gcn is given twice: whoever reads two topics would get each notice twice")
    return NoticeOptions(tuple(read), results_url, tense)


def _check_results_url(url: str) -> None:
    """Raise InputError, without the URL, unless it is valid and may be published."""
    parts = url_parts(url)
    if parts is None or parts.scheme not in ("http", "https"):
        raise InputError("--results-url must begin with https:// or http://, and be a valid URL")
    if parts.username is not None or parts.password is not None or "?" in url or "#" in url:
        raise InputError("--results-url is published: it must not hold a user, a password, a query or a fragment")


class Notices:
    """The notices of a folder while a command runs.

    Raises InputError if another process sends from this folder, or its outbox is invalid.
    """

    def __init__(self, folder: Path, options: NoticeOptions) -> None:
        self._folder, self._options = folder, options
        self._stack = ExitStack()
        self._result_added = False

    def __enter__(self) -> Self:
        self._outbox = self._stack.enter_context(open_outbox(self._folder))
        self._outbox.retry_failed(self._options.kinds)
        self._sender = Sender(self._outbox, _channels(self._options), _show)
        self._sender.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def begin(self, event: EventFacts) -> None:
        """Send the initial notice of an event whose scan begins, unless it has been sent."""
        summary, fields = summary_of_event(event_metadata(event))
        made = Notice("initial", chosen_tense(summary, self._options.tense), 0, "", summary, fields)
        notice = next_notice(self._outbox, made)
        # An update would mean that the event has notices already.
        if notice.type == "initial" and not is_retracted(self._outbox, notice.event_id):
            self._add(notice)

    def mapped(self, source: Path | None = None) -> None:
        """Send the result without waiting: its JSON or npz file is there, and the other files are still being made.

        A notice with links waits for these files, and an error for `end`, which tries again.
        """
        if self._result_added or self._options.results_url:
            return
        try:
            self._add_result(source)
        except InputError as error:
            log.info("no notice about the result yet: %s", error)

    def end(self, source: Path | None = None, stopped: Callable[[], bool] = lambda: False) -> ExitCode:
        """Send the result in the folder, or that of a file, unless it has been sent; wait until everything is sent.

        The result of an event that was retracted is not sent: only people take that back, with `send`. Returns ERROR if
        a destination refused a notice, UNAVAILABLE if one has not answered yet. ``stopped``: whether to wait no longer.
        """
        try:
            if not self._result_added:
                self._add_result(source)
        except InputError:
            self._finish(stopped)  # the initial notice may still be on its way
            raise
        return self._finish(stopped)

    def send(self, notice: Notice, stopped: Callable[[], bool] = lambda: False) -> ExitCode:
        """Send a notice, and what the outbox still holds for the same destinations; see `end`."""
        self._add_or_explain(notice)
        return self._finish(stopped)

    def _add_result(self, source: Path | None) -> None:
        notice = notice_of_result(self._outbox, source or self._folder, self._options)
        if is_retracted(self._outbox, notice.event_id):
            click.echo(
                f"Event {notice.event_id} was retracted, so no notice of its result is sent; "
                "skymap-scanner notify --comment sends one.",
                err=True,
            )
        else:
            self._add_or_explain(notice)
        self._result_added = True

    def _add_or_explain(self, notice: Notice) -> None:
        if not self._add(notice):
            click.echo(f"Notice {notice.key} was added to the outbox before, and is sent once.", err=True)

    def _add(self, notice: Notice) -> list[Entry]:
        """Add a notice to the outbox; raises InputError if GCN's topic is for other events."""
        topics(notice, self._options)
        return self._outbox.add(notice, self._options.kinds)

    def _finish(self, stopped: Callable[[], bool]) -> ExitCode:
        left = self._sender.finish(FINISH_SECONDS, stopped)
        for entry in left:
            reason = entry.error or "no attempt has ended"
            click.echo(f"NOT delivered to {entry.destination}: notice {entry.key} ({reason})", err=True)
        if left:
            click.echo("The outbox keeps these notices; the same command sends them again.", err=True)
        if any(entry.state == "failed" for entry in left):
            return ExitCode.ERROR
        return ExitCode.UNAVAILABLE if left else ExitCode.DONE

    @property
    def outbox(self) -> Outbox:
        """The outbox of the folder."""
        return self._outbox


def is_retracted(outbox: Outbox, event_id: str) -> bool:
    """Return whether the newest notice of an event is its retraction."""
    return [notice.type for notice in outbox.notices(event_id)][-1:] == ["retraction"]


def topics(notice: Notice, options: NoticeOptions) -> list[str]:
    """Return the topics at GCN, if any; raises InputError if GCN's own topic is for other events."""
    return [topic_of(one.address, notice) for one in options.destinations if one.kind == "gcn"]


def notice_of_result(
    outbox: Outbox,
    source: Path,
    options: NoticeOptions,
    kind: NoticeType | None = None,
    comment: str = "",
    letter: str | None = None,
) -> Notice:
    """Return the notice of a result: a file, or the only one in a folder.

    ``kind``: default what comes next. ``letter`` names the event by its date; without it, the event keeps the name by
    date that its latest notice gave it, so that the same result is not another notice.
    """
    path = _only_result(source)
    result = ScanResult.read(path)
    result = _named_as_before(outbox, result) if letter is None else named_by_date(result, letter)
    summary, fields = summary_of_result(result)
    links = links_of(options.results_url, path.stem, (one.name for one in path.parent.iterdir()))
    made = Notice(kind or "initial", chosen_tense(summary, options.tense), 0, "", summary, fields, links, comment)
    return next_notice(outbox, made, fixed=kind is not None)


def _named_as_before(outbox: Outbox, result: ScanResult) -> ScanResult:
    """Return the result with the name by date that its latest notice gave the event, if that gave one."""
    metadata = result.metadata
    earlier = outbox.notices(f"{metadata.run_id}_{metadata.event_id}")
    name = str(earlier[-1].summary.get("name")) if earlier else ""
    return replace(result, metadata=replace(metadata, name=name)) if is_named_by_date(name) else result


def retraction(outbox: Outbox, source: Path, options: NoticeOptions, comment: str, letter: str | None = None) -> Notice:
    """Return the retraction of an event: that of the result, or of the latest notice where there is no result.

    Without a ``letter`` the event has the name that its latest notice gave it.
    """
    earlier = [entry.notice for entry in outbox.entries]
    if not earlier or results_in(source):
        base = notice_of_result(outbox, source, options, letter=letter)
        if letter is None:
            base = next(reversed(outbox.notices(base.event_id)), base)
    elif letter is not None:
        raise InputError("--letter needs the JSON or npz file of the scan")
    else:
        base = earlier[-1]
    summary, fields = without_map(base)
    made = Notice("retraction", chosen_tense(summary, options.tense), 0, "", summary, fields, {}, comment)
    return next_notice(outbox, made, fixed=True)


def next_notice(outbox: Outbox, made: Notice, *, fixed: bool = False) -> Notice:
    """Return the notice with its number and time, or the one in the outbox with the same content.

    Unless its type is ``fixed``, the first notice of an event is the initial one, and the others are updates.
    """
    earlier = outbox.notices(made.event_id)
    same = next((one for one in earlier if one.content == made.content and not (fixed and one.type != made.type)), None)
    if same is not None:
        return same
    kind = made.type if fixed else ("update" if earlier else "initial")
    number = len(earlier) if kind == "initial" else max(len(earlier), 1)
    return replace(made, type=kind, number=number, created=utc_now(time.time()))


def _channels(options: NoticeOptions) -> dict[str, Channel]:
    return {one.label: _kafka(one) if one.kind == "gcn" else HttpChannel(one) for one in options.destinations}


def _kafka(destination: Destination) -> Channel:
    try:
        from skymap_scanner.notices.kafka_channel import KafkaChannel
    except ImportError as error:
        raise InputError(
            f"notices to GCN need Kafka's client ({error}): pip install 'skymap-scanner[kafka]'"
        ) from error
    return KafkaChannel(destination.address, os.environ)


def _show(entry: Entry) -> None:
    if entry.state == "sent":
        click.echo(printable_line(f"Notice {entry.key} ({entry.notice.type}) sent to {entry.destination}"), err=True)


def _only_result(source: Path) -> Path:
    found = result_files(source)
    if len(found) > 1:
        raise InputError(f"{source} holds {len(found)} results: give the JSON or npz file of one")
    return found[0]
