"""Files: every compression, however the bytes come; damage, recovery, bombs; writing all or nothing."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from skymap_scanner.errors import I3Error, InputError
from skymap_scanner.i3 import Frame, FrameWriter, I3Int, I3String, read_frames

SUFFIXES = [".i3", ".i3.gz", ".i3.bz2", ".i3.zst", ".i3.xz"]
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "xz": lzma.compress,
}
COMPRESSIONS = pytest.mark.parametrize("name", COMPRESS)


def frames() -> list[Frame]:
    result = []
    for number, stop in enumerate("GQPPP"):
        frame = Frame(stop)
        frame["number"] = I3Int(number)
        frame["text"] = I3String("abc" * number)
        result.append(frame)
    return result


RAW = [frame.to_bytes() for frame in frames()]
WHOLE = b"".join(RAW)


class Trickle(io.RawIOBase):
    """A stream that gives one byte at a time, and knows nothing else."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1, /) -> bytes:
        return self._data.read(min(size, 1))


def written(source: Iterator[Frame]) -> list[bytes]:
    return [frame.to_bytes() for frame in source]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_round_trip_with_reproducible_bytes(tmp_path: Path, suffix: str) -> None:
    paths = [tmp_path / f"one{suffix}", tmp_path / f"two{suffix}"]
    for path in paths:
        with FrameWriter(path) as writer:
            for frame in frames():
                writer.write(frame)
        assert writer.frames == 5
        assert written(read_frames(path)) == RAW
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == paths


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_suffix_matters_only_for_writing(tmp_path: Path, suffix: str) -> None:
    with FrameWriter(tmp_path / f"a{suffix}") as writer:
        writer.write(frames()[0])
    other = tmp_path / "anything"
    (tmp_path / f"a{suffix}").rename(other)
    assert written(read_frames(other)) == RAW[:1]


@COMPRESSIONS
def test_bytes_may_come_one_by_one(name: str) -> None:
    assert written(read_frames(Trickle(COMPRESS[name](WHOLE)))) == RAW


@COMPRESSIONS
def test_compressed_files_may_be_concatenated(name: str) -> None:
    compressed = COMPRESS[name](RAW[0]) + COMPRESS[name](WHOLE)
    assert written(read_frames(io.BytesIO(compressed))) == [RAW[0], *RAW]


@pytest.mark.parametrize("name", ["gzip", "xz"])
def test_members_may_be_padded(name: str) -> None:
    padding = bytes(70000)
    assert written(read_frames(io.BytesIO(COMPRESS[name](WHOLE) + padding))) == RAW
    assert written(read_frames(io.BytesIO(COMPRESS[name](WHOLE) + padding + COMPRESS[name](RAW[0])))) == [*RAW, RAW[0]]


def test_empty_file_has_no_frames() -> None:
    assert list(read_frames(io.BytesIO())) == []


@COMPRESSIONS
def test_truncated_file_is_one_error_with_recovered_frames(name: str) -> None:
    compressed = COMPRESS[name](WHOLE)
    ends = [sum(map(len, RAW[:n])) for n in range(len(RAW) + 1)]
    for end in range(1, len(compressed)):
        if name == "plain" and end in ends:
            assert written(read_frames(io.BytesIO(compressed[:end]))) == RAW[: ends.index(end)]
            continue
        with pytest.raises(I3Error) as error:
            list(read_frames(io.BytesIO(compressed[:end])))
        assert error.value.frame is not None
        assert error.value.offset is not None
        problems: list[I3Error] = []
        recovered = written(read_frames(io.BytesIO(compressed[:end]), recover=True, on_damage=problems.append))
        assert recovered == RAW[: error.value.frame]
        assert [str(problem) for problem in problems] == [str(error.value)]


def test_error_names_file_frame_and_offset(tmp_path: Path) -> None:
    path = tmp_path / "cut.i3"
    path.write_bytes(WHOLE[:-2])
    with pytest.raises(I3Error) as error:
        list(read_frames(path))
    place = f"{path}, frame 4, offset {len(WHOLE) - 4}"
    assert str(error.value) == f"{place}: 4 bytes expected, only 2 are left"


def test_invalid_object_in_a_file_is_named(tmp_path: Path) -> None:
    frame = Frame("P")
    frame.put_blob("bad", "I3Int", frames()[0].blob("number")[:-1])
    path = tmp_path / "bad.i3"
    path.write_bytes(RAW[0] + frame.to_bytes())
    _, bad = read_frames(path)
    with pytest.raises(I3Error) as error:
        bad["bad"]
    offset = len(RAW[0] + frame.to_bytes()) - 4 - 3
    assert str(error.value) == f"{path}, frame 1, key 'bad', offset {offset}: 4 bytes expected, only 3 are left"


