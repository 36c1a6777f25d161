"""YAML documents, read as ``kubectl`` reads them."""

from __future__ import annotations

import re
from collections.abc import Hashable
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
        If there are more than a manifest has, or an alias contains itself.
    """
    known: dict[int, int] = {}

    def size(value: Any) -> int:
        if not isinstance(value, dict | list):
            return 1
        if id(value) not in known:
            known[id(value)] = MAX_VALUES  # until it is counted, so that an alias that contains itself is rejected
            inner = [*value, *value.values()] if isinstance(value, dict) else value
            known[id(value)] = 1 + sum(map(size, inner))
        return known[id(value)]

    if size(document) > MAX_VALUES:
        raise InputError(f"{path} has more than {MAX_VALUES} values once its aliases are expanded: use fewer aliases")


class _Loader(yaml.SafeLoader):
    """Reads 1e5 as a number and 2026-01-02 as text, as YAML 1.2 does, and rejects duplicate keys."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as in the base class
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Reject duplicate keys, of which PyYAML would silently take the last."""
        scalars = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        seen = set()
        for key in scalars:
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key[1]!r}", node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)
