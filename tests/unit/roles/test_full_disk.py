"""A saver on a full disk waits for free space; any other error ends it."""

from __future__ import annotations

import errno
import logging
import resource
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.roles.conftest import Scan

from skymap_api.progress import Progress, ProgressPhase
from skymap_scanner.atomic_file import write_atomically
from skymap_scanner.errors import InputError
from skymap_scanner.roles.full_disk import is_disk_full, retry_while_disk_full
from skymap_scanner.roles.readers import CollectedFit
from skymap_scanner.roles.saver.progress_reporter import SaveAttempts
from skymap_scanner.roles.saver.saver import SaverSettings, save
from skymap_scanner.roles.saver.spool import Spool
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.task_frames import PixelFit
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.seeds import Round


def full(number: int = errno.ENOSPC) -> OSError:
    return OSError(number, "No space left on device", "/results/x.i3")


def collected(frames: bytes) -> CollectedFit:
    return CollectedFit(PixelFit(Pixel(1, 0), 0, 1.0, (0.0, 0.0, 0.0), 0.0, 1.0, 1.0), frames, "")


def explained(error: OSError) -> InputError:
    found = InputError("x.i3: cannot be written")
    found.__cause__ = error
    return found


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_write_is_retried_until_there_is_space(number: int, caplog: pytest.LogCaptureFixture) -> None:
    outcomes: list[Exception | bool] = [full(number), explained(full(number)), True]

    def save() -> bool:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with caplog.at_level(logging.WARNING):
        assert retry_while_disk_full(save, Stop(), pause=0.01) is True
    assert outcomes == []
    assert caplog.text.count("the disk is full: ") == 2
    assert "cannot be written; free some space (retrying every 0.01 s)" in caplog.text


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), InputError("another scan")])
def test_other_errors_are_raised_at_once(error: Exception) -> None:
    def save() -> bool:
        raise error

    with pytest.raises(type(error)):
        retry_while_disk_full(save, Stop(), pause=0.01)


def test_full_disk_is_found_in_the_error_context() -> None:
    error = InputError("closing")
    error.__context__ = full()
    assert is_disk_full(error)
    assert not is_disk_full(InputError("closing"))


def test_stop_request_ends_the_wait() -> None:
    stop, tries = Stop(), []

    def save() -> bool:
        tries.append(1)
        raise full()

    ended: list[bool | None] = []
    waiting = threading.Thread(target=lambda: ended.append(retry_while_disk_full(save, stop, pause=3600)))
    waiting.start()
    stop.request()
    waiting.join(timeout=60)
    assert ended == [None]
    assert len(tries) <= 1


def test_full_file_system_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(descriptor: int) -> None:
        raise full()

    monkeypatch.setattr("os.fsync", no_room)
    with pytest.raises(InputError, match="is the disk full") as raised:
        write_atomically(tmp_path / "x.json", b"{}")
    assert is_disk_full(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_of_a_folder_that_is_not_utf_8_is_shown(
    scan: Callable[..., Scan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "M\udcfcller"
    try:
        odd.mkdir()
    except OSError:
        pytest.skip("this file system has UTF-8 names alone")
    one = scan("1:0")
    one.run()

    def no_room(*_: object) -> None:
        raise full()

    monkeypatch.setattr("os.fsync", no_room)
    with one.open() as broker:
        with pytest.raises(InputError, match="No space left"):
            save(broker, one.topics, SaverSettings(odd / "scan.i3", odd, ("json",)), Stop())
        with broker.reader(one.topics.progress) as reader:
            shown = [
                Progress.model_validate_json(message.payload).obstacle
                for message in iter(lambda: reader.receive(0), None)
            ]
    assert r"M\udcfcller" in (shown[-1] or "")


def test_progress_shows_a_full_disk_until_the_saver_advances(
    scan: Callable[..., Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = scan("1:0 2:2")
    one.run()
    json, i3 = one.json, one.i3
    tries = SaveAttempts()

    def save_again(expected: AbstractContextManager[object]) -> list[Progress]:
        """Try once more; return the snapshots of this try."""
        with one.open() as broker, broker.reader(one.topics.progress) as reader:
            while reader.receive(0) is not None:
                pass
            with expected:
                save(broker, one.topics, one.saver, Stop(), tries)
            found = []
            while (message := reader.receive(0)) is not None:
                found.append(Progress.model_validate_json(message.payload))
            return found

    def no_room(*_: object, **__: object) -> None:
        raise full()

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", no_room)
        first, second = (save_again(pytest.raises(InputError, match="No space left")) for _ in range(2))
    assert [one.phase for one in first[-2:]] == [ProgressPhase.WRITING] * 2
    assert first[-2].obstacle is None
    assert first[-1].obstacle is not None
    assert "No space left on device" in first[-1].obstacle
    assert [one.obstacle for one in second] == [first[-1].obstacle] * 2, "no snapshots until it has as many pixels"
    assert {one.done for one in second} == {first[-1].done}
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.mkdir", no_room)
        earlier = save_again(pytest.raises(InputError, match="cannot make the folder"))
    assert [(one.done, one.obstacle) for one in earlier] == [
        (first[-1].done, f"cannot make the folder {one.folder}: No space left on device")
    ]
    last = save_again(nullcontext())
    assert last[0].obstacle is None
    assert (last[-1].phase, last[-1].obstacle) == (ProgressPhase.DONE, None)
    assert (one.json, one.i3) == (json, i3)


def test_other_folder_errors_are_raised_at_once(scan: Callable[..., Scan]) -> None:
    one = scan("1:0")
    (one.folder / "file").touch()
    settings = replace(one.saver, results=one.folder / "file" / "results")
    with one.open() as broker, pytest.raises(InputError, match=r"cannot make the folder .*Not a directory"):
        save(broker, one.topics, settings, Stop())


def test_full_spool_names_its_folder(tmp_path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Spool(tmp_path) as spool:
        spool.write(Round(Pixel(1, 0), 0), collected(b"x" * 100))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
        try:
            with pytest.raises(InputError, match=f"cannot write in {tmp_path}: File too large"):
                spool.write(Round(Pixel(1, 1), 0), collected(b"x" * 100_000))
            assert list(tmp_path.iterdir()) == []
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
