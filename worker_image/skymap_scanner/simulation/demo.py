"""How the demo event (`event.demo`) is made."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

#: The arguments of ``simulate`` that make the demo event.
DEMO: Mapping[str, Any] = MappingProxyType(
    {"topology": "track", "ra": 77.43, "dec": 5.69, "energy": 1e5, "seed": 8, "vertex": (-100.0, -200.0, -80.0)}
)
