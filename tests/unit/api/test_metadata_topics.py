from __future__ import annotations

import json
from typing import Any

import pytest

from skymap_api.metadata_topics import Deletion, decide_deletion, named_topics, topics_in_use
from skymap_api.names import ScanTopics

TOPICS = ScanTopics.of("a")
OTHER_PLAN = ScanTopics.of("b").plan
FRAMES = tuple(f"{TOPICS.metadata}{letter}" for letter in "gcdqp")


def first_entry(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        (None, ()),
        (first_entry(kind="scan", event={"metadata_topics": ["a", "b"], "run": 1}), ("a", "b")),
        (first_entry(kind="scan", event={"metadata_topics": []}), ()),
        (first_entry(kind="level"), None),
        (first_entry(kind="scan", version=99), None),
        (first_entry(event={"metadata_topics": [1]}), None),
        (first_entry(event={"metadata_topics": "a"}), None),
        (first_entry(event=None), None),
        (b"\xff", None),
        (b"[]", None),
        (b"[" * 100_000, None),
    ],
)
def test_first_entry_names_the_metadata_topics(entry: bytes | None, named: tuple[str, ...] | None) -> None:
    assert named_topics(entry) == named


def test_unreadable_plan_may_use_any_topic() -> None:
    assert topics_in_use([]) == frozenset()
    assert topics_in_use([("a", "b"), (), ("b", "c")]) == {"a", "b", "c"}
    assert topics_in_use([("a",), None]) is None


@pytest.mark.parametrize(
    ("named", "existing", "in_use", "deleted"),
    [
        (FRAMES, FRAMES, (), FRAMES),
        (FRAMES, FRAMES, FRAMES, ()),
        (FRAMES, FRAMES, (*FRAMES[:2], "another"), FRAMES[2:]),
        (FRAMES, FRAMES[3:], (), FRAMES[3:]),  # an earlier deletion was interrupted
        (FRAMES, FRAMES, None, ()),  # what other scans use is unknown
        ((), FRAMES, (), ()),
        ((OTHER_PLAN, *FRAMES), (OTHER_PLAN, *FRAMES), (), FRAMES),  # outside the prefix
        ((*FRAMES, *FRAMES), FRAMES, (), FRAMES),
        ((TOPICS.plan, *FRAMES), FRAMES, (), FRAMES),
    ],
)
def test_unused_metadata_topics_are_deleted(
    named: tuple[str, ...], existing: tuple[str, ...], in_use: tuple[str, ...] | None, deleted: tuple[str, ...]
) -> None:
    own = TOPICS.all()
    decided = decide_deletion(TOPICS, {*own, *existing}, named, in_use)
    assert decided.topics == (*own[:4], *deleted, TOPICS.plan, TOPICS.progress)
    assert set(decided.kept) == (set(named) & set(existing)) - set(deleted)


def test_only_existing_topics_are_deleted() -> None:
    existing = {TOPICS.collected, TOPICS.progress}
    assert decide_deletion(TOPICS, existing, FRAMES, ()) == Deletion((TOPICS.collected, TOPICS.progress))
    assert decide_deletion(TOPICS, (), (), ()) == Deletion(())
