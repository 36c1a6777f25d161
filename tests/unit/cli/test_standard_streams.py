"""Standard streams that are closed, full or gone."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from skymap_api.standard_streams import guarded_streams
from skymap_scanner.event.demo import demo_event_path

FILE = shlex.quote(str(demo_event_path()))
COMMAND = shlex.join([sys.executable, "-P", "-m", "skymap_scanner"])
SCAN = f"run {FILE} -o out --reconstruction dummy --levels 1:0 --seeds 1 --workers 1 --format summary"

full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``skymap-scanner`` in a shell that reports the failure of any part of a pipeline."""
    words = ["bash", "-c", f"set -o pipefail; {COMMAND} {line}"]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [f"show {FILE}", f"show {FILE} --json", "--help", "run --help", "--version"])
def test_reader_that_has_enough_is_no_error(
    words: str, unbuffered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    done = shell(f"{words} | true", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@full
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [f"show {FILE}", "--help", "run --help"])
def test_full_standard_output_is_reported(
    words: str, unbuffered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    done = shell(f"{words} > /dev/full", tmp_path)
    assert done.returncode == 1
    assert done.stderr == "Error: standard output cannot be written: No space left on device\n"


def test_error_of_a_command_counts_more_than_its_output(tmp_path: Path) -> None:
    done = shell("show no-such-file | true", tmp_path)
    assert done.returncode == 2
    assert "no-such-file" in done.stderr


def test_closed_standard_output_is_the_null_device(tmp_path: Path) -> None:
    done = shell(f"show {FILE} >&-", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["run - -o out", "producer - -n x -b sqlite:///x.sqlite"])
def test_closed_standard_input_is_empty(command: str, tmp_path: Path) -> None:
    done = shell(f"{command} <&-", tmp_path)
    assert (done.returncode, done.stderr) == (1, "Error: standard input: is empty\n")


def test_standard_input_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    done = shell("run - -o out 0> written-only", tmp_path)
    assert (done.returncode, done.stderr) == (1, "Error: standard input: Bad file descriptor\n")


@pytest.mark.parametrize(
    ("streams", "code"),
    [
        ("2>&1 | true", 0),
        pytest.param("> /dev/full 2> /dev/full", 1, marks=full),
        ("<&- >&- 2>&-", 0),
    ],
    ids=["gone", "full", "closed"],
)
def test_scan_is_finished_whatever_becomes_of_its_streams(streams: str, code: int, tmp_path: Path) -> None:
    done = shell(f"{SCAN} {streams}", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
    assert len([*(tmp_path / "out").glob("*.summary.txt")]) == 1
    assert '"finished": true' in (tmp_path / "out/scan.json").read_text()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_full_pipe_that_does_not_block_is_waited_for(unbuffered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    program = (
        "import os, sys\n"
        "from skymap_api.standard_streams import guarded_streams\n"
        "os.set_blocking(1, False)\n"
        "with guarded_streams():\n"
        "    sys.stdout.write('x' * 1_000_000)\n"
    )
    words = ["bash", "-c", f"set -o pipefail; {shlex.join([sys.executable, '-P', '-c', program])} | (sleep 0.3; wc -c)"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "1000000", "")


def test_nested_guards_and_replaced_streams_change_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with guarded_streams(), guarded_streams():
        assert (sys.stdout, sys.stderr) == before
        sys.stdout.write("output")
    assert capsys.readouterr().out == "output"


def test_files_never_take_the_place_of_closed_streams(tmp_path: Path) -> None:
    program = (
        "from skymap_api.standard_streams import guarded_streams\n"
        "with guarded_streams():\n"
        "    with open('data', 'w') as file:\n"
        "        number = file.fileno()\n"
        "        import subprocess\n"
        "        subprocess.run(['sh', '-c', 'echo output; echo log >&2'], check=True)\n"
        "    raise SystemExit(0 if number > 2 else 5)\n"
    )
    command = shlex.join([sys.executable, "-P", "-c", program])
    assert subprocess.run(["bash", "-c", f"{command} <&- >&- 2>&-"], cwd=tmp_path, check=False).returncode == 0
    assert (tmp_path / "data").read_text() == ""


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii", "latin-1"])
def test_text_that_a_stream_has_no_characters_for_becomes_escapes(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    program = (
        "import sys\n"
        "from skymap_api.standard_streams import guarded_streams\n"
        "with guarded_streams():\n"
        "    print('5° \\u03bd M\\udcfcller')\n"
        "    print('5° \\u03bd M\\udcfcller', file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, check=False)
    degree = {"utf-8:strict": "5° ν", "ascii": r"5\xb0 \u03bd", "latin-1": r"5° \u03bd"}[encoding]
    expected = (degree + " M\\udcfcller\n").encode(encoding.partition(":")[0])
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, expected)
