"""The simulated world: nothing is lost, everything in its order, the same each time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from benchmarks.scaling import simulate
from benchmarks.scaling.parts import SEEDS, Fits, Order, Pod, Scan
from benchmarks.scaling.policies import Fixed, Hpa, Keda, Operator
from benchmarks.scaling.results import Outcome, rows
from benchmarks.scaling.scenarios import SCENARIOS
from benchmarks.scaling.world import BROKER_NOTICES, DECIDE, EVICTED, PREPARE, Policy, Sample, Site, World

SMALL = Order("small", levels=(48, 24, 48), target=300.0, maximum=60)
SITE = Site(nodes=8, places=8)
LONG = Fits(median=60.0, sigma=0.5, heavy=0.02, heavy_from=100.0)


def ended(policy: Policy, site: Site = SITE, *orders: Order, seed: int = 1) -> World:
    world = World(site, orders or (SMALL,), policy, seed)
    world.run()
    return world


def every_fit_counted_once(scan: Scan) -> bool:
    whole = scan.pixels_done == sum(scan.order.levels) and not any(scan.open_seeds)
    return whole and scan.useful == pytest.approx(sum(scan.seconds)) and not scan.pods and not scan.in_flight


@pytest.mark.parametrize("policy", [Operator, Keda, Hpa, lambda: Fixed(20), lambda: Keda(20.0, 30.0)])
@pytest.mark.parametrize("site", [SITE, replace(SITE, loss=(80.0, 3)), replace(SITE, silent=(15.0, 75.0))])
def test_no_policy_and_failure_loses_a_fit(policy: Callable[[], Policy], site: Site) -> None:
    (scan,) = ended(policy(), site).scans
    assert every_fit_counted_once(scan)
    assert scan.paid >= scan.useful * 0.9  # what a dead node had half done is paid, what it had done is both


@pytest.mark.parametrize("policy", [Operator, Keda, Hpa])
def test_run_depends_on_its_seed_alone(policy: Callable[[], Policy]) -> None:
    found = [ended(policy(), seed=seed).scans[0] for seed in (7, 7, 8)]
    figures = [(scan.finished, scan.paid, scan.asked, scan.useful) for scan in found]
    assert figures[0] == figures[1] != figures[2]


def test_all_policies_have_the_same_fits() -> None:
    assert ended(Operator()).scans[0].seconds == ended(Hpa()).scans[0].seconds


class Noted(World):
    """Notes when which level was queued: time (s), pixels done, tasks queued in all."""

    notes: list[tuple[float, int, int]]

    def _queue_level(self, scan: Scan) -> None:
        super()._queue_level(scan)
        self.notes.append((self.now, scan.pixels_done, scan.queued))


def test_level_waits_for_the_previous_one() -> None:
    world = Noted(SITE, (SMALL,), Fixed(4), 1)
    world.notes = []
    world.run()
    assert [note[1:] for note in world.notes] == [(0, 48 * SEEDS), (48, 72 * SEEDS), (72, 120 * SEEDS)]
    assert world.notes[0][0] == PREPARE
    assert all(after > before + DECIDE for (before, *_), (after, *_) in pairwise(world.notes))


def test_redelivered_tasks_come_first_in_order() -> None:
    world = World(SITE, (SMALL,), Fixed(0), 1)
    (scan,) = world.scans
    scan.queued = 10
    scan.next_task = 4
    scan.again.extend([1, 3])
    assert scan.waiting == 8
    given = []
    for _ in range(4):
        pod = simulated_pod(scan)
        world._next(pod)
        given.append(pod.task)
    assert given == [1, 3, 4, 5]
    assert (scan.waiting, scan.in_flight) == (4, 4)


def simulated_pod(scan: Scan) -> Pod:
    pod = Pod(scan, 0.0, 0.5)
    pod.ready = 0.0
    scan.pods[pod] = None
    return pod


def test_tasks_of_failed_node_are_redelivered_after_keepalive() -> None:
    one_node = replace(SITE, nodes=2, loss=(60.0, 1))
    order = replace(SMALL, levels=(8,), fits=replace(LONG, longest=80.0))
    world = World(one_node, (order,), Fixed(16), 1)
    samples = world.trace(world.scans[0], 1.0)
    world.run()
    (scan,) = world.scans
    assert every_fit_counted_once(scan)
    assert scan.finished is not None
    assert scan.finished > 60.0 + BROKER_NOTICES
    ready = {sample.time: sample.ready for sample in samples}
    assert ready[100.0] == 16  # Kubernetes does not know yet


def test_pods_of_failed_node_are_replaced_after_eviction() -> None:
    order = replace(SMALL, levels=(400,), fits=replace(LONG, median=20.0))
    world = World(replace(SITE, loss=(60.0, 2)), (order,), Fixed(20), 1)
    samples = world.trace(world.scans[0], 1.0)
    world.run()
    busy = {sample.time: sample.busy for sample in samples}
    assert busy[60.0 + BROKER_NOTICES + 20.0] < 20
    assert busy[60.0 + EVICTED + 40.0] == 20


def test_terminated_worker_finishes_fit_within_grace_period() -> None:
    order = replace(SMALL, fits=LONG, levels=(240,))
    (long,), (short,) = (ended(Keda(10.0, grace), SITE, order).scans for grace in (630.0, 30.0))
    assert long.asked > 0
    assert long.killed == 0
    assert short.killed > 0
    assert every_fit_counted_once(short)
    assert short.finished is not None
    assert long.finished is not None
    assert short.finished > long.finished


def test_operator_terminates_no_busy_worker_for_lack_of_work() -> None:
    for fits in (SMALL.fits, LONG):
        for seed in range(1, 6):
            order = replace(SMALL, fits=fits)
            assert [scan.asked for scan in ended(Operator(), SITE, order, seed=seed).scans] == [0]


def samples_of(policy: Policy, site: Site) -> list[Sample]:
    world = World(site, (replace(SMALL, levels=(480, 48)),), policy, 1)
    samples = world.trace(world.scans[0], 1.0)
    world.run()
    return samples


def test_workers_start_from_zero_and_return_to_zero() -> None:
    samples = samples_of(Operator(), SITE)
    assert [samples[0].wanted, samples[0].ready] == [0, 0]
    assert max(sample.ready for sample in samples) > 8
    assert samples[-1].backlog == 0


def test_worker_count_is_held_while_statistics_fail() -> None:
    wanted = {sample.time: sample.wanted for sample in samples_of(Operator(), replace(SITE, silent=(20.0, 80.0)))}
    assert {wanted[float(second)] for second in range(21, 80)} == {wanted[20.0]}
    assert wanted[95.0] > wanted[20.0] > 0


def test_urgent_scan_takes_workers_from_others() -> None:
    others = [replace(SMALL, name=f"normal-{number}", levels=(600,), target=60.0) for number in range(4)]
    urgent = replace(SMALL, name="urgent", arrives=60.0, levels=(300,), target=100.0, urgent=True)
    plain = replace(urgent, urgent=False)
    first, last = (ended(Operator(ceiling=64), SITE, *others, one).scans[-1].finished for one in (urgent, plain))
    assert first is not None
    assert last is not None
    assert first < 0.7 * last


def test_table_shows_urgent_scans_separately() -> None:
    one = Outcome(100.0, 90.0, 200.0, 100.0, 1, 0, urgent=False)
    runs = [[one, replace(one, time=50.0, urgent=True)], [replace(one, time=80.0), replace(one, urgent=True)]]
    urgent, others = rows("storm", "us", runs)
    assert urgent == "| storm: the urgent one | us | 75, 98 | 1/2 | 200 | 100 | 2.00 | 1 | 0 |"
    assert others == "| storm: the others | us | 90, 99 | 1/2 | 200 | 100 | 2.00 | 1 | 0 |"
    (alone,) = rows("alone", "us", [[one]])
    assert alone.startswith("| alone | us | 100, 100 | 0/1 |")


def test_command_prints_table_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "scaling.png"
    words = ["simulate", "--scenario", "quick", "--seeds", "1", "--picture", str(picture)]
    monkeypatch.setattr("sys.argv", words)
    simulate.main()
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[1] for line in printed[2:9]] == list(simulate.policies(SCENARIOS[1], simulate.TUNED))
    assert picture.read_bytes()[:4] == b"\x89PNG"
