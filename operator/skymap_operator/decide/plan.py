"""Decides what to do about one scan: the operator as one pure function.

A decision depends on the observed state alone, not on what changed. So it is right after any interruption: what was
decided before is either visible in the state, or is decided again.
"""

from __future__ import annotations

from skymap_api.resource.status import Reason
from skymap_operator.decide.actions import Decision
from skymap_operator.decide.deletion import decide_deleting
from skymap_operator.decide.diagnose import Finding
from skymap_operator.decide.finished import decide_ended, decide_finished
from skymap_operator.decide.outcome import scan_outcome
from skymap_operator.decide.running import decide_running
from skymap_operator.decide.suspended import decide_suspended
from skymap_operator.observe.state import ObservedState
from skymap_operator.settings import Settings


def decide(observed: ObservedState, settings: Settings) -> Decision:
    """Choose the policy for the state that the scan is in, and return what it decides."""
    scan = observed.scan
    if scan.deleting:
        return decide_deleting(observed, settings)
    if scan.finished:
        return decide_finished(observed, settings)
    if scan.spec is None:
        return decide_ended(observed, Finding(Reason.INVALID_SPEC, f"the spec is invalid: {scan.spec_error}"))
    outcome = scan_outcome(observed, scan.spec)
    if outcome is not None:
        return decide_ended(observed, outcome)
    if scan.spec.suspend:
        return decide_suspended(observed, scan.spec, settings)
    return decide_running(observed, scan.spec, settings)
