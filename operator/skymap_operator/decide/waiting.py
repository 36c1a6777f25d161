"""A scan that this version of the operator cannot read or carry on: it waits for another one, and nothing is changed.

The definition of SkymapScan has accepted the scan, so another version of it, or of the operator, wrote what cannot be
read here: after a rollback, or when definition and operator are upgraded one after the other. The pods run on.
"""

from __future__ import annotations

from collections.abc import Collection

from skymap_api.names import JOB_ROLES
from skymap_api.resource.status import Phase, Reason
from skymap_operator.decide.actions import Decision
from skymap_operator.decide.diagnose import Finding
from skymap_operator.decide.status import Verdict, update_status
from skymap_operator.observe.children import Child
from skymap_operator.observe.state import ObservedState
from skymap_operator.settings import Settings

_INSTALL = (
    "install operator and definition of the version that wrote this, or delete the scan; its pods run on as they are"
)


def decide_waiting(observed: ObservedState, finding: Finding, settings: Settings) -> Decision:
    """Report why the scan waits, and change nothing else of it."""
    verdict = Verdict(observed.scan.status.phase or Phase.PENDING, degraded=finding, waits=True)
    return Decision(update_status(observed, verdict), settings.resync_interval)


def waits_for_version(observed: ObservedState) -> Finding | None:
    """Return why only another version of the operator can carry the scan on; None if this one can.

    Without a readable spec a scan can still be deleted, and a finished one needs nothing more. Without a readable
    record not even its topics are known.
    """
    scan = observed.scan
    if scan.unreadable:
        return _finding(observed, f"cannot read status.runsWith: {scan.unreadable}")
    if scan.deleting or scan.finished:
        return None
    if scan.spec is None:
        return _finding(observed, f"cannot read the spec: {scan.spec_error}")
    return _begun_by_newer(observed, "run its saver again") if scan.corrected and observed.begun_by_newer else None


def objects_to_make(observed: ObservedState, jobs_again: Collection[str]) -> Finding | None:
    """Return which objects a scan lacks that a newer operator began, since only that one can make them; None if none.

    ``jobs_again``: roles whose Jobs must be made again. Kubernetes makes the pods of the objects that exist, so the
    scan goes on with them.
    """
    found = observed.children
    there: list[tuple[str, Child | None]] = [(f"Job of the {role}", found.jobs.get(role)) for role in JOB_ROLES]
    there += [("ConfigMap", found.config_map), ("claim", found.claim), ("Deployment of the workers", found.deployment)]
    missing = [what for what, child in there if child is None or child.terminating]
    missing += [f"Job of the {role} again" for role in JOB_ROLES if role in jobs_again]
    return _begun_by_newer(observed, f"create its {', '.join(missing)}") if missing else None


def _begun_by_newer(observed: ObservedState, what: str) -> Finding:
    runs = observed.scan.status.runs_with
    begun = "" if runs is None else f", since operator {runs.operator} began the scan"
    return _finding(observed, f"cannot {what}{begun}")


def _finding(observed: ObservedState, what: str) -> Finding:
    return Finding(Reason.OTHER_VERSION, f"this operator ({observed.operator}) {what} - {_INSTALL}")
