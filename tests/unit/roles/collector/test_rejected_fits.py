from __future__ import annotations

import pytest

from skymap_scanner.broker import Message
from skymap_scanner.roles.collector.decisions import MAX_REPUBLISHES, RejectedFits, Republication
from skymap_scanner.roles.fit_validation import RejectedFitError, TaskName
from skymap_scanner.scan.pixels import Pixel

A, B = Pixel(1, 4), Pixel(1, 7)


def message(number: int) -> Message:
    return Message(number, b"?", None, {})


def rejected(*tasks: TaskName) -> RejectedFits:
    fits = RejectedFits()
    fits.add(message(0), RejectedFitError("why", tasks))
    return fits


@pytest.mark.parametrize(
    ("tasks", "missing", "expected"),
    [
        ([], {A: {0, 1}}, []),
        ([(A, 1)], {A: {0, 1}}, [Republication(A, "why", {1}, set())]),
        ([(A, 1)], {A: {0, 2}}, []),
        ([(A, 1)], {}, []),
        ([(A, None)], {A: {0, 2}}, [Republication(A, "why", {0, 2}, set())]),
        ([(A, None)], {}, []),
        (
            [(A, 0), (B, 1)],
            {A: {0}, B: {1}},
            [Republication(A, "why", {0}, set()), Republication(B, "why", {1}, set())],
        ),
        ([(A, 0), (A, 0)], {A: {0}}, [Republication(A, "why", {0}, set())]),
    ],
    ids=["unnamed", "named", "answered", "done", "all seeds", "no seed missing", "two pixels", "named twice"],
)
def test_missing_tasks_that_a_rejected_fit_names_are_republished(
    tasks: list[TaskName], missing: dict[Pixel, set[int]], expected: list[Republication]
) -> None:
    fits = rejected(*tasks)
    assert fits.republications(lambda pixel: missing.get(pixel, set())) == expected
    assert fits.republications(lambda _: {0, 1, 2}) == [], "each rejection counts once"


def test_task_is_given_up_after_its_last_republication() -> None:
    fits = RejectedFits()
    for number in range(MAX_REPUBLISHES):
        fits.add(message(number), RejectedFitError(f"{number}", [(A, 0)]))
        assert fits.republications(lambda _: {0, 1}) == [Republication(A, f"{number}", {0}, set())]
    fits.add(message(9), RejectedFitError("9", [(A, None)]))
    assert fits.republications(lambda _: {0, 1}) == [Republication(A, "9", {1}, {0})]


def test_first_rejected_message_is_kept_until_released() -> None:
    fits, error = RejectedFits(), RejectedFitError("why")
    assert fits.release() == []
    assert fits.add(message(1), error) == []
    assert fits.add(message(2), error) == [message(2)]
    assert fits.kept == message(1)
    assert fits.release() == [message(1)]
    assert fits.kept is None
    assert fits.add(message(3), error) == []
