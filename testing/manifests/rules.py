"""Evaluates the CEL rules of a structural schema as the API server does: on objects with their defaults."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

from cel_expr_python import cel

from skymap_api.resource import quantities

Schema = dict[str, Any]

_TEXT, _INTEGER = cel.Type.STRING, cel.Type.INT


def _function(
    name: str, result: cel.Type, parameters: list[cel.Type], implementation: Callable[..., Any], *, method: bool = True
) -> Any:
    overload = cel.Overload(name, result, parameters, method, implementation)
    return cel.FunctionDecl(name, [overload])


#: Kubernetes' library for quantities (k8s.io/apiserver/pkg/cel/library/quantity.go), in which texts stand for them.
_FUNCTIONS = [
    _function("quantity", _TEXT, [_TEXT], lambda text: text, method=False),
    _function("compareTo", _INTEGER, [_TEXT, _TEXT], quantities.compare),
]
_ENVIRONMENT = cel.NewEnv(variables={"self": cel.Type.DYN, "oldSelf": cel.Type.DYN}, functions=_FUNCTIONS)


def with_defaults(value: Any, schema: Schema) -> Any:
    """Return the value with the defaults of its schema, at every depth."""
    if isinstance(value, dict) and "properties" in schema:
        value = dict(value)
        for name, inner in schema["properties"].items():
            if name not in value and "default" in inner:
                value[name] = copy.deepcopy(inner["default"])
            if name in value:
                value[name] = with_defaults(value[name], inner)
    elif isinstance(value, list):
        value = [with_defaults(one, schema["items"]) for one in value]
    return value


def complaints(schema: Schema, new: Any, old: Any = None) -> list[str]:
    """Return the violated rules of ``new``, or of a change from ``old`` to it, as ``path: message``."""
    old = None if old is None else with_defaults(old, schema)
    return list(_complaints(schema, with_defaults(new, schema), old, "spec"))


def _complaints(schema: Schema, new: Any, old: Any, path: str) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" in rule["rule"] and old is None:
            continue
        if not holds(rule["rule"], new, old):
            yield f"{path}{rule.get('fieldPath', '')}: {rule['message']}"
    if "properties" in schema:
        for name, inner in schema["properties"].items():
            if name in new:
                yield from _complaints(inner, new[name], (old or {}).get(name), f"{path}.{name}")
    elif schema.get("type") == "array":  # atomic: the items have no counterpart in the old list
        for index, one in enumerate(new):
            yield from _complaints(schema["items"], one, None, f"{path}[{index}]")


@functools.cache
def _compiled(rule: str) -> Any:
    return _ENVIRONMENT.compile(rule)


def holds(rule: str, new: Any, old: Any) -> bool:
    """Return whether a rule holds; raises AssertionError if it cannot be evaluated."""
    outcome = _compiled(rule).eval(data={"self": new, "oldSelf": old})
    if outcome.type() != cel.Type.BOOL:
        raise AssertionError(f"{rule} gave {outcome.value()}")
    return bool(outcome.value())


def rules(schema: Schema) -> Iterator[dict[str, str]]:
    """Yield every rule of a schema."""
    yield from schema.get("x-kubernetes-validations", ())
    for inner in schema.get("properties", {}).values():
        yield from rules(inner)
    if isinstance(schema.get("items"), dict):
        yield from rules(schema["items"])
