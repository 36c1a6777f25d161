"""The demo event: a simulated track that comes with the package.

``demo.i3.zst`` beside this module is what ``skymap-scanner simulate --demo`` writes; a test compares the two.
"""

from __future__ import annotations

from pathlib import Path


def demo_event_path() -> Path:
    """Return where the demo event is."""
    return Path(__file__).with_name("demo.i3.zst")
