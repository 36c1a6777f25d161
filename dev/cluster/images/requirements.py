"""Print what a pyproject.toml requires, for pip: that of extras by their names, of the project as ``dependencies``.

    python3 requirements.py PYPROJECT NAME...

So an image has what it needs before our wheel, which changes more often; the operator's has nothing of the scanner's.
"""

# ruff: noqa: INP001 - a script

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

if __name__ == "__main__":
    project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
    groups = project["optional-dependencies"] | {"dependencies": project["dependencies"]}
    for name in sys.argv[2:]:
        print(*groups[name], sep="\n")  # noqa: T201
