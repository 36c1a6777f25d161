"""GCN's schemas, as a validator of its notices."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

SCHEMAS = Path(__file__).resolve().parents[2] / "dev" / "kafka" / "schema.sh"
NAME = "gcn/notices/icecube/single_neutrino_alerts.schema.json"


@pytest.fixture(scope="session")
def schema_folder() -> Path:
    """The folder of GCN's schemas, downloaded if it is missing."""
    if shutil.which("npm") is None and not os.environ.get("CI"):
        pytest.skip("needs GCN's schemas, and npm to fetch them: see make kafka-install")
    installed = subprocess.run([str(SCHEMAS)], capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.fail(f"GCN's schemas cannot be fetched: {installed.stderr}", pytrace=False)
    return Path(installed.stdout.strip())


@pytest.fixture(scope="session")
def check_gcn(schema_folder: Path) -> Callable[[Any], None]:
    """Check a notice against GCN's schema.

    The schema allows further keys, and a misspelt one would be valid: so each key must be one that the schemas or the
    published examples name.
    """
    contents = [json.loads(path.read_text()) for path in sorted(schema_folder.rglob("*.schema.json"))]
    resources = [(content["$id"], Resource.from_contents(content)) for content in contents]
    main = json.loads((schema_folder / NAME).read_text())
    validator = Draft202012Validator(
        main, registry=Registry().with_resources(resources), format_checker=FormatChecker()
    )
    known = {"$schema", "description"}.union(*(content.get("properties", {}) for content in contents))

    def check(notice: Any) -> None:
        assert notice["$schema"] == main["$id"]
        validator.validate(notice)
        assert set(notice) <= known

    return check
