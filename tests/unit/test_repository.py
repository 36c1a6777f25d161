"""Consistency between files of the repository: README, CI, CONTRIBUTING and imports."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_every_ci_runs_the_test_command_of_the_readme() -> None:
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


def test_operator_reads_the_machines_clock_in_one_place() -> None:
    local = {"datetime.now", "datetime.utcnow", "datetime.today", "time.time"}
    found = set()
    for path in (ROOT / "operator/skymap_operator").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in local:
                found.add(path.name)
    assert found == {"clock.py"}


CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
#: Folders to which the paths in CONTRIBUTING may be relative.
FOLDERS = [ROOT, ROOT / "worker_image/skymap_scanner", ROOT / "operator/skymap_operator", ROOT / "api/skymap_api"]


def test_files_named_in_contributing_exist() -> None:
    named = set(re.findall(r"[`(]([\w.-]*(?:/[\w.-]+)+/?)[`)]", CONTRIBUTING))
    named |= set(re.findall(r"(?:pytest|`)[ ]?((?:tests|dev|docs|api|helm)/[\w./-]+)", CONTRIBUTING))
    assert len(named) > 30
    missing = [path for path in sorted(named) if not any((folder / path).exists() for folder in FOLDERS)]
    assert missing == []


def test_names_in_the_worked_examples_are_in_their_files() -> None:
    rows = re.findall(r"^\| `(\S+\.py)` \| (.*) \|$", CONTRIBUTING, re.MULTILINE)
    named = [(path, name) for path, text in rows for name in re.findall(r"`(\w+)`", text)]
    assert len(named) > 5
    for path, name in named:
        assert re.search(rf"\b{name}\b", (ROOT / path).read_text()), f"{path} has no {name}"


def test_commands_named_in_contributing_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", CONTRIBUTING))
    assert {"install", "test-unit"} <= named <= targets
    scripts = set(re.findall(r"`dev/(\S+) (\S+) v", CONTRIBUTING))
    assert all(f"{word} v" in (ROOT / "dev" / script).read_text() for script, word in scripts)


def test_actions_are_pinned_by_commit() -> None:
    workflows = [*(ROOT / ".github/workflows").glob("*.yml")]
    used = [action for path in workflows for action in re.findall(r"uses: (?!\./)(\S+.*)", path.read_text())]
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)] == []


def test_base_images_are_pinned_by_digest() -> None:
    for dockerfile in (ROOT / "worker_image/Dockerfile", ROOT / "operator/Dockerfile"):
        stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", dockerfile.read_text(), re.MULTILINE)
        bases = {image for image, _ in stages} - {name for _, name in stages}
        assert len(bases) == 1
        assert re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", bases.pop())


def test_every_described_make_target_is_listed_by_help() -> None:
    described = re.findall(r"^([a-z-]+):.*## (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    listed = subprocess.run(["make", "-C", ROOT, "help"], capture_output=True, text=True, check=True).stdout
    columns = set()
    for target, text in described:
        found = re.search(rf"^  make {target} +({re.escape(text)})$", listed, re.MULTILINE)
        assert found is not None, target
        columns.add(found.start(1) - found.start())
    assert len(columns) == 1, "the texts are in one column"
