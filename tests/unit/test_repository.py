"""The promises that no part of the program holds alone."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_every_ci_runs_the_readmes_test_command() -> None:
    readme = (ROOT / "README.md").read_text()
    command = re.search(r"^    (\S.*?)\s+# .*run all tests$", readme, re.MULTILINE)
    assert command is not None
    jobs = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]
    steps = [step["run"] for step in jobs["test"]["steps"] if "run" in step]
    assert steps == [command[1]]
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == command[1]


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("tests", {"benchmarks"}),
        ("testing", {"benchmarks", "tests"}),
        ("benchmarks", {"tests"}),
        *((product, {"benchmarks", "testing", "tests"}) for product in ("api", "operator", "worker_image")),
    ],
)
def test_tests_benchmarks_and_product_import_only_what_they_share(folder: str, forbidden: set[str]) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            roots = {module.partition(".")[0] for module in modules if module}
            assert not roots & forbidden, f"{path.relative_to(ROOT)} imports {', '.join(roots & forbidden)}"
