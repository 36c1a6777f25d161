"""A scan that runs: its finalizer, status, topics and objects are brought to what they should be, in this order."""

from __future__ import annotations

from datetime import timedelta

from skymap_api.names import COLLECTOR, FINALIZER, SAVER
from skymap_api.progress import ProgressPhase
from skymap_api.resource import SkymapScanSpec
from skymap_api.resource.base import Manifest
from skymap_api.resource.quantities import compare
from skymap_api.resource.status import WorkersStatus
from skymap_operator.decide.actions import (
    Action,
    AddFinalizer,
    Create,
    Decision,
    Delete,
    Emit,
    EnlargeClaim,
    EnsureTopics,
    Replace,
)
from skymap_operator.decide.allowed import closed_destinations, not_allowed
from skymap_operator.decide.diagnose import Finding, find_obstacle, find_shortage
from skymap_operator.decide.drift import differs, patch_job, settings_differ, template_differs
from skymap_operator.decide.status import Verdict, phase_of, update_status
from skymap_operator.decide.tokens import issue_tokens
from skymap_operator.decide.waiting import objects_to_make
from skymap_operator.decide.wanted import newly_raised, pods_known, recipe_of, record, role_memory
from skymap_operator.decide.workers import WorkersDecision, decide_workers, lower_workers, scale_workers, set_replicas
from skymap_operator.manifests import claim, config_map, image_by_digest, jobs, with_image
from skymap_operator.manifests.recipe import Recipe
from skymap_operator.observe.children import Job
from skymap_operator.observe.state import ObservedState, PulsarState, parse_time
from skymap_operator.pulsar.access import pulsar_access
from skymap_operator.settings import Settings


def decide_running(observed: ObservedState, spec: SkymapScanSpec, settings: Settings) -> Decision:
    """Create what is missing and correct what differs.

    Nothing is created until Pulsar can be reached, since the topics must exist first, nor for a scan that asks for more
    than the administrator allows.
    """
    scan, pulsar = observed.scan, observed.pulsar
    access = pulsar_access(scan.namespace, spec, scan.status, settings)
    refused = not_allowed(scan.namespace, spec, settings, access.refused, begun=scan.status.runs_with is not None)
    if refused is not None:
        return _hold(observed, spec, refused, settings)
    decided = decide_workers(observed, spec, settings)
    if observed.begun_by_newer:
        return _watch(observed, spec, decided, settings)
    recipe, memory = recipe_of(observed, spec, settings), role_memory(observed, settings)
    ready = isinstance(pulsar, PulsarState) and pods_known(observed)
    trouble = find_obstacle(observed)
    verdict = Verdict(
        phase_of(observed),
        degraded=trouble,
        shortage=find_shortage(observed),
        workers=decided.status,
        runs_with=record(observed, recipe, settings, starts=ready),
        role_memory=memory,
        closed=closed_destinations(scan.namespace, spec, settings),
    )
    actions: list[Action] = []
    if ready and FINALIZER not in scan.finalizers:
        actions.append(AddFinalizer())
    actions += update_status(observed, verdict)
    actions += [
        Emit("Warning", "MemoryRaised", f"{one.role}: {one.message}; it runs again with {one.limit}")
        for one in newly_raised(observed, settings)
    ]
    if isinstance(pulsar, PulsarState) and ready:
        actions += _topics(observed, recipe, pulsar)
    actions += issue_tokens(observed, recipe, settings, create=ready)
    actions += _objects(observed, recipe, settings, create=ready)
    actions += scale_workers(observed, recipe, decided, create=ready)
    actions += _enlarge_claim(
        observed, spec
    )  # last, since nothing else waits for it and many storage classes refuse it
    waiting = bool(actions) or trouble is not None
    return Decision(
        tuple(actions),
        settings.retry_interval if waiting else settings.scaling_interval,
        (decided.scale.direction(decided.current), decided.scale.cause),
    )


def _watch(observed: ObservedState, spec: SkymapScanSpec, decided: WorkersDecision, settings: Settings) -> Decision:
    """Carry on a scan that a newer operator began, without creating or replacing objects, which only that one can make.

    It is scaled and resumed, its status is kept, and its end is recorded.
    """
    jobs_again: set[str] = {one.role for one in newly_raised(observed, settings)}
    jobs_again |= {role for role, job in observed.children.jobs.items() if _work_lost(observed, role, job, settings)}
    trouble = objects_to_make(observed, jobs_again) or find_obstacle(observed)
    shortage = find_shortage(observed)
    closed = closed_destinations(observed.scan.namespace, spec, settings)
    verdict = Verdict(phase_of(observed), degraded=trouble, shortage=shortage, workers=decided.status, closed=closed)
    recipe = recipe_of(observed, spec, settings)
    actions = [*update_status(observed, verdict), *issue_tokens(observed, recipe, settings, create=False)]
    for role, manifest in jobs(recipe).items():
        job = observed.children.jobs.get(role)
        if job is not None and job.managed and not job.finished:
            actions += patch_job(job, manifest)
    actions += [*set_replicas(observed, decided), *_enlarge_claim(observed, spec)]
    waiting = bool(actions) or trouble is not None
    return Decision(
        tuple(actions),
        settings.retry_interval if waiting else settings.scaling_interval,
        (decided.scale.direction(decided.current), decided.scale.cause),
    )


