"""Keys and values of labels, annotations, taints and resources, as Kubernetes writes them.

Source: k8s.io/apimachinery, pkg/util/validation (IsQualifiedName, IsValidLabelValue). A key has at most 253 characters
here, where Kubernetes allows 317: no real one is longer.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field
from pydantic.alias_generators import to_snake

from skymap_api.resource.base import Rule

LONGEST_KEY = 253
_DOMAIN = "[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_NAME = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
#: A name, which may follow a domain and a slash.
KEY = f"({_DOMAIN}/)?{_NAME}"
#: The same with a domain.
KEY_WITH_DOMAIN = f"{_DOMAIN}/{_NAME}"
#: The key of an annotation, whose domain may have capital letters.
ANNOTATION_KEY = f"({_DOMAIN.replace('a-z', 'A-Za-z')}/)?{_NAME}"

#: A key of a label or taint.
Key = Annotated[str, Field(max_length=LONGEST_KEY, pattern=f"^{KEY}$")]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]


def is_key(key: str, pattern: str = KEY, longest: int = LONGEST_KEY) -> bool:
    """Return whether the text is a key."""
    return len(key) <= longest and re.fullmatch(pattern, key) is not None


def is_key_in_cel(pattern: str = KEY, longest: int = LONGEST_KEY) -> str:
    """Return the same as CEL, for the variable ``key``."""
    return f"(key.size() <= {longest} && key.matches('^{pattern}$'))"


def keys_rule(field: str, pattern: str = KEY) -> Rule:
    """Return the rule on the keys of the map ``field``, which a structural schema cannot express."""
    return Rule(
        f"{field}: each key must be a name, or a domain, a slash and a name: team, example.org/team",
        cel=f"!has(self.{field}) || self.{field}.all(key, {is_key_in_cel(pattern)})",
        holds=lambda model: all(is_key(key, pattern) for key in getattr(model, to_snake(field)) or ()),
        field=field,
    )
