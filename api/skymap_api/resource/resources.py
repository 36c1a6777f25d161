"""Resource requests and limits of a container.

The rules are those of a pod (k8s.io/kubernetes, pkg/apis/core/validation), without huge pages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from skymap_api.resource.base import Model, Rule
from skymap_api.resource.keys import KEY_WITH_DOMAIN, LONGEST_KEY, is_key, is_key_in_cel
from skymap_api.resource.quantities import Quantity, compare

Amounts = Annotated[dict[str, Quantity], Field(max_length=16)]

_STANDARD = ("cpu", "memory", "ephemeral-storage")
#: The first prefix is that of Kubernetes' own resources, the second that of quotas.
_NATIVE, _QUOTA = "kubernetes.io/", "requests."
#: A quota must be able to name the resource with its prefix.
_LONGEST = LONGEST_KEY - len(_QUOTA)
_WHOLE = "[0-9]{1,18}"


def _is_resource(name: str) -> bool:
    extended = is_key(name, KEY_WITH_DOMAIN, _LONGEST) and _NATIVE not in name and not name.startswith(_QUOTA)
    return name in _STANDARD or extended


_IS_RESOURCE = (
    f"key in {list(_STANDARD)} || ({is_key_in_cel(KEY_WITH_DOMAIN, _LONGEST)}"
    f" && !key.contains('{_NATIVE}') && !key.startsWith('{_QUOTA}'))"
)


def _quantity(field: str) -> str:
    return f"quantity(string(self.{field}[key]))"


def _each(field: str, condition: str) -> str:
    """Return the CEL expression that a condition holds for each ``key`` of a map that may be missing."""
    return f"(!has(self.{field}) || self.{field}.all(key, {condition}))"


def _for_all(condition: Callable[[str, Mapping[str, str]], bool]) -> Callable[[Resources], bool]:
    """Return the predicate that a condition on a name holds in requests and limits."""
    return lambda resources: all(
        condition(name, amounts) for amounts in (resources.requests or {}, resources.limits or {}) for name in amounts
    )


def _requests_within_limits(resources: Resources) -> bool:
    limits = resources.limits or {}
    return all(
        name not in limits or compare(amount, limits[name]) <= 0 for name, amount in (resources.requests or {}).items()
    )


def _devices_are_whole(resources: Resources) -> bool:
    requests, limits = resources.requests or {}, resources.limits or {}
    whole = all("/" not in name or re.fullmatch(_WHOLE, amount) for name, amount in limits.items())
    return whole and all(
        "/" not in name or (name in limits and compare(amount, limits[name]) == 0) for name, amount in requests.items()
    )


class Resources(Model):
    """Resource requests and limits of a worker."""

    requests: Amounts | None = None
    """Resources that are reserved for each worker, such as cpu: 1 and memory: 1Gi."""
    limits: Amounts | None = None
    """Most that a worker may use. A worker that exceeds its memory is killed."""

    rules: ClassVar = (
        Rule(
            "a resource is cpu, memory or ephemeral-storage, or has a domain of its own, such as nvidia.com/gpu",
            cel=f"{_each('requests', _IS_RESOURCE)} && {_each('limits', _IS_RESOURCE)}",
            holds=_for_all(lambda name, _: _is_resource(name)),
        ),
        Rule(
            "a request must not be more than its limit",
            cel="!has(self.limits) || "
            + _each(
                "requests",
                f"!(key in self.limits) || {_quantity('requests')}.compareTo({_quantity('limits')}) <= 0",
            ),
            holds=_requests_within_limits,
        ),
        Rule(
            "a resource with a domain, such as nvidia.com/gpu, needs a limit: a whole number, like its request",
            cel=_each("limits", f"!key.contains('/') || string(self.limits[key]).matches('^{_WHOLE}$')")
            + " && "
            + _each(
                "requests",
                "!key.contains('/') || (has(self.limits) && key in self.limits && "
                f"{_quantity('requests')}.compareTo({_quantity('limits')}) == 0)",
            ),
            holds=_devices_are_whole,
        ),
    )
