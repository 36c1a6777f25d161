"""Reads pickles without unpickling: the instructions are interpreted on plain values, and all others are an error.

A pickle is a program that may import and call anything, so Python's own reader is never used. `read_pickle` knows
numbers, text, bytes, lists, tuples, dictionaries with text as keys, and the few classes and functions that its caller
names. Nothing is imported, and a name in the pickle is only looked up among these.

What a pickle can cost is limited: instructions are counted, each is read once, all arguments are part of the pickle,
numbers and keys are short, and so is the memory of all values together, in proportion to the pickle. A value that
contains itself, or is nested deeply, is an error.

``pickle_instructions.py`` reads the instructions, of protocols 0 to 5.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from skymap_scanner.errors import InputError
from skymap_scanner.event.pickle_instructions import UnknownInstructionError, instructions

#: Deepest nesting of lists, tuples and dictionaries. A realtime event has five levels.
MAX_DEPTH = 32
#: Longest key of a dictionary (bytes or characters): each use of a key costs its length. Real ones have some 10.
MAX_KEY = 256
#: Most memory (bytes) that all values may take together: for each byte of the pickle (text takes up to four), and for
#: each instruction (the largest is a dictionary with its first item).
MEMORY_OF_BYTE, MEMORY_OF_INSTRUCTION = 4, 512
#: Memory (bytes) of an item of a list, of a dictionary or of the memo, at most.
_MEMORY_OF_ITEM = 200


@dataclass(frozen=True)
class Allowed:
    """What a pickle may hold besides plain values.

    ``what`` names it in messages; ``instructions``: the most that are read. ``classes`` may be made without arguments
    and given a state, ``functions`` called; both are named ``module name``. A function takes the arguments, of any
    types, and raises InputError, TypeError, ValueError or OverflowError for those that it does not know.
    ``python2_text``: strings of Python 2 are text (Latin-1), not bytes.
    """

    what: str
    instructions: int
    classes: frozenset[str] = frozenset()
    functions: Mapping[str, Callable[..., object]] = field(default_factory=dict)
    python2_text: bool = False


@dataclass(frozen=True)
class Instance:
    """An object of one of the allowed classes, with the state that it was given."""

    kind: str
    state: object = None


def read_pickle(pickled: bytes, allowed: Allowed) -> Any:
    """Return the value in a pickle: plain values and `Instance`.

    Raises InputError if the pickle is damaged, or holds anything else.
    """
    machine = _Machine(allowed, len(pickled))
    try:
        for number, (name, argument) in enumerate(instructions(pickled)):
            if number == allowed.instructions:
                raise InputError(f"a pickle of more than {allowed.instructions} instructions is not {allowed.what}")
            machine.step(name, argument)
    except UnknownInstructionError as error:
        raise InputError(f"the pickle holds {error}, which {allowed.what} does not need") from error
    except ValueError as error:
        raise InputError(f"damaged pickle: {error}") from error
    except LookupError as error:
        raise InputError("damaged pickle: an instruction misses its operands") from error
    if len(machine.stack) != 1:
        raise InputError(f"the pickle is not {allowed.what}: it leaves {len(machine.stack)} values")
    _check_plain(machine.stack[0], allowed)
    return machine.stack[0]


def latin1_bytes(text: object, encoding: object) -> bytes:
    """Return what ``_codecs.encode`` makes of Latin-1 text, the only way in which pickles call it."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise InputError("the pickle calls encode with something else than (text, 'latin1')")
    return text.encode("latin-1")


def no_bytes() -> bytes:
    """Return the empty bytes, which Python 3 writes for Python 2 as ``bytes()``."""
    return b""


def empty_dictionary() -> dict[str, Any]:
    """Return what Python 3 fills when it writes an OrderedDict."""
    return {}


#: How Python 3 writes bytes in the protocols that Python 2 reads.
BYTES_FUNCTIONS: Mapping[str, Callable[..., object]] = {
    "_codecs encode": latin1_bytes,
    "__builtin__ bytes": no_bytes,
    "builtins bytes": no_bytes,
}


@dataclass(frozen=True)
class _Global:
    name: str


_MARK = object()