def test_without_a_listener_the_damage_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert written(read_frames(io.BytesIO(WHOLE[:-1]), recover=True)) == RAW[:-1]
    assert "only the frames before the damage are used: frame 4" in caplog.text


@COMPRESSIONS
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_file_yields_frames_and_at_most_one_error(name: str, data: st.DataObject) -> None:
    compressed = bytearray(COMPRESS[name](WHOLE))
    for _ in range(data.draw(st.integers(1, 3))):
        compressed[data.draw(st.integers(0, len(compressed) - 1))] = data.draw(st.integers(0, 255))
    good = []
    try:
        good += written(read_frames(io.BytesIO(bytes(compressed))))
    except I3Error:
        good = written(read_frames(io.BytesIO(bytes(compressed)), recover=True, on_damage=lambda _: None))
    assert good == RAW[: len(good)] or name == "plain"


def test_frames_before_the_damage_are_recovered() -> None:
    data = WHOLE * 400
    for name in ("gzip", "zstd", "xz"):
        compressed = bytearray(COMPRESS[name](data))
        compressed[len(compressed) * 3 // 4] ^= 0xFF
        recovered = written(read_frames(io.BytesIO(bytes(compressed)), recover=True, on_damage=lambda _: None))
        assert recovered == (RAW * 400)[: len(recovered)]
    broken_end = gzip.compress(data, 1)[:-8] + bytes(8)  # only the trailer's checksum is wrong
    recovered = written(read_frames(io.BytesIO(broken_end), recover=True, on_damage=lambda _: None))
    assert len(recovered) > 1000


# --- limits -----------------------------------------------------------------------------------------------------------


def test_frame_size_is_limited() -> None:
    with pytest.raises(I3Error, match=r"frame 3, offset 486: a frame of 168 bytes or more, at most 165 are read"):
        list(read_frames(io.BytesIO(WHOLE), max_frame_bytes=165))


def test_excessive_length_stops_reading() -> None:
    stream = io.BytesIO(RAW[0] + b"[i3]\6\0\0\0\0\0P\1\0\0\0\xfe\xff\xff\xff" + bytes(1 << 20))
    with pytest.raises(I3Error, match=r"frame 1, offset \d+: a frame of 4294967313 bytes or more"):
        list(read_frames(stream))
    assert stream.tell() < 1 << 17


@pytest.mark.parametrize("name", ["gzip", "bzip2", "zstd", "xz"])
def test_decompression_bomb_does_not_fill_the_memory(name: str) -> None:
    size = 1 << 27
    head = b"[i3]\6\0\0\0\0\0P\1\0\0\0\1\0\0\0k\1\0\0\0t" + size.to_bytes(4, "little")
    bomb = io.BytesIO(COMPRESS[name](head + bytes(size)))
    tracemalloc.start()
    try:
        with pytest.raises(I3Error, match="at most 1048576 are read"):
            list(read_frames(bomb, max_frame_bytes=1 << 20))
        assert tracemalloc.get_traced_memory()[1] < 48 << 20
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_file() -> None:
    data = WHOLE * 4000  # 1.6 MB
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_frames(io.BytesIO(data))) == 20000
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


# --- opening and writing ----------------------------------------------------------------------------------------------


def test_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.i3: cannot be opened: No such file"):
        list(read_frames(tmp_path / "none.i3", recover=True))


def test_failing_stream_is_an_error() -> None:
    class Failing(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            assert size > 0
            raise OSError(5, "Input/output error")

    with pytest.raises(I3Error, match=r"cannot be read: .*Input/output error"):
        list(read_frames(Failing()))


@pytest.mark.parametrize("name", ["a.i4", "a.gz", "a", "a.i3.zip", "a.gz.i3.lz"])
def test_unknown_suffix_is_rejected(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"the name must end in \.i3, \.i3\.gz"):
        FrameWriter(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written: No such file"):
        FrameWriter(tmp_path / "none" / "a.i3")


def test_failed_write_leaves_only_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.i3.gz"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), FrameWriter(path) as writer:
        writer.write(frames()[1 // 0])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_file_appears_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.i3"
    with FrameWriter(path) as writer:
        writer.write(frames()[0])
        assert not path.exists()
    assert path.read_bytes() == RAW[0]


def test_full_disk_is_an_input_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="cannot be written: No space left on device"), FrameWriter(tmp_path / "a.i3"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_writer_are_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / ".a.i3.0123abcd.part").write_bytes(b"half")
    others = {tmp_path / name for name in (".b.i3.0123abcd.part", ".a.i3.zst.0123abcd.part", "a.i3.0123abcd.part")}
    for other in others:
        other.touch()
    with FrameWriter(tmp_path / "a.i3") as writer:
        writer.write(Frame("P"))
    assert set(tmp_path.iterdir()) == others | {tmp_path / "a.i3"}
