"""The witness of a broker: acknowledged messages are there once and in order, or the loss is found."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from testing.witness import Log, check_log


@given(st.lists(st.booleans(), max_size=20), st.data())
def test_log_is_accepted_when_every_acknowledged_message_is_there(known: list[bool], data: st.DataObject) -> None:
    log = Log(list(range(len(known))), [number for number, stored in enumerate(known) if stored])
    read = [number for number in log.attempted if number in log.stored or data.draw(st.booleans())]
    assert check_log(log, read) == []
    if log.stored:
        lost = data.draw(st.sampled_from(log.stored))
        assert check_log(log, [number for number in read if number != lost]) == [
            f"message {lost} was acknowledged and is lost"
        ]


def test_repetition_phantom_or_other_order_is_found() -> None:
    log = Log([0, 1, 2], [0, 1, 2])
    assert check_log(log, [0, 1, 1, 2]) == ["message 1 is stored 2 times"]
    assert check_log(log, [0, 1, 2, 3]) == ["message 3 was never sent"]
    assert check_log(log, [0, 2, 1]) == ["message 1 is stored after 2"]
