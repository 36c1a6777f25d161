"""Plain values from pickles of every protocol, as Python itself reads them; anything else is one error, soon."""

from __future__ import annotations

import contextlib
import datetime as dt
import math
import pickle
import struct
import sys
from collections import OrderedDict, defaultdict
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.security.conftest import at_most

from skymap_scanner.errors import InputError
from skymap_scanner.event.pickle_instructions import _OPCODES, MAX_NUMBER
from skymap_scanner.event.restricted_pickle import (
    BYTES_FUNCTIONS,
    MAX_DEPTH,
    MAX_KEY,
    MEMORY_OF_BYTE,
    MEMORY_OF_INSTRUCTION,
    Allowed,
    Instance,
    empty_dictionary,
    read_pickle,
)

DATES = {f"datetime {kind.__name__}": kind for kind in (dt.datetime, dt.date, dt.time, dt.timedelta, dt.timezone)}
ALLOWED = Allowed(
    "a message",
    instructions=5000,
    classes=frozenset({"box Box"}),
    functions={**BYTES_FUNCTIONS, **DATES, "collections OrderedDict": empty_dictionary},
    python2_text=True,
)

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes(timezones=st.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=-3))]))
    | st.dates()
    | st.timedeltas(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text(max_size=MAX_KEY), inner)
        | st.dictionaries(st.text(max_size=MAX_KEY), inner).map(OrderedDict)
    ),
    max_leaves=30,
)


@pytest.mark.parametrize("protocol", range(6))
@given(value=PLAIN)
def test_plain_value_is_what_python_reads(protocol: int, value: Any) -> None:
    assert read_pickle(pickle.dumps(value, protocol), ALLOWED) == value


@pytest.mark.parametrize("protocol", range(6))
def test_long_containers_and_shared_values_are_read(protocol: int) -> None:
    shared = {"a": b"shared"}
    value = {"list": list(range(1500)), "twice": [shared, shared], "nan": math.nan, "é": (1, 2, 3, 4)}
    found = read_pickle(pickle.dumps(value, protocol), ALLOWED)
    assert math.isnan(found.pop("nan"))
    del value["nan"]
    assert found == value
    assert found["twice"][0] is found["twice"][1]


#: As Python 2 writes {'a': 'b\xe9', u'c': [1L, True, None, 1.5]}.
PYTHON_2 = {
    0: b"(dp0\nS'a'\np1\nS'b\\xe9'\np2\nsVc\np3\n(lp4\nL1L\naI01\naNaF1.5\nas.",
    1: b"}q\x00(U\x01aq\x01U\x02b\xe9q\x02X\x01\x00\x00\x00cq\x03]q\x04(L1L\nI01\nNG?\xf8\0\0\0\0\0\0eu.",
    2: b"\x80\x02}q\x00(U\x01aq\x01U\x02b\xe9q\x02X\x01\x00\x00\x00cq\x03]q\x04(\x8a\x01\x01\x88NG?\xf8\0\0\0\0\0\0eu.",
}


@pytest.mark.parametrize("protocol", PYTHON_2)
def test_python_2_text_is_latin_1(protocol: int) -> None:
    assert pickle.loads(PYTHON_2[protocol], encoding="latin-1") == {"a": "bé", "c": [1, True, None, 1.5]}  # noqa: S301
    assert read_pickle(PYTHON_2[protocol], ALLOWED) == {"a": "bé", "c": [1, True, None, 1.5]}


def test_python_2_date_is_read() -> None:
    assert read_pickle(b"cdatetime\ndatetime\n(S'\\x07\\xe9\\x0b\\x1d\\x0f+\\x00\\x00\\x00\\x00'\ntR.", ALLOWED) == (
        dt.datetime(2025, 11, 29, 15, 43)  # noqa: DTZ001 - as in the pickle
    )


def test_keys_of_bytes_become_text() -> None:
    assert read_pickle(pickle.dumps({b"a\xe9": 1}), ALLOWED) == {"aé": 1}


