"""Ask PyPI for known vulnerabilities of all locked packages, by pip-audit. A finding fails.

    python -m dev.supply.audit [--required]

Where the service does not answer, one line says so, and the audit passes. With --required it fails, as in releases.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.supply.lock import FOLDER, IMAGES, read_pins
from packaging.utils import canonicalize_name

#: Advisories that do not apply to how we use a package, each with the reason.
ACCEPTED: dict[str, str] = {}

#: Seconds for one answer of the service, and for all.
ANSWER, ALL = 15, 180
#: How pip-audit ends when its service does not answer: a line of its log, or the exception of its HTTP client.
_UNREACHABLE = re.compile(
    r"Could not connect|ConnectionError|ConnectTimeout|ReadTimeout|SSLError|HTTPError|ServiceError"
)


class AuditError(Exception):
    """pip-audit failed for another reason than its service."""


@dataclass(frozen=True)
class Report:
    """What pip-audit found: a line for each vulnerability, and the packages that the service did not know."""

    findings: tuple[str, ...]
    audited: int
    unknown: tuple[str, ...]


def read_report(code: int, output: str, errors: str) -> Report | None:
    """Read what pip-audit printed; None if its service did not answer.

    Raises
    ------
    AuditError
        if pip-audit failed otherwise, as with wrong arguments
    """
    if code not in {0, 1} or not output.lstrip().startswith("{"):
        last = (errors.strip().splitlines() or ["no output"])[-1]
        if code == 1 and _UNREACHABLE.search(errors):
            return None
        msg = f"pip-audit exited with {code}: {last}"
        raise AuditError(msg)
    packages = json.loads(output)["dependencies"]
    findings = [
        f"{package['name']} {package['version']}: {flaw['id']}{_aliases(flaw['aliases'])}, {_fix(flaw['fix_versions'])}"
        for package in packages
        for flaw in package.get("vulns", ())
        if not {flaw["id"], *flaw["aliases"]} & ACCEPTED.keys()
    ]
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    return Report(tuple(dict.fromkeys(findings)), len(packages) - len(unknown), tuple(unknown))


def _aliases(names: Sequence[str]) -> str:
    return f" ({', '.join(names)})" if names else ""


def _fix(versions: Sequence[str]) -> str:
    return f"fixed in {', '.join(versions)}" if versions else "not fixed yet"


def verdict(report: Report | None, *, required: bool, shipped: Collection[str] = ()) -> tuple[int, str]:
    """Return exit code and text; ``shipped`` are the packages in images, which the text marks."""
    if report is None or not report.audited:
        return int(required), "audit: nothing was audited, since PyPI's advisories cannot be reached from here"
    lines = [
        f"audit: {finding}{' (in an image)' if canonicalize_name(finding.split()[0]) in shipped else ''}"
        for finding in report.findings
    ]
    if report.unknown:
        lines.append(f"audit: PyPI has no advisories for {', '.join(report.unknown)}")
    lines.append(f"audit: {len(report.findings)} vulnerabilities in {report.audited} packages")
    return int(bool(report.findings) or (required and bool(report.unknown))), "\n".join(lines)


def arguments(locks: Sequence[Path]) -> list[str]:
    """Return the arguments of pip-audit for lock files."""
    words = ["--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    words += ["--timeout", str(ANSWER)]
    return words + [word for path in locks for word in ("--requirement", str(path))]


def run(locks: Sequence[Path]) -> Report | None:
    """Run pip-audit on lock files."""
    program = Path(sys.executable).with_name("pip-audit")
    try:
        done = subprocess.run([program, *arguments(locks)], capture_output=True, text=True, check=False, timeout=ALL)
    except subprocess.TimeoutExpired:
        return None
    return read_report(done.returncode, done.stdout, done.stderr)


def main() -> None:
    """Audit, and exit as the module says."""
    parser = argparse.ArgumentParser(description="Ask PyPI for known vulnerabilities of all locked packages.")
    parser.add_argument("--required", action="store_true", help="fail if PyPI does not answer")
    given = parser.parse_args()
    locks = sorted({FOLDER / f"{name}.txt" for names in IMAGES.values() for name in names})
    shipped = {pin.name for path in locks for pin in read_pins(path.read_text())}
    try:
        report = run([FOLDER / "pulsar.txt"])  # two packages tell whether the service answers
        if report is not None and report.audited:
            report = run(sorted(FOLDER.glob("*.txt")))
        code, text = verdict(report, required=given.required, shipped=shipped)
    except AuditError as error:
        code, text = 1, f"audit: {error}"
    print(text)
    sys.exit(code)


if __name__ == "__main__":
    main()
