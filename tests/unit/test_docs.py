"""README and docs: links that resolve, generated files that are current, lines and table cells that stay short."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from skymap_api.exit_codes import ExitCode

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
#: Pages outside the site, whose links Sphinx does not check.
ROOT_PAGES = sorted(ROOT.glob("*.md"))
PAGES = [*ROOT_PAGES, *sorted(DOCS.rglob("*.md"))]
FOLDERS = ("api", "benchmarks", "dev", "docs", "examples", "helm", "operator", "testing", "tests", "worker_image")
#: All files of these folders, relative to the root.
FILES = [path.relative_to(ROOT) for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.is_file()]
SOURCES = [
    ROOT / path
    for path in FILES
    if path.parts[0] != "docs" and path.suffix in {".py", ".yaml", ".json", ".sh", ".tpl", ".txt"}
]


def test_generated_files_are_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "dev/generate.py", "--check"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("page", ROOT_PAGES, ids=lambda page: page.name)
def test_links_of_root_pages_resolve(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)]*)\)", text) + re.findall(r'src="(?!https?:)([^"]*)"', text):
        assert _resolves(page, link), f"{page.name} links to {link}"


def test_paths_of_docs_in_sources_resolve() -> None:
    found = [
        (path.relative_to(ROOT), link)
        for path in SOURCES
        for link in re.findall(r"\bdocs/[\w/.-]+\.md(?:#[\w-]+)?", path.read_text())
        if not _resolves(ROOT / "x", link)
    ]
    assert found == []


def _resolves(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> set[str]:
    """Name the headings of a page as GitHub and MyST do: lower case, no punctuation, dashes for spaces."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_and_table_cells_are_short(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$|^    .*?$|^<img .*?$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    lines = prose.splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []
    cells = [cell.strip() for line in lines if line.startswith("|") for cell in line.split(" | ")]
    assert [cell for cell in cells if len(cell) > 90] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_source_files_that_a_page_names_exist(page: Path) -> None:
    named = set(re.findall(r"`([\w./-]+\.(?:py|sh|java|conf|tpl))`", page.read_text()))
    assert {name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in FILES)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tests_that_a_page_names_exist(page: Path) -> None:
    missing = []
    for file, test in re.findall(r"`([\w/.-]+\.py)::(\w+)`", page.read_text()):
        paths = [ROOT / path for path in FILES if f"/{path}".endswith(f"/{file}")]
        if not any(re.search(rf"^def {test}\(", path.read_text(), re.MULTILINE) for path in paths):
            missing.append(f"{file}::{test}")
    assert missing == []


def test_every_attack_names_a_test() -> None:
    rows = re.findall(r"^\| .*", (DOCS / "security/attacks.md").read_text(), re.MULTILINE)
    attacks = [row for row in rows if not row.endswith(" test |")]
    assert len(attacks) > 50
    assert [row for row in attacks if not re.search(r"`([\w/.-]+\.py::\w+|make test-replicated)` \|$", row)] == []


def test_every_exit_code_is_documented() -> None:
    rows = re.findall(r"^\| (\d+) \|", (DOCS / "reference/exit-codes.md").read_text(), re.MULTILINE)
    assert sorted(map(int, rows)) == sorted(ExitCode)
