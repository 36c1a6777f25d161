"""``skymap-scanner notify``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skymap_api.exit_codes import ExitCode
from skymap_scanner.cli.notice_options import with_notices
from skymap_scanner.cli.options import letter as letter_option

if TYPE_CHECKING:
    from skymap_scanner.cli.notices import NoticeOptions
    from skymap_scanner.notices.notice import Notice


@click.command()
@click.argument("result", metavar="RESULT", type=click.Path(exists=True, path_type=Path))
@with_notices("--to", required=True, text="Where to send it:")
@click.option(
    "--type",
    "kind",
    type=click.Choice(["initial", "update"]),
    help="Give update if somebody else sent the initial notice.  [default: initial for the first notice from this "
    "folder, update for the others]",
)
@letter_option
@click.option("--retract", is_flag=True, help="Send the retraction of the event, without a direction.")
@click.option("--comment", metavar="TEXT", default="", help="Why: part of the notice; a retraction needs it.")
@click.option("--dry-run", is_flag=True, help="Print what would be sent; needs no address and no secret.")
def command(
    result: Path,
    notice_options: Callable[..., Any],
    kind: Any,
    letter: str | None,
    retract: bool,
    comment: str,
    dry_run: bool,
) -> int:
    """Send a notice about RESULT: the folder of a scan, or its JSON or npz file.

    The outbox (notices.json, in the folder) keeps what was sent, to whom and when: each destination gets a notice once,
    and a notice that says nothing new is not sent. Addresses and secrets come from the environment (see the page "Send
    notices" of the documentation).

    \b
    Examples:
        skymap-scanner notify result/ --to gcn --dry-run
        skymap-scanner notify result/ --to webhook=https://alerts.example.org/hook --to slack
        skymap-scanner notify result/ --to gcn --type update --letter A --results-url https://example.org/alerts
        skymap-scanner notify result/ --to gcn --to slack --retract --comment "Light of the calibration LEDs."
    """
    if retract and (kind or not comment):
        raise click.UsageError("--retract needs --comment, and no --type")

    from skymap_scanner.cli.notices import Notices, notice_of_result, retraction
    from skymap_scanner.notices.outbox import Outbox

    options = notice_options(checked=not dry_run)

    def make(outbox: Outbox) -> Notice:
        if retract:
            return retraction(outbox, result, options, comment, letter)
        return notice_of_result(outbox, result, options, kind, comment, letter)

    folder = result if result.is_dir() else result.parent
    if dry_run:
        _print(make(Outbox(folder)), options)
        return ExitCode.DONE
    with Notices(folder, options) as notices:
        return notices.send(make(notices.outbox))


def _print(notice: Notice, options: NoticeOptions) -> None:
    import json

    from skymap_api.text import printable
    from skymap_scanner.cli.notices import topics
    from skymap_scanner.notices.documents import DOCUMENTS

    for topic in topics(notice, options):
        click.echo(f"Topic at GCN: {topic}", err=True)
    for kind in options.kinds.values():
        document = json.loads(DOCUMENTS[kind](notice))
        click.echo(printable(json.dumps(document, indent=2, ensure_ascii=False)))
