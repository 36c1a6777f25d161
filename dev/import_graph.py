"""Draws which package imports which, as an SVG: sub-packages are boxes, imports are arrows that point down.

    python dev/import_graph.py > docs/images/imports.svg
    python dev/import_graph.py --commit f6849fc > docs/images/imports-before.svg

An arrow between two boxes of one package is left out when a chain of other arrows implies it. All imports from one
package to another are one arrow; between scanner and operator it is red, with their number.
Equal sources give equal bytes.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("api", "worker_image", "operator")
PACKAGES = ("skymap_scanner", "skymap_operator", "skymap_api")
BOX, ROW, GAP, MARGIN = 24, 58, 12, 24


@dataclass
class Package:
    """One package: its children by height above the lowest, the arrows between them, and where all is drawn (px)."""

    name: str
    rows: list[list[str]]
    arrows: list[tuple[str, str]]
    x: float = 0
    y: float = 0
    places: dict[str, tuple[float, float, float]] = field(default_factory=dict)

    @property
    def width(self) -> float:
        """Width of the frame."""
        return max(sum(_width(name) + GAP for name in row) for row in self.rows) + 2 * MARGIN

    @property
    def height(self) -> float:
        """Height of the frame."""
        return ROW * (len(self.rows) - 1) + BOX + 2 * MARGIN + 16

    def place(self, x: float, y: float) -> None:
        """Put the frame's upper left corner here, and the boxes into it: x, y, width of each."""
        self.x, self.y = x, y
        for number, row in enumerate(self.rows):
            left = x + (self.width - sum(_width(name) + GAP for name in row) + GAP) / 2
            for name in row:
                self.places[name] = (left, y + MARGIN + 16 + ROW * number, _width(name))
                left += _width(name) + GAP


def _width(name: str) -> float:
    return 7 * len(name) + 16


def read(folder: Path) -> tuple[list[Package], dict[tuple[str, str], int]]:
    """Return the packages under a folder, and the number of imports from one to another."""
    present = [name for name in PACKAGES if any((folder / one / name).is_dir() for one in FOLDERS)]
    sys.path[:0] = [str(folder / one) for one in FOLDERS]
    graph = grimp.build_graph(*present, cache_dir=None)
    crossings = {
        (one, other): sum(
            importer.startswith(f"{one}.") and imported.startswith(other)
            for importer in graph.modules
            for imported in graph.find_modules_directly_imported_by(importer)
        )
        for one in present
        for other in present
        if one != other
    }
    packages = []
    for name in present:
        children = sorted(graph.find_children(name))
        for child in children:
            if graph.find_children(child):
                graph.squash_module(child)
        imports = {
            child: graph.find_modules_directly_imported_by(child) & set(children) - {child} for child in children
        }
        packages.append(_package(name, imports))
    return packages, {pair: count for pair, count in crossings.items() if count}


def _package(name: str, imports: dict[str, set[str]]) -> Package:
    heights: dict[str, int] = {}

    def height(child: str) -> int:
        if child not in heights:
            heights[child] = 0  # holds while those below are measured, so that a cycle ends
            heights[child] = max((height(one) + 1 for one in imports[child]), default=0)
        return heights[child]

    top = max(height(child) for child in imports)
    rows = [sorted(_short(child) for child in imports if heights[child] == level) for level in range(top, -1, -1)]
    arrows = [
        (_short(child), _short(one))
        for child in sorted(imports)
        for one in sorted(imports[child])
        if not any(one in _below(other, imports) for other in imports[child] - {one})
    ]
    return Package(name, [row for row in rows if row], arrows)


