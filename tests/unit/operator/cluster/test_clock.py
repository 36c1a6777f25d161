"""The API server's time, as the operator estimates it while its own machine's clock is wrong."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_operator.cluster.clock import REMARKABLE, SLOWEST, TOLERANCE, ServerClock

START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def header(seconds: float) -> str:
    """Return the header Date of an answer at this time (s since 1970)."""
    return format_datetime(datetime.fromtimestamp(int(seconds), UTC), usegmt=True)


class Machine:
    """A machine whose clock is ``ahead`` of the API server's (s). Answers take ``took`` (s)."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.passed, self.ahead = 0.0, ahead
        self.clock = ServerClock(lambda: 1000.0 + self.passed, lambda: START + self.passed + self.ahead)

    def answer(self, took: float = 0.01, wrong: float = 0.0) -> None:
        """Receive an answer whose time is ``wrong`` by some seconds."""
        sent = self.clock.timer()
        self.passed += took
        self.clock.observe(header(START + self.passed - took / 2 + wrong), sent)

    @property
    def error(self) -> float:
        return self.clock.now().timestamp() - START - self.passed


@given(
    ahead=st.floats(-86400, 86400),
    steps=st.lists(st.tuples(st.floats(0, 100), st.floats(0, 2)), min_size=1, max_size=40),
)
def test_time_is_that_of_the_api_server_whatever_the_machine_says(
    ahead: float, steps: list[tuple[float, float]]
) -> None:
    machine = Machine(ahead)
    last = None
    for pause, took in steps:
        machine.passed += pause
        machine.answer(took)
        assert abs(machine.error) <= TOLERANCE + 1.5
        assert last is None or machine.clock.now().timestamp() >= last - TOLERANCE - 1.0
        last = machine.clock.now().timestamp()


def test_step_of_the_machines_clock_changes_nothing() -> None:
    machine = Machine()
    machine.answer()
    before = machine.clock.now()
    machine.ahead = -7200.0
    assert machine.clock.now() == before


def test_one_wrong_answer_changes_nothing() -> None:
    machine = Machine(600.0)
    for _ in range(3):
        machine.answer()
    machine.answer(wrong=86400.0)
    machine.answer(took=SLOWEST + 1.0, wrong=-86400.0)
    assert abs(machine.error) <= TOLERANCE


def test_step_of_the_servers_clock_is_followed() -> None:
    machine = Machine()
    for wrong in [0.0] * 20 + [300.0] * 10:
        machine.answer(wrong=wrong)
    assert abs(machine.error - 300.0) <= TOLERANCE


@pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 01 Jan 99999 00:00:00 GMT", "\x00" * 1000])
def test_answer_without_a_time_changes_nothing(date: str | None) -> None:
    machine = Machine(60.0)
    machine.clock.observe(date, machine.clock.timer())
    assert machine.error == pytest.approx(60.0), "the machine's own time, since nothing else is known"
    machine.answer()
    machine.clock.observe(date, machine.clock.timer())
    assert abs(machine.error) <= TOLERANCE


@pytest.mark.parametrize(("ahead", "text"), [(600.0, "600 s ahead of"), (-600.0, "600 s behind"), (REMARKABLE / 2, "")])
def test_remarkable_difference_is_logged_once(ahead: float, text: str, caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine(ahead)
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            machine.answer(took=0.001)
    assert [text in message for message in caplog.messages] == ([True] if text else [])
