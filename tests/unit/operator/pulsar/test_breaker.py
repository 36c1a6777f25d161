"""The circuit breaker: pauses grow and are bounded, and one scan at a time tries again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skymap_operator.pulsar.breaker import FIRST_PAUSE, LONGEST_PAUSE, Breaker


@given(st.lists(st.floats(0, 10_000), max_size=100))
def test_pauses_grow_to_the_longest(waits: list[float]) -> None:
    now, breaker = 0.0, Breaker()
    pauses = []
    for wait in waits:
        now = max(now, breaker.again) + wait
        assert breaker.allows(now)
        breaker = breaker.tried(now).failed(now)
        pauses.append(breaker.again - now)
        assert not breaker.allows(now)
    assert all(FIRST_PAUSE - 1e-6 <= one <= LONGEST_PAUSE + 1e-6 for one in pauses)
    assert [round(one) for one in pauses[:6]] == [5, 10, 20, 40, 80, 120][: len(pauses)]


def test_endpoint_that_answers_is_asked_by_all() -> None:
    assert Breaker().tried(7.0) == Breaker()
    assert Breaker().allows(7.0)


def test_endpoint_that_failed_is_tried_by_one_at_a_time() -> None:
    breaker = Breaker().failed(0.0)
    assert not breaker.allows(FIRST_PAUSE - 0.1)
    trying = breaker.tried(FIRST_PAUSE)
    assert not trying.allows(FIRST_PAUSE + LONGEST_PAUSE - 0.1)
    assert trying.allows(FIRST_PAUSE + LONGEST_PAUSE), "the one that tries may have been cancelled"
