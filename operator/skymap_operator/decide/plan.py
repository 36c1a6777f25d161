"""From what is seen of a scan to what is to be done: the whole operator as one function without effects.

It looks at what is, not at what happened, so it does the right thing after any interruption: what it has decided is
either visible in what it sees next, or is decided once more.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from skymap_api.names import COLLECTOR, FINALIZER, PRODUCER, SAVER, WORKER, Names
from skymap_api.progress import ProgressPhase
from skymap_api.resource import SkymapScanSpec
from skymap_api.resource.base import Manifest
from skymap_api.resource.status import ConditionType, Phase, Reason
from skymap_operator.decide.actions import (
    Action,
    AddFinalizer,
    Create,
    Delete,
    Emit,
    EnsureTopics,
    Patch,
    Plan,
    Replace,
    SetStatus,
)
from skymap_operator.decide.diagnose import Finding, degraded, failure, owned
from skymap_operator.decide.drift import differs, job_patch
from skymap_operator.decide.ending import plan_deletion, plan_finished
from skymap_operator.decide.scaling import Cause, Demand, Direction, Scale, learned_seconds, scale
from skymap_operator.decide.status import Verdict, WorkersDecided, condition, news, next_status, phase_of, started
from skymap_operator.manifests import claim, config_map, jobs, workers
from skymap_operator.manifests.recipe import Recipe, recipe
from skymap_operator.observe.state import (
    DELETION_COST,
    Backlog,
    ObservedState,
    Pod,
    PulsarFault,
    PulsarState,
    job_condition,
    parse_time,
)
from skymap_operator.pulsar.access import runs_with
from skymap_operator.settings import Settings

#: The deletion cost of a busy worker: when there are to be fewer, the idle ones go first.
_BUSY_COST = 100


def plan(observed: ObservedState, settings: Settings) -> Plan:
    """Decide what to do about one scan."""
    scan = observed.scan
    if scan.deleting:
        return plan_deletion(observed, settings)
    if scan.finished:
        return plan_finished(observed, settings)
    outcome = _outcome(observed)
    if outcome is not None or scan.spec is None:
        succeeded = outcome is not None and outcome.reason is Reason.COMPLETED
        verdict = Verdict(Phase.SUCCEEDED if succeeded else Phase.FAILED, outcome=outcome)
        return Plan(_told(observed, verdict), 0.0)
    if scan.spec.suspend:
        return _suspended(observed, scan.spec, settings)
    return _running(observed, scan.spec, settings)


def _outcome(observed: ObservedState) -> Finding | None:
    """Return how the scan ended, if it has."""
    spec = observed.scan.spec
    if spec is not None and _results_written(observed):
        return Finding(Reason.COMPLETED, "the results are written")
    found = failure(observed)
    if found is not None or spec is None:
        return found
    return None if spec.suspend else _too_late(observed, spec)


def _results_written(observed: ObservedState) -> bool:
    """Tell whether the saver has said so, and has left (what it says last may else be lost with its pod)."""
    pulsar = observed.pulsar
    saver = _job(observed, SAVER)
    said = (
        isinstance(pulsar, PulsarState) and pulsar.progress is not None and pulsar.progress.phase is ProgressPhase.DONE
    )
    return said and saver is not None and _ended(saver)


def _too_late(observed: ObservedState, spec: SkymapScanSpec) -> Finding | None:
    start, status = started(observed), observed.scan.status
    if start is not None:
        limit = spec.active_deadline_seconds
        if limit is not None and observed.now - start > timedelta(seconds=limit):
            return Finding(Reason.DEADLINE_EXCEEDED, f"not done within activeDeadlineSeconds: {limit}")
        return None
    limit = spec.starting_deadline_seconds
    if limit is None or status.pixels is not None or observed.now - _waits_since(observed) <= timedelta(seconds=limit):
        return None
    why = degraded(observed)
    reason = "" if why is None else f": {why.message}"
    return Finding(Reason.NEVER_STARTED, f"no pod has started within startingDeadlineSeconds: {limit}{reason}")


def _waits_since(observed: ObservedState) -> datetime:
    """Return since when the scan could have started: it was made, or goes on after it was suspended."""
    progressing = condition(observed.scan.status, ConditionType.PROGRESSING)
    if progressing is None or progressing.status != "True":
        return observed.scan.created if progressing is None else observed.now
    return max(observed.scan.created, progressing.last_transition_time)


def _told(observed: ObservedState, verdict: Verdict) -> tuple[Action, ...]:
    """Return the change of the status, and the Events that tell it."""
    status = next_status(observed, verdict)
    old = observed.scan.status
    return () if status == old else (SetStatus(status), *news(old, status))


def _suspended(observed: ObservedState, spec: SkymapScanSpec, settings: Settings) -> Plan:
    """End the pods and keep everything else. What is not there is not made."""
    made = recipe(observed.scan, spec, settings, observed.tls_keys or frozenset())
    actions: list[Action] = []
    for role, wanted in jobs(made).items():
        live = _job(observed, role)
        if live is not None and not _ended(live) and not _leaves(live):
            actions += _patched(live, wanted | {"spec": wanted["spec"] | {"suspend": True}})
    live = observed.children.get(("Deployment", made.names.workers))
    scaled = None
    if live is not None and owned(observed, live) and not _leaves(live) and live["spec"].get("replicas", 1):
        actions.append(Patch("Deployment", made.names.workers, {"spec": {"replicas": 0}}))
        scaled = Direction.DOWN, Cause.SUSPENDED
    verdict = Verdict(Phase.SUSPENDED, workers=WorkersDecided(0, "the scan is suspended"))
    return Plan((*actions, *_told(observed, verdict)), settings.resync_interval, scaled)


def _running(observed: ObservedState, spec: SkymapScanSpec, settings: Settings) -> Plan:
    """Bring everything to what it should be: finalizer, status, topics, then objects."""
    scan, pulsar = observed.scan, observed.pulsar
    made = recipe(scan, spec, settings, observed.tls_keys or frozenset())
    busy = _busy(observed)
    current = _current(observed)
    decided = _scale(observed, spec, settings, current, busy)
    trouble = degraded(observed)
    verdict = Verdict(
        phase_of(observed),
        degraded=trouble,
        workers=replace(decided[1], wanted=decided[0].replicas, reason=decided[0].reason),
        runs_with=runs_with(scan.spec, scan.status, settings),
    )
    actions: list[Action] = []
    ready = isinstance(pulsar, PulsarState) and observed.tls_keys is not None
    if ready and FINALIZER not in scan.finalizers:
        actions.append(AddFinalizer())
    actions += _told(observed, verdict)
    if isinstance(pulsar, PulsarState) and ready:
        actions += _topics(made, pulsar)
    actions += _objects(observed, made, settings, make=ready)
    actions += _workers(observed, made, decided[0], busy, make=ready)
    waits = bool(actions) or trouble is not None
    again = settings.retry_interval if waits else settings.scaling_interval
    return Plan(tuple(actions), again, (decided[0].direction(current), decided[0].cause))


def _topics(made: Recipe, pulsar: PulsarState) -> list[Action]:
    """Make topics and subscriptions before anything is published, so that nothing published is lost."""
    wanted = {topic: made.topics.subscriptions(topic) for topic in made.topics.all()}
    missing = tuple(
        (topic, needed)
        for topic, needed in wanted.items()
        if topic not in pulsar.topics or not pulsar.topics[topic].issuperset(needed)
    )
    return [EnsureTopics(missing)] if missing else []


def _objects(observed: ObservedState, made: Recipe, settings: Settings, *, make: bool) -> list[Action]:
    """Make what is missing, where it may be made, and mend what differs."""
    actions: list[Action] = []
    config = config_map(made)
    live = observed.children.get(("ConfigMap", made.names.config_map))
    if live is None:
        actions += [Create(config)] if make else []
    elif owned(observed, live) and not _leaves(live) and differs(live, config):
        actions.append(Replace(config))
    new_claim = claim(made)
    if new_claim is not None and observed.claim is None and make:
        actions.append(Create(new_claim))
    for role, wanted in jobs(made).items():
        job = observed.children.get(("Job", made.names.job(role)))
        if job is None:
            actions += [Create(wanted)] if make else []
        elif owned(observed, job) and not _leaves(job):
            actions += _mended(observed, role, job, wanted, settings)
    return actions


def _mended(observed: ObservedState, role: str, job: Manifest, wanted: Manifest, settings: Settings) -> list[Action]:
    if not _ended(job):
        return _patched(job, wanted)
    if not _lost(observed, role, job, settings):
        return []
    again = f"Pulsar no longer has what the {role} had done, as when its disk is lost: the {role} runs again"
    return [Emit("Normal", "RunAgain", again), Delete("Job", job["metadata"]["name"])]


def _patched(job: Manifest, wanted: Manifest) -> list[Action]:
    patch = job_patch(job, wanted)
    return [Patch("Job", job["metadata"]["name"], {"spec": patch})] if patch else []


def _lost(observed: ObservedState, role: str, job: Manifest, settings: Settings) -> bool:
    """Tell whether a role's part is undone though its Job is complete: what it did is in Pulsar, which may lose it.

    All roles may run again without harm: they find in their topics what is done.
    """
    complete, pulsar = job_condition(job, "Complete"), observed.pulsar
    if complete is None or not isinstance(pulsar, PulsarState):
        return False
    ended = parse_time(complete.get("lastTransitionTime"))
    if ended is None or observed.now - ended < timedelta(seconds=settings.settle_seconds):
        return False
    progress = pulsar.progress
    if role == SAVER:
        return progress is None or progress.phase is not ProgressPhase.DONE
    if progress is not None and progress.phase is not ProgressPhase.SCANNING:
        return False
    idle = all(queue is not None and queue.waiting + queue.unacked == 0 for queue in (pulsar.tasks, pulsar.fits))
    return not pulsar.plan_ended or (role == COLLECTOR and not idle)


def _workers(
    observed: ObservedState, made: Recipe, decided: Scale, busy: frozenset[str], *, make: bool
) -> list[Action]:
    """Have so many workers; the idle ones go first where there are to be fewer."""
    live = observed.children.get(("Deployment", made.names.workers))
    if live is None:
        return [Create(workers(made, decided.replicas))] if make else []
    if not owned(observed, live) or _leaves(live):
        return []
    current = live["spec"].get("replicas", 1)
    wanted = decided.replicas
    actions: list[Action] = []
    if wanted < current:
        actions += _costs(observed.pods, busy)
    if differs(live, workers(made, current)):
        actions.append(Replace(workers(made, wanted)))
    elif wanted != current:
        actions.append(Patch("Deployment", made.names.workers, {"spec": {"replicas": wanted}}))
    if wanted != current:
        actions.append(Emit("Normal", "Scaled", f"from {current} to {wanted} workers: {decided.reason}"))
    return actions


def _costs(pods: tuple[Pod, ...], busy: frozenset[str]) -> list[Action]:
    """Mark the workers, so that those without a fit in hand go first."""
    wanted = {
        pod.name: _BUSY_COST if pod.name in busy else 0 for pod in pods if pod.role == WORKER and not pod.deleting
    }
    return [
        Patch("Pod", pod.name, {"metadata": {"annotations": {DELETION_COST: str(wanted[pod.name])}}})
        for pod in pods
        if pod.name in wanted and pod.deletion_cost != wanted[pod.name]
    ]


def _current(observed: ObservedState) -> int:
    """Return how many workers the Deployment is set to; none where there is none of this scan."""
    live = observed.children.get(("Deployment", Names.of(observed.scan.namespace, observed.scan.name).workers))
    return live["spec"].get("replicas", 1) if live is not None and owned(observed, live) else 0


def _scale(
    observed: ObservedState, spec: SkymapScanSpec, settings: Settings, current: int, busy: frozenset[str]
) -> tuple[Scale, WorkersDecided]:
    scan, pulsar = observed.scan, observed.pulsar
    ready = sum(pod.role == WORKER and pod.ready and not pod.deleting for pod in observed.pods)
    queue = _queue(pulsar)
    known = None if scan.status.workers is None else scan.status.workers.seconds_per_task
    if isinstance(pulsar, PulsarState):
        known = learned_seconds(pulsar.pace.done, pulsar.pace.seconds) or known
    start, producer = started(observed), _job(observed, PRODUCER)
    demand = Demand(
        waiting=None if queue is None else queue.waiting,
        in_flight=None if queue is None else queue.unacked,
        coming=_coming(pulsar, spec.seeds),
        busy=len(busy),
        current=current,
        pending=max(current - ready, 0),
        producer_done=isinstance(pulsar, PulsarState)
        and pulsar.plan_ended
        and producer is not None
        and _ended(producer),
        minimum=spec.workers.min,
        maximum=settings.max_workers if spec.workers.max is None else spec.workers.max,
        seconds_per_task=known or settings.seconds_per_task,
        startup=settings.startup_seconds,
        elapsed=0.0 if start is None else max((observed.now - start).total_seconds(), 0.0),
        target=spec.workers.target_seconds,
        share=observed.share,
        first=settings.first_workers,
    )
    return scale(demand), WorkersDecided(0, busy=len(busy), seconds_per_task=known)


def _queue(pulsar: PulsarState | PulsarFault) -> Backlog | None:
    """Return what the workers have to do: nothing while there are no topics yet, None where it cannot be known."""
    if not isinstance(pulsar, PulsarState):
        return None
    return pulsar.tasks if pulsar.topics else Backlog(0, 0)


def _coming(pulsar: PulsarState | PulsarFault, seeds: int) -> int:
    """Count the tasks that are planned and not in the queue yet: those of levels that are still to be decided.

    A snapshot is some seconds old: no more are to come than belong to pixels that are not done and not in the queue.
    """
    if (
        not isinstance(pulsar, PulsarState)
        or pulsar.progress is None
        or pulsar.progress.phase is not ProgressPhase.SCANNING
    ):
        return 0
    progress, queue = pulsar.progress, pulsar.tasks or Backlog(0, 0)
    later = sum(level.planned - level.done for level in progress.levels if not level.decided)
    left = (progress.planned - progress.done) * seeds - queue.waiting - queue.unacked
    return max(min(later * seeds, left), 0)


def _busy(observed: ObservedState) -> frozenset[str]:
    """Return the names of the workers that have a fit in hand.

    Behind a proxy the broker does not see who they are: then all that run may be.
    """
    if not isinstance(observed.pulsar, PulsarState):
        return frozenset()
    pods = [pod for pod in observed.pods if pod.role == WORKER and not pod.over and not pod.deleting]
    known = {pod.ip for pod in observed.pods if pod.role == WORKER}
    if observed.pulsar.busy <= known:
        return frozenset(pod.name for pod in pods if pod.ip in observed.pulsar.busy)
    held = 0 if observed.pulsar.tasks is None else observed.pulsar.tasks.unacked
    return frozenset(sorted(pod.name for pod in pods if pod.ready)[:held])


def _job(observed: ObservedState, role: str) -> Manifest | None:
    """Return the Job of a role, if it is this scan's."""
    job = observed.children.get(("Job", Names.of(observed.scan.namespace, observed.scan.name).job(role)))
    return job if job is not None and owned(observed, job) else None


def _ended(job: Manifest) -> bool:
    return any(job_condition(job, how) is not None for how in ("Complete", "Failed"))


def _leaves(live: Manifest) -> bool:
    return "deletionTimestamp" in live["metadata"]
