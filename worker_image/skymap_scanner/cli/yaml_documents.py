"""YAML documents, read as ``kubectl`` reads them, and written so that every reader finds the same."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml

from skymap_scanner.errors import InputError

MAX_BYTES = 1 << 20
#: Most values of a document with its aliases expanded; the longest list of pixels has 4096.
MAX_VALUES = 100_000


def read_documents(path: Path) -> list[Any]:
    """Return the documents of a file without the empty ones.

    Raises
    ------
    InputError
        If the file cannot be read, is too large for a manifest, or is not YAML.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if len(text) > MAX_BYTES:
        raise InputError(f"{path} is larger than {MAX_BYTES} bytes: is it a manifest?")
    try:
        documents = [document for document in yaml.load_all(text, _Loader) if document is not None]
        for document in documents:
            _check_size(document, path)
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply for a manifest") from error
    return documents


def _check_size(document: Any, path: Path) -> None:
    """Count the values of a document with its aliases expanded: a few lines can expand to billions.

    Raises
    ------
    InputError
        If there are more than a manifest has, an alias contains itself, or a value is not one of JSON.
    """
    known: dict[int, int] = {}

    def size(value: Any) -> int:
        if not isinstance(value, dict | list):
            _check_json(value, path)
            return 1
        if id(value) not in known:
            known[id(value)] = MAX_VALUES  # until it is counted, so that an alias that contains itself is rejected
            inner = [*value, *value.values()] if isinstance(value, dict) else value
            known[id(value)] = 1 + sum(map(size, inner))
        return known[id(value)]

    if size(document) > MAX_VALUES:
        raise InputError(f"{path} has more than {MAX_VALUES} values once its aliases are expanded: use fewer aliases")


def write_documents(documents: Sequence[Any]) -> str:
    """Return documents as YAML whose text no reader takes for a number, a boolean, null or a date."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=100)


def read_scalar(text: str) -> Any:
    """Return the value that unquoted text has for ``kubectl``: ``1e5`` is a number, ``y`` true, ``2026-01-02`` text.

    The rules are those of sigs.k8s.io/yaml, a mixture of YAML 1.1 and 1.2. A number that fits no int64 is a float, as
    in JSON, and one that fits no float is text.
    """
    if text in _WORDS:
        return _WORDS[text]
    digits = text if text.startswith((".", "_")) else text.replace("_", "")
    if len(digits) <= _LONGEST_INTEGER and _INTEGER.fullmatch(digits):
        octal = re.sub(r"^([-+]?0)(?=[0-9])", r"\1o", digits)  # Python has no 017
        if -(2**63) <= int(octal, 0) < 2**63:
            return int(octal, 0)
    if _FLOAT.fullmatch(digits) and math.isfinite(float(digits)):
        return float(digits)
    return text


#: What unquoted words mean; ``kubectl`` reads ``y`` and ``n`` as YAML 1.1 does.
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **{f"{sign}.{word}": math.inf for sign in ("", "+") for word in ("inf", "Inf", "INF")},
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|0|[1-9][0-9]*)")
_LONGEST_INTEGER = len("-0b") + 64
_FLOAT = re.compile(r"[-+]?(\.[0-9]+(_[0-9]+)*|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")

#: Text that is written without quotes: it begins with a letter, as no number and no date does in any version of YAML.
_PLAIN = re.compile(r"[A-Za-z][ -~]*")

_TAG = "tag:yaml.org,2002:"
_TAGS = {bool: f"{_TAG}bool", int: f"{_TAG}int", float: f"{_TAG}float", type(None): f"{_TAG}null", str: f"{_TAG}str"}


def _check_json(value: Any, path: Path) -> None:
    """Reject what JSON cannot hold: infinity, and half a character, which an escape such as ``"\\ud800"`` makes."""
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{path}: {value} is not a number that a manifest may hold")
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{path}: {value!r} holds half a character, which is not Unicode") from error


class _Loader(yaml.SafeLoader):
    """Reads unquoted text as `read_scalar` does, and rejects duplicate keys."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """Return the tag of a value that has none; ``implicit[0]``: it is not quoted."""
        if kind is yaml.ScalarNode and implicit[0] and value != "<<":  # the key that merges another mapping
            return _TAGS[type(read_scalar(value))]
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        return tag

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Reject duplicate keys, of which PyYAML would silently take the last."""
        scalars = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        seen = set()
        for key in scalars:
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key[1]!r}", node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        """Return the value of a number, which may have an explicit tag."""
        return read_scalar(self.construct_scalar(node))

    def construct_text(self, node: yaml.ScalarNode) -> Any:
        """Return text as it is: ``<<`` is only special as a key."""
        return self.construct_scalar(node)


class _Dumper(yaml.SafeDumper):
    """Quotes all text that a reader might take for something else, and repeats equal parts instead of aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the name is that of the method it overrides
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Return text, in quotes unless it is plainly text."""
        plain = _PLAIN.fullmatch(text) and text not in _WORDS
        return self.represent_scalar(_TAGS[str], text, style=None if plain else '"')


for _type in (bool, int, float, type(None)):
    _Loader.add_constructor(_TAGS[_type], _Loader.construct_number)
_Loader.add_constructor(f"{_TAG}merge", _Loader.construct_text)
_Dumper.add_representer(str, _Dumper.represent_text)
