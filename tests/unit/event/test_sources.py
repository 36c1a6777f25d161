from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import zstandard

from skymap_scanner.errors import InputError
from skymap_scanner.event import sources
from skymap_scanner.event.download_options import Credentials, DownloadLimits
from skymap_scanner.event.model import Event
from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.prepared_frames import event_frames
from skymap_scanner.event.selection import EventSelection
from skymap_scanner.event.sources import read_event
from skymap_scanner.i3 import Frame, I3EventHeader, I3Int, I3String

PULSES = {(1, 10): [(10_000.0, 4.0, 8.0, 7)], (2, 10): [(10_200.0, 5.0, 8.0, 7)]}
NAME = "run00000001.evt000000000002"


@pytest.fixture
def frames(make_event: Callable[..., Event]) -> list[Frame]:
    """Return the frames of a small event in the order of a file."""
    event = make_event(PULSES)
    return [Frame(stop) for stop in "GCD"] + [event.frames["Q"], event.frames["P"]]


def content(frames: list[Frame]) -> bytes:
    return b"".join(frame.to_bytes() for frame in frames)


def packet(stop: str, data: bytes) -> list[str]:
    pickled = b"\x80\x02cicecube.icetray\nI3Frame\n)R}T" + struct.pack("<i", len(data)) + data + b"\x86b."
    return [stop, base64.b64encode(zlib.compress(pickled)).decode()]


def message(frames: list[Frame], **more: object) -> bytes:
    packets = [packet(frame.stop, frame.to_bytes()) for frame in frames]
    return json.dumps({"value": {"data": packets, **more}}).encode()


def pickled(frames: list[Frame]) -> bytes:
    return pickle.dumps(json.loads(message(frames)))


COMPRESSION = {
    "none": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "xz": lzma.compress,
}


@pytest.mark.parametrize("compression", COMPRESSION)
@pytest.mark.parametrize("form", [content, message, pickled])
def test_file_format_is_recognized_by_content(
    tmp_path: Path, frames: list[Frame], form: Callable[[list[Frame]], bytes], compression: str
) -> None:
    path = tmp_path / "event.txt"
    path.write_bytes(COMPRESSION[compression](form(frames)))
    event = read_event(str(path))
    assert event.name == NAME
    assert list(event.frames) == ["G", "C", "D", "Q", "P"]
    assert {stop: frame.to_bytes() for stop, frame in event.frames.items()} == {
        frame.stop: frame.to_bytes() for frame in frames
    }


def test_json_may_begin_with_byte_order_mark_or_blanks(tmp_path: Path, frames: list[Frame]) -> None:
    for start in (b"\xef\xbb\xbf", b" \n\t"):
        (tmp_path / "event.json").write_bytes(start + message(frames))
        assert read_event(str(tmp_path / "event.json")).name == NAME


def test_frames_of_a_message_may_be_in_any_order(tmp_path: Path, frames: list[Frame]) -> None:
    (tmp_path / "event.json").write_bytes(message(frames[::-1]))
    assert list(read_event(str(tmp_path / "event.json")).frames) == ["G", "C", "D", "Q", "P"]


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch, frames: list[Frame]) -> None:
    for form in (content, message, pickled):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(form(frames))))
        assert read_event("-").name == NAME


def test_standard_input_is_limited_in_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(bytes(1001))))
    with pytest.raises(InputError, match="standard input: larger than the 1000 bytes allowed"):
        read_event("-", limits=DownloadLimits(size=1000))


def test_named_pipe_is_read(tmp_path: Path, frames: list[Frame]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content(frames),))
    writer.start()
    assert read_event(str(pipe)).name == NAME
    writer.join()


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKEN", "USER", "PASSWORD"):
        monkeypatch.delenv(f"SKYMAP_EVENT_{name}", raising=False)
        monkeypatch.delenv(f"SKYMAP_EVENT_{name}_FILE", raising=False)