def _hold(observed: ObservedState, spec: SkymapScanSpec, refused: Finding, settings: Settings) -> Decision:
    """Report what the scan may not ask for, and create nothing. It keeps its workers, but not more than it may have."""
    deployment = observed.children.owned_deployment()
    desired = 0 if deployment is None else deployment.replicas
    bounds = (desired, spec.workers.max, observed.allocation)
    desired = min(bound for bound in bounds if bound is not None)
    workers = WorkersStatus(desired=desired, reason="the number is kept while the scan asks for what is not allowed")
    verdict = Verdict(phase_of(observed), degraded=refused, workers=workers)
    tokens = issue_tokens(observed, recipe_of(observed, spec, settings), settings, create=False)
    actions = (*update_status(observed, verdict), *tokens, *lower_workers(observed, desired))
    return Decision(actions, settings.retry_interval)


def _topics(observed: ObservedState, recipe: Recipe, pulsar: PulsarState) -> list[Action]:
    """Create topics and subscriptions before anything is published, so that no message is lost.

    Permissions are granted with them: on all topics before the first token, since an operator that has just started
    does not know what was granted before.
    """
    again = recipe.pulsar.signed and observed.tokens_issued is None
    wanted = {topic: recipe.topics.subscriptions(topic) for topic in recipe.topics.all()}
    missing = tuple(
        (topic, subscriptions)
        for topic, subscriptions in wanted.items()
        if again or topic not in pulsar.topics or not pulsar.topics[topic].issuperset(subscriptions)
    )
    return [EnsureTopics(missing)] if missing else []


def _objects(observed: ObservedState, recipe: Recipe, settings: Settings, *, create: bool) -> list[Action]:
    """Create the ConfigMap, the claim and the Jobs where they are missing, and correct those that differ."""
    actions: list[Action] = []
    wanted, live = config_map(recipe), observed.children.config_map
    if live is None:
        actions += [Create(wanted)] if create else []
    elif live.managed and differs(live.manifest, wanted):
        actions.append(Replace(wanted))
    new_claim = claim(recipe)
    if new_claim is not None and observed.children.claim is None and create:
        actions.append(Create(new_claim))
    runs = observed.scan.status.runs_with
    image = None if runs is None else image_by_digest(runs)
    for role, manifest in jobs(recipe).items():
        job = observed.children.jobs.get(role)
        if job is None:
            actions += [Create(with_image(manifest, image))] if create else []
        elif job.managed:
            actions += _correct_job(observed, role, job, manifest, settings)
    return actions


def _enlarge_claim(observed: ObservedState, spec: SkymapScanSpec) -> list[Action]:
    """Enlarge the operator's claim if the user asks for more. Kubernetes allows it once the claim has a volume."""
    found, size = observed.children.claim, spec.output.claim.size
    if size is None or found is None or not (found.bound and found.made_here) or compare(size, found.size) <= 0:
        return []
    refused = observed.refused_enlargement
    if refused is not None and refused.size == size and observed.now < refused.again:
        return []
    return [EnlargeClaim(found.name, size)]


def _correct_job(observed: ObservedState, role: str, job: Job, wanted: Manifest, settings: Settings) -> list[Action]:
    # What a producer or collector has done does not depend on its settings; where the saver has written does.
    if settings_differ(job, wanted) and (role == SAVER or job.complete is None):
        return [Emit("Normal", "RunAgain", f"the {role} runs again with changed settings"), Delete(job.kind, job.name)]
    if not job.finished:
        if pods_known(observed) and template_differs(job, wanted) and not _pod_runs(observed, role):
            message = f"its pod template has changed before its pod runs: the Job of the {role} is created again"
            return [Emit("Normal", "RunAgain", message), Delete(job.kind, job.name)]
        return patch_job(job, wanted)
    if not _work_lost(observed, role, job, settings):
        return []
    message = f"Pulsar lost what the {role} had done, for example with its disk: the {role} runs again"
    return [Emit("Normal", "RunAgain", message), Delete(job.kind, job.name)]


def _pod_runs(observed: ObservedState, role: str) -> bool:
    """Return whether a pod of the role runs. One that does is not disturbed; it could only repeat its work."""
    return any(pod.role == role and pod.ready and not pod.terminating for pod in observed.pods)


def _work_lost(observed: ObservedState, role: str, job: Job, settings: Settings) -> bool:
    """Return whether Pulsar has lost the work of a role whose Job is complete.

    Every role may run again without harm: it finds in its topics what is done.
    """
    pulsar = observed.pulsar
    if job.complete is None or not isinstance(pulsar, PulsarState):
        return False
    if pulsar.progress_fault or pulsar.plan_fault:  # what cannot be read is not lost
        return False
    ended = parse_time(job.complete.get("lastTransitionTime"))
    if ended is None or observed.now - ended < timedelta(seconds=settings.settle_seconds):
        return False
    progress = pulsar.progress
    if role == SAVER:
        return progress is None or progress.phase is not ProgressPhase.DONE
    if progress is not None and progress.phase is not ProgressPhase.SCANNING:
        return False
    idle = all(queue is not None and queue.waiting + queue.unacked == 0 for queue in (pulsar.tasks, pulsar.fits))
    return not pulsar.plan_ended or (role == COLLECTOR and not idle)
