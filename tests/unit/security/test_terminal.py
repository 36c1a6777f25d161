"""Text from outside cannot control a terminal, forge a log record, or name a file elsewhere."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from skymap_api.log_format import SafeFormatter, safe_handler
from skymap_api.progress import FitCounts, Progress, ProgressPhase
from skymap_api.resource.status import Reason
from skymap_api.text import bounded_line, printable, printable_line
from skymap_operator.cluster.events import LONGEST_MESSAGE, event_about
from skymap_operator.decide.diagnose import Finding, termination_message
from skymap_operator.observe.state import Pod, Termination
from skymap_scanner.cli import logs
from skymap_scanner.cli.convert import command as convert
from skymap_scanner.cli.describe import describe, line
from skymap_scanner.cli.progress_display import progress_display, render
from skymap_scanner.cli.show import command as show
from skymap_scanner.errors import InputError
from skymap_scanner.i3 import Frame, I3EventHeader, I3String
from skymap_scanner.kubectl.scans import ClusterScan
from skymap_scanner.roles.topics import check_name

FITS = FitCounts(done=21, started=84, planned=100)

#: Clears the screen, renames the window, writes backwards, returns to the start of the line; and rich's markup.
NASTY = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202eevil\r\x00[bold red]x[/]"

#: The same as the key of an object, without white space.
KEY = "".join(NASTY.split())


def is_tame(text: str) -> bool:
    return not [one for one in text if not one.isprintable() and one != "\n"]


def seen(message: str) -> ClusterScan:
    now = "2024-01-01T00:00:00Z"
    condition = {"type": "Degraded", "status": "True", "reason": "Unschedulable", "message": message}
    status = {"phase": "Scanning", "conditions": [condition | {"lastTransitionTime": now, "observedGeneration": 1}]}
    meta = {"namespace": "alerts", "name": "scan", "creationTimestamp": now, "generation": 1}
    event = {"event": {"url": f"http://host/{message}"}}
    return ClusterScan.read({"metadata": meta, "spec": event, "status": status})


def drawn(what: object) -> str:
    console = Console(file=io.StringIO(), width=200, force_terminal=False, color_system=None)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_printable_keeps_text_of_every_language_and_line_ends() -> None:
    assert printable("ν → 90 % región\nnächste Zeile 次") == "ν → 90 % región\nnächste Zeile 次"
    assert printable(NASTY) == r"\x1b[2J\x1b]0;owned\x07\x9b31m\u202eevil\r\x00[bold red]x[/]"
    assert printable("a\tb\ud800") == r"a\tb\ud800"


def test_bounded_line_is_one_short_printable_line() -> None:
    assert bounded_line("exit status 32\n  Output:\tno\x07 room\n", 50) == r"exit status 32 Output: no\x07 room"
    assert bounded_line("x" * 50, 50) == "x" * 50
    assert bounded_line("x" * 51, 50) == "x" * 49 + "…"
    assert bounded_line("\x1b" * 10**6, 50) == (r"\x1b" * 13)[:49] + "…"
    assert bounded_line("\n" * 10**6, 50) == ""


def test_printable_line_escapes_line_ends_too() -> None:
    assert printable_line("plain ü") == "plain ü"
    assert printable_line("\x1b[31m\n\udcff") == r"\x1b[31m\n\udcff"


def test_log_message_cannot_forge_another_record() -> None:
    forged = f"key {NASTY}\n2024-01-01 00:00:00,000 INFO skymap_scanner: all is well"
    record = logging.LogRecord("skymap_scanner", logging.WARNING, "", 0, "a message (%s)", (forged,), None)
    text = SafeFormatter("%(levelname)s %(message)s").format(record)
    assert is_tame(text)
    first, second = text.split("\n")
    assert first.startswith("WARNING a message (key \\x1b")
    assert second.startswith("    2024-01-01")  # not where a record begins


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_error_message_contains_no_control_characters(tmp_path: Path, debug: list[str]) -> None:
    frame = Frame("P")
    frame["I3EventHeader"] = I3EventHeader(1, 0, 2)
    frame[KEY] = I3String(NASTY)
    path = tmp_path / "event\x1b[2J.i3"
    path.write_bytes(frame.to_bytes()[:-1])
    command = [sys.executable, "-P", "-m", "skymap_scanner", *debug, "run", path, "-o", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert r"event\x1b[2J.i3, frame 0" in done.stderr
    assert is_tame(done.stderr + done.stdout)


def test_show_prints_no_control_characters_of_a_frame(tmp_path: Path) -> None:
    frame = Frame("P")
    frame["I3EventHeader"] = I3EventHeader(1, 0, 2, sub_event_stream=NASTY)
    frame[KEY] = I3String(NASTY)
    (tmp_path / "x.i3").write_bytes(frame.to_bytes())
    for options in ([], ["--frame", "0"], ["--frame", "0", "--key", KEY], ["--json"]):
        done = CliRunner().invoke(show, [str(tmp_path / "x.i3"), *options])
        assert done.exit_code == 0
        assert is_tame(done.output)


def test_pod_logs_are_printed_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    logs._print("worker", f"fitted {NASTY}")
    assert is_tame(capsys.readouterr().out)


def test_status_of_a_scan_is_shown_without_control_characters() -> None:
    scan, now = seen(NASTY), datetime(2024, 1, 2, tzinfo=UTC)
    text = drawn(describe(scan, now, lambda *words: " ".join(words))) + line(scan)
    assert is_tame(text)
    assert "[bold red]x[/]" in text  # text, not markup


def test_progress_is_shown_without_control_characters() -> None:
    progress = Progress(
        name=NASTY, phase=ProgressPhase.DONE, levels=(), fits=FITS, rate=0, eta=None, elapsed=1, best=None
    )
    console = Console(file=io.StringIO(), width=200)
    with progress_display(console) as shown:
        shown(progress)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue() + drawn(render(progress))
    assert is_tame(text)
    assert "[bold red]x[/]" in text


def test_last_log_lines_reach_the_status_without_control_characters() -> None:
    ended = Termination(code=1, reason="Error", message=f"Error: event {NASTY}\nmore")
    assert is_tame(termination_message(pod(ended)))


def pod(ended: Termination) -> Pod:
    return Pod(name="scan-producer", role="producer", phase="Failed", ready=False, termination=ended)


def test_every_finding_and_event_of_the_operator_is_tame() -> None:
    assert is_tame(Finding(Reason.PULSAR_REFUSED, f"it answered {NASTY}").message)
    about = {"apiVersion": "v1", "kind": "SkymapScan", "metadata": {"name": "a", "namespace": "b", "uid": "c"}}
    message = event_about(about, "Warning", "Refused", NASTY * 100, datetime(2026, 1, 1, tzinfo=UTC))["message"]
    assert is_tame(message)
    assert len(message) == LONGEST_MESSAGE


def test_operator_logs_in_the_same_form() -> None:
    handler = safe_handler()
    record = logging.LogRecord("skymap_operator", logging.WARNING, "", 0, "%s", (f"{NASTY}\n2024 forged",), None)
    text = handler.format(record)
    assert is_tame(text)
    assert text.splitlines()[1].startswith("    ")


def test_errors_of_the_command_line_are_tame() -> None:
    words = ["run", "demo", "-o", "out", NASTY.replace("\0", "")]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "skymap_scanner", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "unexpected extra argument" in done.stderr
    assert r"\x9b31m" in done.stderr
    assert is_tame(done.stderr)


def test_copied_objects_and_damage_are_reported_without_control_characters(tmp_path: Path) -> None:
    frame = Frame("P")
    frame.put_blob(KEY, "I3Double", b"\1\0\1I3Double")
    (tmp_path / "x.i3").write_bytes(frame.to_bytes() + b"[i3]")
    done = CliRunner().invoke(convert, [str(tmp_path / "x.i3"), str(tmp_path / "y\x1b[2J.i3"), "--recover"])
    assert done.exit_code == 0
    assert "frames before the damage are kept" in done.output
    assert r"y\x1b[2J.i3" in done.output
    assert is_tame(done.output)


def test_invalid_scan_name_is_an_input_error() -> None:
    with pytest.raises(InputError, match="use at most 200 letters") as raised:
        check_name("a\x1b[2J")
    assert is_tame(str(raised.value))
