"""The promises that no part of the program holds alone."""

from __future__ import annotations

import re
from pathlib import Path

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
