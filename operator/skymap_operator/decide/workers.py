"""The workers of a scan that runs: the demand for them, which of them are busy, and what changes their number."""

from __future__ import annotations

from dataclasses import dataclass

from skymap_api.names import PRODUCER, WORKER
from skymap_api.progress import ProgressPhase
from skymap_api.pulsar_statistics import Subscription
from skymap_api.resource import SkymapScanSpec
from skymap_api.resource.base import Manifest
from skymap_api.resource.status import WorkersStatus
from skymap_operator.decide.actions import Action, Create, Emit, Patch, Replace
from skymap_operator.decide.deadlines import start_time
from skymap_operator.decide.drift import workers_differ
from skymap_operator.decide.scaling import Demand, Scale, learned_seconds, rounded_seconds, scale
from skymap_operator.decide.wanted import pods_known
from skymap_operator.manifests import image_by_digest, with_image, workers
from skymap_operator.manifests.recipe import Recipe
from skymap_operator.observe.children import Deployment
from skymap_operator.observe.state import DELETION_COST, ObservedState, Pod, PulsarFault, PulsarState
from skymap_operator.settings import Settings

#: Deletion cost of a busy worker, so that a ReplicaSet deletes idle ones first.
_BUSY_COST = 100


@dataclass(frozen=True)
class WorkersDecision:
    """The number of workers that was decided. ``current``: the number set now; ``busy``: names of the busy pods."""

    scale: Scale
    current: int
    busy: frozenset[str]
    seconds_per_task: float | None

    @property
    def status(self) -> WorkersStatus:
        """What the scan's status shows of it."""
        return WorkersStatus(
            desired=self.scale.replicas,
            reason=self.scale.reason,
            busy=len(self.busy),
            seconds_per_task=self.seconds_per_task,
        )


def decide_workers(observed: ObservedState, spec: SkymapScanSpec, settings: Settings) -> WorkersDecision:
    """Decide how many workers the scan should have."""
    scan, pulsar = observed.scan, observed.pulsar
    deployment, busy = observed.children.owned_deployment(), busy_workers(observed)
    current = 0 if deployment is None else deployment.replicas
    ready = sum(pod.role == WORKER and pod.ready and not pod.terminating for pod in observed.pods)
    known = None if scan.status.workers is None else scan.status.workers.seconds_per_task
    if isinstance(pulsar, PulsarState) and pulsar.tasks is not None:
        known = learned_seconds(pulsar.tasks.done, pulsar.tasks.spent) or known
    start, queue = start_time(observed), _queue(pulsar)
    demand = Demand(
        waiting=None if queue is None else queue.waiting,
        in_flight=None if queue is None else queue.unacked,
        planned=_planned(pulsar),
        busy=len(busy),
        current=current,
        pending=max(current - ready, 0),
        producer_done=_producer_done(observed),
        minimum=spec.workers.min,
        maximum=settings.max_workers if spec.workers.max is None else spec.workers.max,
        seconds_per_task=max(known or settings.seconds_per_task, _resimulation_seconds(pulsar, len(busy))),
        startup=settings.startup_seconds,
        elapsed=0.0 if start is None else max((observed.now - start).total_seconds(), 0.0),
        target=spec.workers.target_seconds,
        allocation=observed.allocation,
        first=settings.first_workers,
    )
    return WorkersDecision(scale(demand), current, busy, known)


def scale_workers(observed: ObservedState, recipe: Recipe, decided: WorkersDecision, *, create: bool) -> list[Action]:
    """Return the actions that create the Deployment, correct it, and set the number of workers."""
    live, wanted = observed.children.deployment, workers(recipe, decided.scale.replicas)
    image = None if observed.scan.status.runs_with is None else image_by_digest(observed.scan.status.runs_with)
    if live is None:
        return [Create(with_image(wanted, image))] if create else []
    if live.managed and pods_known(observed) and _to_replace(live, wanted, image):
        return _change(observed, live, decided, Replace(with_image(wanted, image)))
    return set_replicas(observed, decided)


def set_replicas(observed: ObservedState, decided: WorkersDecision) -> list[Action]:
    """Return the actions that set the number of workers, and change nothing else of them."""
    live, wanted = observed.children.deployment, decided.scale.replicas
    if live is None or not live.managed or live.replicas == wanted:
        return []
    return _change(observed, live, decided, Patch(live.kind, live.name, {"spec": {"replicas": wanted}}))


