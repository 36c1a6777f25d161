"""Decides what to do about one scan: the operator as one pure function.

A decision depends on the observed state alone, not on what changed. So it is right after any interruption: what was
decided before is either visible in the state, or is decided again.
"""

from __future__ import annotations

from skymap_api.resource import SkymapScanSpec
from skymap_operator.decide.actions import Decision
from skymap_operator.decide.deletion import decide_deleting
from skymap_operator.decide.finished import decide_ended, decide_finished, run_saver_again
from skymap_operator.decide.outcome import scan_outcome
from skymap_operator.decide.running import decide_running
from skymap_operator.decide.suspended import decide_suspended
from skymap_operator.decide.waiting import decide_waiting, waits_for_version
from skymap_operator.observe.state import ObservedState
from skymap_operator.settings import Settings


def decide(observed: ObservedState, settings: Settings) -> Decision:
    """Choose the policy for the state that the scan is in, and return what it decides."""
    scan, waits = observed.scan, waits_for_version(observed)
    if waits is not None:
        return decide_waiting(observed, waits, settings)
    if scan.deleting:
        return decide_deleting(observed, settings)
    if scan.finished or scan.spec is None:  # an unfinished scan without a readable spec waits
        return decide_finished(observed, settings)
    if scan.corrected:  # it gets its status before its next outcome is judged, since its deadlines start again
        return run_saver_again(observed, settings) or _decide_unfinished(observed, scan.spec, settings)
    outcome = scan_outcome(observed, scan.spec, settings)
    if outcome is not None:
        return decide_ended(observed, scan.spec, outcome, settings)
    return _decide_unfinished(observed, scan.spec, settings)


def _decide_unfinished(observed: ObservedState, spec: SkymapScanSpec, settings: Settings) -> Decision:
    if spec.suspend:
        return decide_suspended(observed, spec, settings)
    return decide_running(observed, spec, settings)