@pytest.fixture
def url(frames: list[Frame]) -> Iterator[str]:
    """URL of the event on a real server that requires a token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.headers.get("Authorization") == "Bearer opensesame" else 401)
            self.end_headers()
            self.wfile.write(gzip.compress(content(frames)))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/event.i3.gz?signature=abcdef"
    server.shutdown()
    server.server_close()


def test_url_is_read_with_given_or_environment_credentials(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_event(url, credentials=Credentials(token="opensesame")).name == NAME  # noqa: S106 - a made-up one
    with pytest.raises(InputError, match=r"/event\.i3\.gz: 401 Unauthorized: set SKYMAP_EVENT_TOKEN") as raised:
        read_event(url)
    assert "abcdef" not in str(raised.value)
    monkeypatch.setenv("SKYMAP_EVENT_TOKEN", "opensesame")
    assert read_event(url).name == NAME


# --- selected events and names ----------------------------------------------------------------------------------------


def numbered(frame: Frame, run: int, event: int) -> Frame:
    copy = frame.copy()
    copy["I3EventHeader"] = I3EventHeader(run_id=run, event_id=event)
    return copy


def without_pulses(frame: Frame) -> Frame:
    copy = frame.copy()
    del copy["SplitInIcePulses"]
    return copy


def test_first_event_with_pulses_is_read(tmp_path: Path, frames: list[Frame]) -> None:
    *gcd, q, p = frames
    path = tmp_path / "many.i3"
    path.write_bytes(content([*gcd, q, without_pulses(numbered(p, 1, 1)), numbered(p, 1, 2), numbered(p, 1, 3)]))
    assert read_event(str(path)).name == "run00000001.evt000000000002"
    assert read_event(str(path), select=EventSelection(1, 3)).name == "run00000001.evt000000000003"
    assert read_event(str(path), select=EventSelection(1, 1)).name == "run00000001.evt000000000001"
    with pytest.raises(InputError, match=r"many\.i3: holds no event 2/1; it holds 1/1/0, 1/2/0, 1/3/0"):
        read_event(str(path), select=EventSelection(2, 1))


def test_event_includes_the_frames_before_it(tmp_path: Path, frames: list[Frame]) -> None:
    g, c, d, q, p = frames
    other_q, other_d = Frame("Q"), Frame("D")
    other_q["Which"] = other_d["Which"] = I3Int(2)
    path = tmp_path / "two.i3"
    path.write_bytes(content([g, c, d, q, numbered(p, 1, 1), other_d, other_q, numbered(p, 1, 2)]))
    first, second = (
        read_event(str(path), select=EventSelection(1, 1)),
        read_event(str(path), select=EventSelection(1, 2)),
    )
    assert "Which" not in first.frames["Q"]
    assert "Which" not in first.frames["D"]
    assert second.frames["Q"]["Which"] == second.frames["D"]["Which"] == I3Int(2)


def test_output_of_a_scan_can_be_scanned_again(tmp_path: Path, frames: list[Frame]) -> None:
    path = tmp_path / "event.i3"
    path.write_bytes(content(frames))
    event = read_event(str(path))
    named = Event("alert.test", event.frames)
    pixel = Frame("P")
    pixel["I3EventHeader"] = I3EventHeader(run_id=1, event_id=2, sub_event_stream="SCAN_nside0001_pixel0000_posvar0000")
    path.write_bytes(content([*event_frames(named, prepare(named)), pixel]))
    again = read_event(str(path))
    assert again.name == "alert.test"
    assert again.frames["P"].stop == "p"
    assert prepare(again).vertex.tolist() == prepare(event).vertex.tolist()


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a/b", ".hidden", "a" * 101, "a b", "ä"])
def test_unsafe_stored_name_is_ignored(tmp_path: Path, frames: list[Frame], name: str) -> None:
    frames[-1]["SCAN_EventName"] = I3String(name)
    (tmp_path / "event.i3").write_bytes(content(frames))
    assert read_event(str(tmp_path / "event.i3")).name == NAME


@pytest.mark.parametrize(("streams", "suffix"), [(["neutrino"], ".neutrino"), (["a/b"], ""), ([], "")])
def test_alert_is_part_of_the_event_name(tmp_path: Path, frames: list[Frame], streams: list[str], suffix: str) -> None:
    (tmp_path / "event.json").write_bytes(message(frames, streams=streams))
    assert read_event(str(tmp_path / "event.json")).name == NAME + suffix


# --- invalid sources --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stop", "changed", "words"),
    [
        ("C", 0, r"frame 0: the message calls it C, but it is a P frame"),
        ("P", 1, r"frame 0, offset \d+: checksum"),
    ],
    ids=["misnamed", "damaged"],
)
def test_message_with_an_invalid_frame_is_rejected(tmp_path: Path, stop: str, changed: int, words: str) -> None:
    data = bytearray(Frame("P").to_bytes())
    data[-1] ^= changed
    content = json.dumps({"value": {"data": [packet(stop, bytes(data))]}})
    (tmp_path / "event.json").write_text(content)
    with pytest.raises(InputError, match=r"event\.json, " + words):
        read_event(str(tmp_path / "event.json"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "event.i3: is empty"),
        (b"{", "event.i3: I3Live message: not JSON"),
        (b"hello, this is text", r"event.i3, frame 0, .*is this an .i3 file"),
        (Frame("G").to_bytes(), "event.i3: holds no physics"),
        (Frame("P").to_bytes(), "event.i3: the event has no I3EventHeader"),
        (Frame("P").to_bytes()[:-3], "event.i3, frame 0"),
        (gzip.compress(Frame("P").to_bytes())[:-9], "event.i3.*gzip"),
        (gzip.compress(b""), "event.i3: is empty"),
    ],
    ids=["empty", "cut JSON", "text", "no P", "no header", "cut", "cut gzip", "empty gzip"],
)
def test_file_without_an_event_is_rejected(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "event.i3").write_bytes(data)
    with pytest.raises(InputError, match=words):
        read_event(str(tmp_path / "event.i3"))


def test_decompressed_message_is_limited_in_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_MESSAGE", 1000)
    monkeypatch.setattr("skymap_scanner.event.i3live.MAX_MESSAGE", 1000)
    (tmp_path / "bomb.json.gz").write_bytes(gzip.compress(b"{" + b" " * 5_000_000))
    with pytest.raises(InputError, match="more than the 1000 allowed"):
        read_event(str(tmp_path / "bomb.json.gz"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("/no/such/event.i3", "^/no/such/event.i3: No such file or directory$"),
        ("/", "^/: Is a directory$"),
        ("a\0b", "cannot be the path of a file"),
        ("ftp://host/event.i3", "only http:// and https:// are fetched"),
        ("", "Is a directory"),
    ],
)
def test_unreadable_source_is_rejected(source: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_event(source)


def test_every_real_event_has_its_name(shared: Path) -> None:
    names = {path.name: read_event(str(path)).name for path in (shared / "data/events").iterdir()}
    assert names == {
        "138632_31747601.json": "run00138632.evt000031747601.neutrino",
        "event_HESE_2017-11-28.json": "run00130322.evt000001414689.HESE",
        "hese_event_00.json": "run00127907.evt000016605651.HESE",
        "hese_event_02.json": "run00127908.evt000038887237.HESE",
    }


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".zst"])
def test_real_event_is_identical_in_every_compression(shared: Path, suffix: str) -> None:
    event = read_event(str(shared / f"data/i3/event_HESE_2017-11-28.i3{suffix}"))
    same = read_event(str(shared / "data/events/event_HESE_2017-11-28.json"))
    assert event.name == "run00130322.evt000001414689"
    assert list(event.frames) == list(same.frames)
    for stop, frame in event.frames.items():
        assert {key: frame.blob(key) for key in frame} == {
            key: same.frames[stop].blob(key) for key in same.frames[stop]
        }