def _below(child: str, imports: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [child]
    while waiting:
        new = imports[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def _short(module: str) -> str:
    return module.rpartition(".")[2]


def draw(packages: list[Package], crossings: dict[tuple[str, str], int]) -> str:
    """Return the picture: the contract below, what imports it side by side above."""
    above = [package for package in packages if package.name != "skymap_api"]
    x, low = float(MARGIN), 0.0
    for package in above:
        package.place(x, MARGIN)
        x += package.width + 4 * MARGIN
        low = max(low, MARGIN + package.height)
    x -= 3 * MARGIN
    for package in packages:
        if package not in above:
            package.place((x - package.width) / 2, low + 3 * MARGIN)
            low += 3 * MARGIN + package.height
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {x:.0f} {low + MARGIN:.0f}" '
            'font-family="sans-serif" font-size="12">'
        ),
        (
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0 8 4 0 8z" fill="context-stroke"/></marker></defs>'
        ),
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for package in packages:
        lines += _frame(package)
    by_name = {package.name: package for package in packages}
    for (one, other), count in sorted(crossings.items()):
        lines += _crossing(by_name[one], by_name[other], count)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _frame(package: Package) -> Iterator[str]:
    yield (
        f'<rect x="{package.x:.0f}" y="{package.y:.0f}" width="{package.width:.0f}" height="{package.height:.0f}" '
        'rx="8" fill="#f6f8fa" stroke="#8c959f"/>'
    )
    yield f'<text x="{package.x + 12:.0f}" y="{package.y + 20:.0f}" font-weight="bold">{escape(package.name)}</text>'
    for one, other in package.arrows:
        (x, y, w), (u, v, z) = package.places[one], package.places[other]
        yield _line(x + w / 2, y + BOX, u + z / 2, v, "#57606a", 1)
    for name, (x, y, w) in package.places.items():
        yield f'<rect x="{x:.0f}" y="{y:.0f}" width="{w:.0f}" height="{BOX}" rx="4" fill="#ddf4ff" stroke="#54aeff"/>'
        yield f'<text x="{x + w / 2:.0f}" y="{y + 16:.0f}" text-anchor="middle">{escape(name)}</text>'


def _crossing(one: Package, other: Package, count: int) -> Iterator[str]:
    if other.name == "skymap_api":
        x, y = one.x + one.width / 2, one.y + one.height
        u = min(max(x, other.x + 2 * MARGIN), other.x + other.width - 2 * MARGIN)
        v, colour = other.y, "#1a7f37"
    else:
        x, u = (one.x + one.width, other.x) if one.x < other.x else (one.x, other.x + other.width)
        y = v = one.y + min(one.height, other.height) / 2 + (0 if one.x < other.x else 2 * MARGIN)
        colour = "#cf222e"
    yield _line(x, y, u, v, colour, 3)
    if other.name != "skymap_api":
        yield (
            f'<text x="{(x + u) / 2:.0f}" y="{(y + v) / 2 - 6:.0f}" text-anchor="middle" fill="{colour}" '
            f'font-weight="bold">{count} imports</text>'
        )


def _line(x: float, y: float, u: float, v: float, colour: str, width: int) -> str:
    return (
        f'<path d="M{x:.0f} {y:.0f} {u:.0f} {v:.0f}" stroke="{colour}" stroke-width="{width}" '
        'fill="none" marker-end="url(#tip)"/>'
    )


def main() -> None:
    """Print the picture of the working tree, or of a commit."""
    parser = argparse.ArgumentParser(description="Draw the imports between packages as an SVG.")
    parser.add_argument("--commit", help="draw this commit instead of the working tree")
    commit = parser.parse_args().commit
    if commit is None:
        print(draw(*read(ROOT)), end="")
        return
    git = ["git", "-C", str(ROOT)]
    names = subprocess.run([*git, "ls-tree", "--name-only", commit], stdout=subprocess.PIPE, check=True).stdout.decode()
    folders = [one for one in FOLDERS if one in names.split()]
    archive = subprocess.run([*git, "archive", commit, "--", *folders], stdout=subprocess.PIPE, check=True).stdout
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
        print(draw(*read(Path(folder))), end="")


if __name__ == "__main__":
    main()
