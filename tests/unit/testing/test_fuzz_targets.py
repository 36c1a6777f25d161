"""The fuzz targets: each accepts inputs that are made by code; mutations of them raise what is meant, or nothing."""

from __future__ import annotations

import importlib
import logging
import random
import re
from collections.abc import Iterator

import pytest
from testing.fuzz.__main__ import INSTRUMENTED, MODULES, module_of
from testing.fuzz.target import Target, WrongError, require

NAMES = [name for names in MODULES.values() for name in names]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def target(name: str) -> Target:
    found: Target = next(
        one for one in importlib.import_module(f"testing.fuzz.{module_of(name)}").TARGETS if one.name == name
    )
    return found


def test_every_target_is_listed_once() -> None:
    for module, names in MODULES.items():
        targets = importlib.import_module(f"testing.fuzz.{module}").TARGETS
        assert tuple(one.name for one in targets) == names
    assert len(set(NAMES)) == len(NAMES)


def test_instrumented_modules_exist() -> None:
    for name in INSTRUMENTED:
        importlib.import_module(name)


@pytest.mark.parametrize("name", NAMES)
def test_target_accepts_its_first_inputs(name: str) -> None:
    one = target(name)
    seeds = one.seeds()
    assert any(one.run(data) for data in seeds)
    assert [len(data) for data in seeds if len(data) > one.longest] == []


@pytest.mark.parametrize("name", NAMES)
def test_mutations_raise_only_what_is_meant(name: str) -> None:
    one, draw = target(name), random.Random(name)
    for seed in one.seeds()[:8]:
        for _ in range(6):
            data = bytearray(seed)
            for _ in range(draw.randint(1, 3)):
                place = draw.randrange(len(data))
                data[place : place + draw.randint(0, 2)] = draw.randbytes(draw.randint(0, 2))
            one.run(bytes(data[: draw.choice([len(data), draw.randrange(len(data) + 1)])]))


def test_what_is_not_meant_escapes() -> None:
    def check(data: bytes) -> None:
        if data == b"a":
            raise KeyError(data)
        require(data != b"b", "b is wrong")

    one = Target("made up", check, lambda: [b""], (LookupError,))
    assert (one.run(b""), one.run(b"a")) == (True, False)
    with pytest.raises(WrongError, match=re.escape("b is wrong")):
        one.run(b"b")