def test_allowed_class_is_an_instance_with_its_state() -> None:
    assert read_pickle(b"cbox\nBox\n)R}b.", ALLOWED) == Instance("box Box", {})


class Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return sys.exit, ("harm was done",)


class Plain:
    pass


ITSELF: list[Any] = []
ITSELF.append([ITSELF])
CYCLE: dict[str, Any] = {}
CYCLE["a"] = {"b": CYCLE}
TEXT = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)

HOSTILE = {
    "calls a function": (pickle.dumps(Harm()), "asks for 'sys.exit', which a message does not need"),
    "calls a function by name": (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", "asks for 'os.system'"),
    "names by nested tuples": (b"\x80\x04)" + b"q\0h\0\x86" * 17 + b"q\0h\0\x93.", "by something else than text"),
    "makes an object": (pickle.dumps(Plain()), "asks for '.*Plain'|the instruction"),
    "makes a defaultdict": (pickle.dumps(defaultdict(list)), "asks for 'collections.defaultdict'"),
    "makes a Decimal": (pickle.dumps(Decimal(1)), r"asks for 'decimal\.Decimal'"),
    "makes a Fraction": (pickle.dumps(Fraction(1, 2), 0), "asks for|the instruction"),
    "makes a set": (pickle.dumps({1}, 4), "instruction .* which a message does not need"),
    "makes a set, protocol 2": (pickle.dumps({1}, 2), r"asks for '__builtin__\.set'"),
    "makes an instance of Python 2": (b"(i__main__\nPlain\n.", "the instruction 'i' at byte 1"),
    "has a persistent id": (b"Pabc\n.", "the instruction 'P' at byte 0"),
    "has an extension": (b"\x80\x02\x82\x01.", r"instruction '\\x82' at byte 2"),
    "is a function": (b"cdatetime\ndatetime\n.", "something that is no value"),
    "holds a function": (b"]cdatetime\ndatetime\na.", "something that is no value"),
    "is a mark": (b"(.", "something that is no value"),
    "calls a value": (b"N)R.", "calls something that is no function"),
    "calls a class with arguments": (b"cbox\nBox\n(NtR.", r"calls box\.Box with arguments"),
    "calls with a list": (b"cdatetime\ndatetime\n]R.", "calls something that is no function"),
    "makes a wrong date": (b"cdatetime\ndatetime\n(I1\nI99\nI1\ntR.", r"calls datetime\.datetime with something"),
    "makes a long time": (b"cdatetime\ntimedelta\n(I" + b"9" * 60 + b"\ntR.", r"calls datetime\.timedelta with"),
    "makes an ordered dictionary of pairs": (b"ccollections\nOrderedDict\n(]tR.", "with something that it does not"),
    "gives a value a state": (b"N}b.", "gives a state to something that has none"),
    "appends to a number": (b"I1\nI2\na.", "appends to something else than a list"),
    "sets an item of a list": (b"]I1\nI2\ns.", "sets items of something else"),
    "sets a key without value": (b"}(U\x01au.", "a key without a value"),
    "has a number as key": (pickle.dumps({1: 2}), "a key that is no text"),
    "has a nested tuple as key": (b"})" + b"q\0h\0\x86" * 300 + b"Ns.", "a key that is no text"),
    "has long bytes as key": (b"}B" + struct.pack("<I", 257) + b"a" * 257 + b"Ns.", "with a key of 257 characters"),
    "has long text as keys": (b"(" + TEXT + b"q\0N" + b"h\0N" * 2000 + b"d.", "with a key of 1048576 characters"),
    "contains itself": (pickle.dumps(ITSELF), "contains itself"),
    "contains itself in a dictionary": (pickle.dumps(CYCLE), "contains itself"),
    "is deep": (b")" + b"\x85" * MAX_DEPTH + b".", f"nested more than {MAX_DEPTH} deep"),
    "is deep from above": (b"".join(b"]r" + struct.pack("<I", i) for i in range(99)) + b"a" * 98 + b".", "deep"),
    "is deep behind a short way": (
        b"(]q\0" + b"".join(b"]q%ch%ca" % (i, i - 1) for i in range(1, 60)) + b"l.",
        "nested more than",
    ),
    "never stops": (b"\x80\x02" + b"N" * 6000, "more than 5000 instructions"),
    "leaves two values": (b"NN.", "leaves 2 values"),
    "leaves none": (b".", "leaves 0 values"),
    "has a long number": (b"\x8b" + struct.pack("<I", 65) + b"\1" * 65 + b".", "a number of 65 bytes"),
    "has long digits": (b"I" + b"1" * 65 + b"\n.", "a number of 65 characters"),
    "has a long place in the memo": (b"Np" + b"1" * 65 + b"\n.", "a number of 65 characters"),
    "has a wrong number": (b"Iabc\n.", "damaged pickle: invalid literal"),
    "has a wrong fraction": (b"Fabc\n.", "damaged pickle: could not convert"),
    "makes bytes again and again": (
        b"(c_codecs\nencode\nq\0" + TEXT + b"q\1X\6\0\0\0latin1q\2" + b"h\0h\1h\2\x86R" * 900 + b"l.",
        "makes values that are much larger than itself",
    ),
    "is cut": (pickle.dumps({"a": 1})[:-2], "damaged pickle"),
    "is empty": (b"", "damaged pickle: 1 bytes expected at 0"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickle_is_one_error(case: str) -> None:
    pickled, words = HOSTILE[case]
    with pytest.raises(InputError, match=words):
        read_pickle(pickled, ALLOWED)


def test_deepest_value_and_longest_number_are_read() -> None:
    value: Any = 2 ** (8 * MAX_NUMBER - 2)
    for _ in range(MAX_DEPTH):
        value = [value]
    assert read_pickle(pickle.dumps(value, 4), ALLOWED) == value


def test_longest_key_is_read() -> None:
    value = {"a" * MAX_KEY: 1}
    assert read_pickle(pickle.dumps(value, 2), ALLOWED) == value


#: Pickles that make the most memory out of each of their bytes.
GREEDY = {
    "text with one wide character": pickle.dumps("\U0001f52d" + "a" * 1_000_000),
    "text of Python 2": b"T" + struct.pack("<I", 1_000_000) + b"\xe9" * 1_000_000 + b".",
    "dictionaries of one item": b"(" + b"}U\0Ns" * 1200 + b"l.",
    "lists of one item": b"(" + b"]Na" * 1600 + b"l.",
    "a long memo": b"".join(b"Nr" + struct.pack("<I", 7 * number) for number in range(2400)) + b".",
    "durations": b"(" + b"cdatetime\ntimedelta\n)R" * 1600 + b"l.",
    "large numbers": b"(" + (b"\x8a\x40" + b"\1" * 64) * 4900 + b"l.",
}


@pytest.mark.parametrize("case", GREEDY)
def test_memory_of_any_pickle_is_in_proportion(case: str) -> None:
    pickled = GREEDY[case]
    allowed = MEMORY_OF_BYTE * len(pickled) + MEMORY_OF_INSTRUCTION * ALLOWED.instructions
    with at_most(allowed / 2**20), contextlib.suppress(InputError):
        read_pickle(pickled, ALLOWED)


def test_shared_tuples_are_checked_once() -> None:
    pickled = b")" + b"q\0h\0\x86" * (MAX_DEPTH - 1) + b"."  # 2**31 empty tuples, if each were visited
    found = read_pickle(pickled, ALLOWED)
    assert found[0] is found[1]


@given(st.lists(st.sampled_from(sorted(_OPCODES)) | st.binary(max_size=5), max_size=40).map(b"".join))
def test_any_instructions_raise_only_the_documented_error(pickled: bytes) -> None:
    for end in (b"", b"."):
        with contextlib.suppress(InputError):
            read_pickle(pickled + end, ALLOWED)