def _to_replace(live: Deployment, wanted: Manifest, image: str | None) -> bool:
    """Return whether the Deployment must be replaced. It may name its image with or without the digest."""
    wanted = wanted | {"spec": wanted["spec"] | {"replicas": live.replicas}}
    return all(workers_differ(live.manifest, one) for one in (wanted, with_image(wanted, image)))


def _change(observed: ObservedState, live: Deployment, decided: WorkersDecision, action: Action) -> list[Action]:
    """Return an action on the Deployment with what belongs to a change of the number of workers.

    Busy workers are marked before the number falls, so that idle ones are deleted first.
    """
    wanted = decided.scale.replicas
    marks = _mark_busy(observed.pods, decided.busy) if wanted < live.replicas else []
    message = f"from {live.replicas} to {wanted} workers: {decided.scale.reason}"
    return [*marks, action, *([Emit("Normal", "Scaled", message)] if wanted != live.replicas else [])]


def lower_workers(observed: ObservedState, most: int) -> list[Action]:
    """Return the actions that leave at most so many workers, and change nothing else of them."""
    live = observed.children.deployment
    if live is None or not live.managed or live.replicas <= most:
        return []
    message = f"from {live.replicas} to {most} workers: the scan may have no more"
    patch = Patch(live.kind, live.name, {"spec": {"replicas": most}})
    return [*_mark_busy(observed.pods, busy_workers(observed)), patch, Emit("Normal", "Scaled", message)]


def busy_workers(observed: ObservedState) -> frozenset[str]:
    """Return the names of the workers that have a task in flight.

    Behind a proxy the broker does not see the workers' addresses; then one ready worker counts as busy for each task in
    flight.
    """
    tasks = observed.pulsar.tasks if isinstance(observed.pulsar, PulsarState) else None
    if tasks is None:
        return frozenset()
    pods = [pod for pod in observed.pods if pod.role == WORKER and not pod.finished and not pod.terminating]
    addresses = {pod.ip for pod in observed.pods if pod.role == WORKER}
    if tasks.busy <= addresses:
        return frozenset(pod.name for pod in pods if pod.ip in tasks.busy)
    return frozenset(sorted(pod.name for pod in pods if pod.ready)[: tasks.unacked])


def _mark_busy(pods: tuple[Pod, ...], busy: frozenset[str]) -> list[Action]:
    costs = {
        pod.name: _BUSY_COST if pod.name in busy else 0 for pod in pods if pod.role == WORKER and not pod.terminating
    }
    return [
        Patch("Pod", pod.name, {"metadata": {"annotations": {DELETION_COST: str(costs[pod.name])}}})
        for pod in pods
        if pod.name in costs and pod.deletion_cost != costs[pod.name]
    ]


def _producer_done(observed: ObservedState) -> bool:
    producer, pulsar = observed.children.owned_job(PRODUCER), observed.pulsar
    return isinstance(pulsar, PulsarState) and pulsar.plan_ended and producer is not None and producer.finished


def _queue(pulsar: PulsarState | PulsarFault) -> Subscription | None:
    """Return the workers' queue: empty before the topics exist, None if it cannot be read."""
    if not isinstance(pulsar, PulsarState):
        return None
    return pulsar.tasks if pulsar.topics else Subscription()


def _resimulation_seconds(pulsar: PulsarState | PulsarFault, busy: int) -> float:
    """Return the time of a re-simulation (s) by the recent rate of ``busy`` workers; 0 before the first is done.

    It takes many times as long as the fits of pixels before it, which the mean of all fits would hide.
    """
    progress = pulsar.progress if isinstance(pulsar, PulsarState) else None
    if progress is None or progress.calibration is None or not progress.calibration.done or not progress.rate:
        return 0.0
    return rounded_seconds(busy / progress.rate)


def _planned(pulsar: PulsarState | PulsarFault) -> int:
    """Count the tasks that are expected and not yet published: those that the plan has not started.

    A snapshot is some seconds old, so the tasks that are published already are subtracted.
    """
    progress = pulsar.progress if isinstance(pulsar, PulsarState) else None
    if not isinstance(pulsar, PulsarState) or progress is None or progress.phase is not ProgressPhase.SCANNING:
        return 0
    queue = pulsar.tasks or Subscription()
    fits = progress.fits
    return max(min(fits.planned - fits.started, fits.planned - fits.done - queue.waiting - queue.unacked), 0)
