"""A saver whose disk is full waits for room; any other error ends it as before."""

from __future__ import annotations

import errno
import logging
import threading
from pathlib import Path

import pytest

from skymap_scanner.errors import InputError
from skymap_scanner.results.atomic import write_atomically
from skymap_scanner.roles.room import lacks_room, until_there_is_room
from skymap_scanner.roles.stop import Stop


def full(number: int = errno.ENOSPC) -> OSError:
    return OSError(number, "No space left on device", "/results/x.i3")


def explained(error: OSError) -> InputError:
    found = InputError("x.i3: cannot be written")
    found.__cause__ = error
    return found


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_it_is_tried_again_until_there_is_room(number: int, caplog: pytest.LogCaptureFixture) -> None:
    outcomes: list[Exception | bool] = [full(number), explained(full(number)), True]

    def save() -> bool:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with caplog.at_level(logging.WARNING):
        assert until_there_is_room(save, Stop(), pause=0.01) is True
    assert outcomes == []
    assert caplog.text.count("the disk is full: ") == 2
    assert "cannot be written; make room, it is tried again every 0.01 s" in caplog.text


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), InputError("another scan")])
def test_any_other_error_is_no_full_disk(error: Exception) -> None:
    def save() -> bool:
        raise error

    with pytest.raises(type(error)):
        until_there_is_room(save, Stop(), pause=0.01)


def test_an_error_while_another_is_handled_counts() -> None:
    error = InputError("closing")
    error.__context__ = full()
    assert lacks_room(error)
    assert not lacks_room(InputError("closing"))


def test_who_is_asked_to_stop_waits_no_longer() -> None:
    stop, tries = Stop(), []

    def save() -> bool:
        tries.append(1)
        raise full()

    ended: list[bool] = []
    waiting = threading.Thread(target=lambda: ended.append(until_there_is_room(save, stop, pause=3600)))
    waiting.start()
    stop.request()
    waiting.join(timeout=60)
    assert ended == [False]
    assert len(tries) <= 1


def test_a_file_system_without_room_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(descriptor: int) -> None:
        raise full()

    monkeypatch.setattr("os.fsync", no_room)
    with pytest.raises(InputError, match="is the disk full") as raised:
        write_atomically(tmp_path / "x.json", b"{}")
    assert lacks_room(raised.value)
    assert list(tmp_path.iterdir()) == []
