"""Base class, validation rules and common types of the resource's models.

A `Rule` is written twice: as a Python predicate, for a manifest that is read here, and as a CEL expression for the API
server. Both reject with the same message; the tests check that they agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    Strict,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

T = TypeVar("T")

#: A Kubernetes object as JSON.
Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition that a model must meet beyond the types of its fields.

    ``holds`` checks an instance; None if only a cluster has the restriction, so that ``skymap-scanner run`` accepts it.
    ``cel`` checks ``self``, the same object in the API server; ``field`` is the one that the error names there.
    """

    message: str
    cel: str
    holds: Callable[[Any], bool] | None
    field: str | None = None

    def schema(self) -> dict[str, str]:
        """Return the rule as an entry of ``x-kubernetes-validations``."""
        entry = {"rule": self.cel, "message": self.message}
        return entry if self.field is None else entry | {"fieldPath": f".{self.field}"}


class Model(BaseModel):
    """A part of the resource: camelCase in manifests, unknown fields rejected, instances immutable."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    #: Fields that cannot be changed after creation.
    immutable: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        broken = [rule.message for rule in self.rules if rule.holds is not None and not rule.holds(self)]
        if broken:
            raise ValueError("; ".join(broken))
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the rules to the schema of the class."""
        schema = handler.resolve_ref_schema(handler(core))
        rules = [rule.schema() for rule in cls.rules] + [_unchanged(name) for name in cls.immutable]
        if rules:
            schema["x-kubernetes-validations"] = rules
        return schema


def to_manifest(model: Model) -> Manifest:
    """Return a part of the resource as Kubernetes writes it: camelCase, without unset fields."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _unchanged(name: str) -> dict[str, str]:
    """Return the CEL rule that a field is immutable.

    Even a field with a default may be missing: the API server also evaluates the rules of an object on its default,
    {}, before it fills in the defaults of the fields.
    """
    field = to_camel(name)
    same = f"self.{field} == oldSelf.{field}"
    same = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || {same})"
    message = f"{field} cannot be changed: apply another SkymapScan, or delete this one first"
    return {"rule": same, "message": message, "fieldPath": f".{field}"}


#: Marks fields that only clusters use.
CLUSTER_ONLY = "cluster only"
#: ``OnCluster[T]``: a field of type T that ``skymap-scanner run`` accepts and ignores, with a note.
OnCluster = Annotated[T, CLUSTER_ONLY]


def given_for_clusters(model: Model) -> list[str]:
    """Return the paths of the given fields that only clusters use, such as ``workers.min``."""
    paths = []
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if name not in model.model_fields_set or value is None:
            continue
        if CLUSTER_ONLY in field.metadata:
            paths.append(to_camel(name))
        elif isinstance(value, Model):
            paths += [f"{to_camel(name)}.{inner}" for inner in given_for_clusters(value)]
    return paths


# The API server does not accept "7" for 7 or "true" for true, so neither do these types.
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
#: Largest int32. Every integer of the resource is bounded, so that its format is known.
INT32 = 2**31 - 1
Count = Annotated[Whole, Field(ge=0, le=INT32)]
Positive = Annotated[Whole, Field(ge=1, le=INT32)]
#: HEALPix grids that the scanner allows: the pixels of the finest are 26 arc seconds wide.
Nside = Literal[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]

#: Names of Kubernetes objects (RFC 1123 subdomain), and keys in a Secret or ConfigMap.
ObjectName = Annotated[
    str, Field(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
]
#: No key is ``.`` or begins with two dots, which would be other folders.
DataKey = Annotated[str, Field(max_length=253, pattern=r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$")]
#: Names of namespaces (RFC 1123 label).
NamespaceName = Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
#: A name outside Kubernetes: of a reconstruction or a tenant.
Word = Annotated[str, Field(max_length=63, pattern=r"^[A-Za-z0-9][-_.A-Za-z0-9]*$")]


def _scalar(value: Any) -> Any:
    if not isinstance(value, bool | int | float | str):
        raise ValueError("must be a number, a text, true or false")  # noqa: TRY004 - pydantic takes a ValueError
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    if isinstance(value, str) and len(value) > _LONGEST_PARAMETER:
        raise ValueError(f"must have at most {_LONGEST_PARAMETER} characters")
    return value


_LONGEST_PARAMETER = 1024
#: A number, a text, true or false. Nested values are rejected: Python cannot parse JSON that is nested 1000 levels
#: deep, so one such scan would make every list of scans unreadable.
Parameter = Annotated[
    Any,
    AfterValidator(_scalar),
    WithJsonSchema(
        {
            "x-kubernetes-preserve-unknown-fields": True,
            "maxItems": 0,
            "maxProperties": 0,
            "maxLength": _LONGEST_PARAMETER,
        }
    ),
]


def stays_inside(path: str) -> bool:
    """Return whether a relative path stays inside its folder."""
    return not path.startswith("/") and ".." not in path.split("/")


def inside_rule(field: str) -> Rule:
    """Return the rule that the path in ``field`` stays inside its claim."""
    return Rule(
        f"{field} must be relative to the claim and stay inside it (no leading /, no ..)",
        cel=f"!has(self.{field}) || !self.{field}.matches('^/|(^|/)[.][.](/|$)')",
        holds=lambda model: getattr(model, field) is None or stays_inside(getattr(model, field)),
        field=field,
    )
