"""A saver that deletes the best fits (``--delete-output-from-queue``), and savers that come later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.roles.conftest import Command, Scan

from skymap_scanner.errors import BrokerUnavailable, InputError
from skymap_scanner.roles.saver.saver import save
from skymap_scanner.roles.scans import read_progress
from skymap_scanner.roles.stop import Stop


@pytest.fixture
def finished(scan: Callable[..., Scan]) -> Scan:
    """A finished scan, whose best fits are deleted."""
    one = scan("1:0")
    one.saver = replace(one.saver, delete_collected=True)
    one.run()
    return one


def phase(one: Scan) -> str | None:
    with one.open() as broker:
        assert one.topics.collected not in broker.topics()
        last = read_progress(broker, one.topics.progress)
        return None if last is None else last.phase


def test_second_saver_finds_the_files_and_ends(finished: Scan, command: Callable[..., Command]) -> None:
    before = finished.json, finished.i3
    where = ["-n", "scan", "--broker", finished.url, "-o", finished.folder / "scan.i3"]
    done = command("saver", *where, "--delete-output-from-queue").run()
    assert (done.returncode, "the files of this scan are written already" in done.stderr) == (0, True)
    assert (finished.json, finished.i3, phase(finished)) == (*before, "done")


def test_saver_that_ends_while_deleting_may_run_again(
    scan: Callable[..., Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = scan("1:0")
    one.run()
    settings = replace(one.saver, delete_collected=True)
    with one.open() as broker:
        delete = broker.delete_topic

        def cut(topic: str) -> None:
            delete(topic)
            raise BrokerUnavailable("the answer is lost")

        monkeypatch.setattr(broker, "delete_topic", cut)
        with pytest.raises(BrokerUnavailable):
            save(broker, one.topics, settings, Stop())
        assert save(broker, one.topics, settings, Stop())
    assert phase(one) == "done"


def test_saver_in_another_folder_names_the_missing_file(finished: Scan, tmp_path: Path) -> None:
    settings = replace(finished.saver, output=tmp_path / "other" / "scan.i3", results=tmp_path / "other")
    with finished.open() as broker, pytest.raises(InputError, match=r"best fits deleted: scan\.i3 is not in .*other"):
        save(broker, finished.topics, settings, Stop())
    assert phase(finished) == "done"
