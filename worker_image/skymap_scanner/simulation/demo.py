"""The demo event: a simulated track that comes with the package.

``demo.i3.zst`` beside this module is what ``skymap-scanner simulate --demo`` writes; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

#: The arguments of ``simulate`` that make the demo event.
DEMO: Mapping[str, Any] = MappingProxyType(
    {"topology": "track", "ra": 77.43, "dec": 5.69, "energy": 1e5, "seed": 8, "vertex": (-100.0, -200.0, -80.0)}
)


def demo_event_path() -> Path:
    """Return where the demo event is."""
    return Path(__file__).with_name("demo.i3.zst")