class _Machine:
    """The stack and the memo of a pickle, and what the instructions do to them."""

    def __init__(self, allowed: Allowed, size: int) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._allowed = allowed
        self._memory = MEMORY_OF_BYTE * size + MEMORY_OF_INSTRUCTION * allowed.instructions

    def step(self, name: str, argument: Any) -> None:
        match name:
            case "PUSH":
                self._push(argument)
            case "PUSH_STRING":
                self._push(argument.decode("latin-1") if self._allowed.python2_text else argument)
            case "GLOBAL":
                self._push(self._find(argument))
            case "MARK":
                self.stack.append(_MARK)
            case "PUT" | "MEMOIZE":
                self._take(_MEMORY_OF_ITEM)
                self._memo[len(self._memo) if argument is None else argument] = self.stack[-1]
            case "GET":
                self.stack.append(self._memo[argument])
            case "STACK_GLOBAL" | "REDUCE" | "BUILD":
                self._combine(name, *self._last(2))
            case _:
                self._contain(name)

    def _take(self, memory: int) -> None:
        """Count memory (bytes) that is taken; raises InputError when it is more than there may be."""
        self._memory -= memory
        if self._memory < 0:
            raise InputError("the pickle makes values that are much larger than itself")

    def _push(self, value: object) -> None:
        """Push a new value; those that it contains are counted already."""
        self._take(sys.getsizeof(value))
        self.stack.append(value)

    def _contain(self, name: str) -> None:
        """Make a container, or fill the last one."""
        match name:
            case "TUPLE" | "TUPLE0" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = self._marked() if name == "TUPLE" else self._last(int(name[-1]))
                self._push(tuple(items))
            case "EMPTY_LIST" | "LIST":
                self._push(self._marked() if name == "LIST" else [])
            case "EMPTY_DICT" | "DICT":
                items = self._marked() if name == "DICT" else []
                self._push({})
                self._set(items)
            case "APPEND" | "APPENDS":
                self._extend(self._marked() if name == "APPENDS" else self._last(1))
            case "SETITEM" | "SETITEMS":
                self._set(self._marked() if name == "SETITEMS" else self._last(2))

    def _last(self, count: int) -> list[Any]:
        """Take the last values from the stack; raises IndexError if there are not so many."""
        if len(self.stack) < count:
            raise IndexError
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def _marked(self) -> list[Any]:
        """Take what lies on the stack above the last mark, and the mark."""
        items: list[Any] = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _extend(self, items: list[Any]) -> None:
        into = self.stack[-1]
        if not isinstance(into, list):
            raise InputError("the pickle appends to something else than a list")
        self._take(len(items) * _MEMORY_OF_ITEM)
        into.extend(items)

    def _set(self, items: list[Any]) -> None:
        into = self.stack[-1]
        if not isinstance(into, dict) or len(items) % 2:
            raise InputError("the pickle sets items of something else than a dictionary, or a key without a value")
        self._take(len(items) // 2 * _MEMORY_OF_ITEM)
        into.update(dictionary(zip(items[::2], items[1::2], strict=True)))

    def _find(self, name: str) -> _Global:
        if name not in self._allowed.classes and name not in self._allowed.functions:
            shown = name[:100].replace(" ", ".")
            raise InputError(f"the pickle asks for {shown!r}, which {self._allowed.what} does not need")
        return _Global(name)

    def _combine(self, name: str, lower: Any, upper: Any) -> None:
        """Push what two values make."""
        if name == "STACK_GLOBAL":
            if not (isinstance(lower, str) and isinstance(upper, str)):
                raise InputError("the pickle names a class by something else than text")
            self._push(self._find(f"{lower} {upper}"))
        elif name == "REDUCE":
            self._push(self._call(lower, upper))
        elif isinstance(lower, Instance):
            self._push(Instance(lower.kind, upper))
        else:
            raise InputError("the pickle gives a state to something that has none")

    def _call(self, called: object, arguments: object) -> object:
        if not isinstance(called, _Global) or not isinstance(arguments, tuple):
            raise InputError("the pickle calls something that is no function")
        if called.name in self._allowed.classes and not arguments:
            return Instance(called.name)
        function, shown = self._allowed.functions.get(called.name), called.name.replace(" ", ".")
        if function is None:
            raise InputError(f"the pickle calls {shown} with arguments")
        try:
            return function(*arguments)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"the pickle calls {shown} with something that it does not take: {error}") from error


def dictionary(pairs: Any) -> dict[str, Any]:
    """Build a dictionary from key-value pairs; raises InputError for a key that is not text or is too long.

    Keys of bytes, of Python 2, become text. Other keys could be made to take very long.
    """
    found: dict[str, Any] = {}
    for key, value in pairs:
        if isinstance(key, bytes | str) and len(key) > MAX_KEY:
            raise InputError(f"the pickle has a dictionary with a key of {len(key)} characters")
        name = key.decode("latin-1") if isinstance(key, bytes) else key
        if not isinstance(name, str):
            raise InputError("the pickle has a dictionary with a key that is no text")
        found[name] = value
    return found


def _check_plain(value: object, allowed: Allowed) -> None:
    """Check that a value contains neither itself nor a function, and is not nested deeply; raises InputError."""
    depths: dict[int, int] = {}  # of the containers whose items are all checked, by their identity
    open_ones: set[int] = set()
    todo = [(value, False)]
    while todo:
        one, ready = todo.pop()
        if not isinstance(one, list | tuple | dict | Instance):
            if isinstance(one, _Global) or one is _MARK:
                raise InputError(f"the pickle is not {allowed.what}: it holds something that is no value")
            continue
        if id(one) in depths:
            continue
        items = _items(one)
        if ready:
            depths[id(one)] = 1 + max((depths.get(id(item), 0) for item in items), default=0)
            open_ones.discard(id(one))
            if depths[id(one)] > MAX_DEPTH:
                raise InputError(f"the pickle is nested more than {MAX_DEPTH} deep")
        elif id(one) in open_ones:
            raise InputError("the pickle holds a value that contains itself")
        else:
            open_ones.add(id(one))
            todo.append((one, True))
            todo.extend((item, False) for item in items)


def _items(container: Any) -> list[Any]:
    if isinstance(container, dict):
        return list(container.values())
    return [container.state] if isinstance(container, Instance) else list(container)
