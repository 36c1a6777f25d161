"""Lock files agree with pyproject.toml, and every way to disagree is reported."""

from __future__ import annotations

import re
import tomllib

import pytest
from dev.supply import lock

HASH = "    --hash=sha256:" + "0" * 64
REQUIREMENTS = ["numpy>=2.3", 'tomli>=2; python_version < "3.11"']
TEXT = f"""{lock.header(REQUIREMENTS)}
numpy==2.4.6 \\
{HASH} \\
{HASH}
tomli==2.5.0 ; python_full_version < '3.11' \\
{HASH}
"""


def test_files_of_the_repository_are_current() -> None:
    wanted = lock.groups(tomllib.loads((lock.ROOT / "pyproject.toml").read_text()))
    locks = {path.stem: path.read_text() for path in lock.FOLDER.glob("*.txt")}
    assert lock.problems(wanted, locks) == []
    assert {"scanner", "plots", "pulsar", "operator", "docs", "test", "bench", "build"} <= wanted.keys()


def test_locked_packages_support_the_oldest_python_of_the_project() -> None:
    project = tomllib.loads((lock.ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] + ".0" == f">={lock.OLDEST_PYTHON}"


def test_pins_are_read_with_marker_and_hashes() -> None:
    numpy, tomli = lock.read_pins(TEXT)
    assert (numpy.name, str(numpy.version), numpy.marker, numpy.hashes) == ("numpy", "2.4.6", None, 2)
    assert (tomli.name, tomli.hashes) == ("tomli", 1)
    assert numpy.applies({})
    assert tomli.applies({"python_full_version": "3.10.1"})
    assert not tomli.applies({"python_full_version": "3.12.0"})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (TEXT.replace("numpy>=2.3", "numpy>=2.2"), "scanner.txt was made from other requirements"),
        (TEXT.replace("numpy==2.4.6", "numpy==2.2.0"), "scanner.txt does not meet numpy>=2.3"),
        (TEXT.replace("numpy==2.4.6", "scipy==2.4.6"), "scanner.txt does not meet numpy>=2.3"),
        (TEXT.replace(f"3.11' \\\n{HASH}", "3.11'"), "scanner.txt has no hash of tomli"),
        (TEXT + "scipy>=1.16", "scanner.txt: not a pinned package: scipy>=1.16"),
        (TEXT + "--no-binary numpy", "scanner.txt: not a pinned package: --no-binary numpy"),
        (HASH + "\n" + TEXT, f"scanner.txt: not a pinned package: {HASH}"),
    ],
)
def test_difference_is_reported(text: str, problem: str) -> None:
    assert lock.problems({"scanner": REQUIREMENTS}, {"scanner": TEXT}) == []
    assert lock.problems({"scanner": REQUIREMENTS}, {"scanner": text}) == [problem]


def test_missing_and_foreign_files_are_reported() -> None:
    found = lock.problems({"scanner": REQUIREMENTS}, {"other": TEXT})
    assert found == ["scanner.txt is missing", "other.txt belongs to no extra"]


def test_two_versions_of_a_package_are_reported() -> None:
    locks = {"plots": TEXT, "scanner": TEXT.replace("tomli==2.5.0", "tomli==2.4.0")}
    found = lock.problems({"plots": REQUIREMENTS, "scanner": REQUIREMENTS}, locks)
    assert found == ["scanner.txt has tomli 2.4.0, another file has 2.5.0"]


def test_groups_are_the_projects_requirements() -> None:
    project = {"dependencies": ["a"], "optional-dependencies": {"plots": ["b"], "all": ["project[plots]"]}}
    pyproject = {"project": project, "build-system": {"requires": ["c"]}, "dependency-groups": {"hooks": ["d"]}}
    assert lock.groups(pyproject) == {"scanner": ["a"], "plots": ["b"], "build": ["c"], "hooks": ["d"]}


@pytest.mark.parametrize(("kind", "folder"), [("worker", "worker_image"), ("operator", "operator")])
def test_dockerfiles_install_the_lock_files_of_their_image(kind: str, folder: str) -> None:
    text = (lock.ROOT / folder / "Dockerfile").read_text()
    copied = re.search(r"^COPY (requirements/.*\.txt) ", text, re.MULTILINE)
    installed = re.search(r"--require-hashes ((?:-r \w+\.txt )+)", text)
    assert copied is not None
    assert installed is not None
    assert re.findall(r"(\w+)\.txt", copied[1]) == re.findall(r"(\w+)\.txt", installed[1]) == [*lock.IMAGES[kind]]
