"""Whether and how a scan has ended."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.operator.decisions import observed, snapshot
from tests.unit.operator.world import SETTINGS, START

from skymap_api.progress import ProgressPhase
from skymap_api.resource.status import Reason
from skymap_operator.decide.diagnose import Finding
from skymap_operator.decide.outcome import scan_outcome
from skymap_operator.observe.children import Children, Job
from skymap_operator.observe.state import ObservedState, Pod, PulsarFault, PulsarState, Termination

DONE = PulsarState(progress=snapshot(ProgressPhase.DONE))
WRITING = PulsarState(progress=snapshot(ProgressPhase.WRITING))
AWAY = PulsarFault(Reason.PULSAR_UNAVAILABLE, "no answer")
MINUTE = timedelta(minutes=1)
COMPLETED = Finding(Reason.COMPLETED, "the results are written")


def job(kind: str, reason: str = "PodFailurePolicy", *, owned: bool = True) -> Job:
    condition = {"type": kind, "status": "True", "reason": reason, "message": "it failed"}
    return Job({"metadata": {"name": "a"}, "status": {"conditions": [condition]}}, owned)


def found(state: ObservedState) -> Finding | None:
    assert state.scan.spec is not None
    return scan_outcome(state, state.scan.spec, SETTINGS)


@pytest.mark.parametrize(
    ("pulsar", "saver", "ended"),
    [
        (DONE, job("Complete"), True),
        # The pod that wrote the results was lost with its exit code.
        (DONE, job("Failed"), True),
        (DONE, job("Suspended"), False),
        (DONE, job("Complete", owned=False), False),
        (DONE, None, False),
        (WRITING, job("Complete"), False),
        (PulsarState(), job("Complete"), False),
        (AWAY, job("Complete"), False),
    ],
)
def test_scan_completes_when_saver_is_done_and_its_job_finished(
    pulsar: PulsarState | PulsarFault, saver: Job | None, *, ended: bool
) -> None:
    children = Children(jobs={} if saver is None else {"saver": saver})
    assert found(observed(pulsar=pulsar, children=children)) == (COMPLETED if ended else None)


@pytest.mark.parametrize(
    ("code", "words", "reason"),
    [
        (1, "Error: https://example.org/event.json: 404 Not Found", Reason.EVENT_UNREACHABLE),
        (1, "Error: https://example.org/event.json: Connection refused (attempts: 5)", Reason.EVENT_UNREACHABLE),
        (1, "Error: https://example.org/event.json: not finished after 600 s", Reason.EVENT_UNREACHABLE),
        (1, "Error: https://example.org/event.json: holds no physics (P) frame", Reason.EVENT_UNUSABLE),
        (1, "Error: another scan has this name", Reason.ROLE_FAILED),
        (70, "Internal error, please report it: KeyError: 'x'", Reason.ROLE_FAILED),
    ],
)
def test_producer_failure_distinguishes_download_from_content(code: int, words: str, reason: Reason) -> None:
    termination = Termination(code, "Error", f"INFO reading\n{words}\n")
    pod = Pod("alert-producer-1", "producer", "Failed", termination=termination)
    state = observed(children=Children(jobs={"producer": job("Failed")}), pods=(pod,))
    assert found(state) == Finding(reason, f"producer failed: {words}")


@pytest.mark.parametrize("first", ["a", "z"])
def test_last_pod_of_a_job_explains_its_failure(first: str) -> None:
    """The first one ended for another reason, and was retried. Names of pods end at random."""
    pods = (
        Pod(first, "producer", "Failed", created=START, termination=Termination(70, message="Internal error: first")),
        Pod("m", "producer", "Failed", created=START + MINUTE, termination=Termination(1, message="Error: no light")),
    )
    state = observed(
        children=Children(jobs={"producer": job("Failed")}), pods=tuple(sorted(pods, key=lambda pod: pod.name))
    )
    assert found(state) == Finding(Reason.EVENT_UNUSABLE, "producer failed: Error: no light")


@pytest.mark.parametrize(
    ("failed", "finding"),
    [
        (
            job("Failed", "DeadlineExceeded"),
            Finding(Reason.DEADLINE_EXCEEDED, "collector did not finish within activeDeadlineSeconds"),
        ),
        # The pod is gone, and so is its log.
        (job("Failed"), Finding(Reason.ROLE_FAILED, "collector failed: it failed")),
        # The Job belongs to an earlier scan of this name.
        (job("Failed", owned=False), None),
        (job("Complete"), None),
    ],
)
def test_failed_role_fails_the_scan(failed: Job, finding: Finding | None) -> None:
    assert found(observed(children=Children(jobs={"collector": failed}))) == finding


def crashing(number: int, code: int, restarts: int = 6) -> Pod:
    termination = Termination(code, "Error", "Error: no IceTray here")
    waiting = ("CrashLoopBackOff", "")
    return Pod(f"w-{number}", "worker", "Running", restarts=restarts, termination=termination, waiting=waiting)


@pytest.mark.parametrize(
    ("pods", "failed"),
    [
        ((crashing(1, 1), crashing(2, 2)), True),
        ((crashing(1, 1), crashing(2, 70)), False),
        ((crashing(1, 1), crashing(2, 1, restarts=5)), False),
        ((crashing(1, 1), Pod("w-2", "worker", "Running", ready=True)), False),
        ((crashing(1, 1), Pod("w-2", "worker", "Running", ready=True, terminating=True)), True),
        ((), False),
    ],
)
def test_scan_fails_when_every_worker_explains_an_error(pods: tuple[Pod, ...], *, failed: bool) -> None:
    finding = Finding(Reason.ROLE_FAILED, "every worker failed: Error: no IceTray here")
    assert found(observed(pods=pods)) == (finding if failed else None)


@pytest.mark.parametrize(
    ("codes", "reason"),
    [
        ((3, 3), Reason.SOFTWARE_MISMATCH),
        ((3, 1), Reason.ROLE_FAILED),
        ((3, 70), None),  # the crashing one may still fit
    ],
)
def test_workers_of_another_software_fail_the_scan_with_their_own_reason(
    codes: tuple[int, ...], reason: Reason | None
) -> None:
    pods = tuple(crashing(number, code) for number, code in enumerate(codes))
    finding = found(observed(pods=pods))
    assert (finding and finding.reason) == reason


@pytest.mark.parametrize("role", ["producer", "collector"])
def test_role_of_another_software_is_named(role: str) -> None:
    pod = Pod(f"alert-{role}-1", role, "Failed", termination=Termination(3, "Error", "Error: begun by 0.0.9\n"))
    state = observed(children=Children(jobs={role: job("Failed")}), pods=(pod,))
    assert found(state) == Finding(Reason.SOFTWARE_MISMATCH, f"{role} failed: Error: begun by 0.0.9")
