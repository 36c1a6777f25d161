"""Print what one extra of a pyproject.toml requires: ``python3 requirements.py PYPROJECT EXTRA``."""

# ruff: noqa: INP001 - a script

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

if __name__ == "__main__":
    project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
    print(*project["optional-dependencies"][sys.argv[2]], sep="\n")  # noqa: T201
