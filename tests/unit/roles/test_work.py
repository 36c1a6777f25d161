from __future__ import annotations

import pytest

from skymap_scanner.roles.work import (
    MAX_PROPERTY,
    WORK_PROPERTY,
    SeedWork,
    Work,
    decode_round,
    decode_work,
    encode_round,
    encode_work,
    worker_name,
)

WORK = Work(worker="w", began=1.5, ended=2.5, attempt=1)


def test_work_is_read_as_it_was_written() -> None:
    assert decode_work({WORK_PROPERTY: encode_work(WORK)}) == WORK
    seeds = [SeedWork(seed=0, llh=None, **WORK.model_dump()), SeedWork(seed=1, llh=3.25, **WORK.model_dump())]
    assert decode_round(encode_round(seeds)) == seeds
    assert worker_name() == worker_name() != ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        '{"worker": "w", "began": NaN, "ended": 1, "attempt": 1}',
        '{"worker": "w", "began": 1e300, "ended": 1, "attempt": 1}',
        '{"worker": "w", "began": 1, "ended": 1, "attempt": 0}',
        f'{{"worker": "{"w" * 300}", "began": 1, "ended": 1, "attempt": 1}}',
        " " * MAX_PROPERTY + encode_work(WORK),
    ],
)
def test_unreadable_work_is_as_if_not_stated(text: str) -> None:
    assert decode_work({WORK_PROPERTY: text}) is None
    assert decode_round(text) == []
