"""The rules of Kubernetes that the simulator has rebuilt, held to the figures of their documentation."""

from __future__ import annotations

from dataclasses import replace

import pytest
from benchmarks.scaling.hpa import Stabilizer, by_average_value, by_utilization
from benchmarks.scaling.replicaset import Place, leave_first

USUAL = Place(created=0.0, uid=0.5, node=1, running=True, ready=10.0)


@pytest.mark.parametrize(
    ("usages", "target", "current", "wanted"),
    [
        # "If the current metric value is 200m, and the desired value is 100m, the number of replicas will be doubled …
        # if it is 50m, halved" (Kubernetes' documentation, algorithm details).
        ([0.2] * 4, 0.1, 4, 8),
        ([0.05] * 4, 0.1, 4, 2),
        # "50 × (90/75) = 60" (Kubernetes' blog on KEP-4951).
        ([0.90] * 50, 0.75, 50, 60),
        # A tenth more or less is tolerated.
        ([0.77] * 10, 0.7, 10, 10),
        ([0.63] * 10, 0.7, 10, 10),
        ([0.78] * 10, 0.7, 10, 12),
        # Nothing is known yet.
        ([], 0.7, 3, 3),
    ],
)
def test_hpa_scales_by_utilization(usages: list[float], target: float, current: int, wanted: int) -> None:
    assert by_utilization(usages, 0, current, target) == wanted


def test_unready_pods_slow_hpa_down() -> None:
    assert by_utilization([1.0] * 10, 0, 10, 0.7) == 15
    assert by_utilization([1.0] * 10, 2, 12, 0.7) == 15  # 10 / 12 / 0.7 = 1.19, of 12
    assert by_utilization([1.0] * 10, 4, 14, 0.7) == 14  # 10 / 14 / 0.7 = 1.02: tolerated
    assert by_utilization([1.0] * 10, 10, 20, 0.7) == 20  # they would turn it around
    assert by_utilization([0.1] * 10, 10, 20, 0.7) == 2  # downwards they do not count


def test_external_metric_is_divided_among_pods() -> None:
    assert by_average_value(5376, 10, 0) == 538
    assert by_average_value(5376, 10, 1) == 538
    assert by_average_value(105, 10, 10) == 10  # within a tenth
    assert by_average_value(0, 10, 10) == 0


def test_hpa_adds_four_pods_or_doubles_in_a_period() -> None:
    stabilizer, counts, current = Stabilizer(1, 100), [], 1
    for look in range(6):
        current = stabilizer.settle(15.0 * look, current, 1000)
        counts.append(current)
    assert counts == [5, 10, 20, 40, 80, 100]


def test_hpa_adds_nothing_twice_within_a_period() -> None:
    stabilizer = Stabilizer(1, 1000)
    assert stabilizer.settle(0.0, 10, 1000) == 20
    assert stabilizer.settle(5.0, 20, 1000) == 20
    assert stabilizer.settle(15.0, 20, 1000) == 40


def test_hpa_shrinks_to_highest_recommendation_of_five_minutes() -> None:
    stabilizer = Stabilizer(1, 1000)
    assert stabilizer.settle(0.0, 80, 80) == 80
    assert stabilizer.settle(15.0, 80, 10) == 80
    assert stabilizer.settle(299.0, 80, 30) == 80
    assert stabilizer.settle(300.0, 80, 10) == 30
    assert stabilizer.settle(600.0, 30, 0) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (replace(USUAL, node=None, running=False, ready=None, cost=100), replace(USUAL, running=False, ready=None)),
        (replace(USUAL, running=False, ready=None, cost=100), replace(USUAL, ready=None)),
        (replace(USUAL, ready=None, cost=100), USUAL),
        (replace(USUAL, ready=1.0), replace(USUAL, cost=1, ready=99.0)),
        (replace(USUAL, ready=99.0), USUAL),  # the younger
        (replace(USUAL, uid=0.1), replace(USUAL, uid=0.2, ready=10.5)),  # of about the same age: by their uid
    ],
)
def test_replicaset_terminates_first_pod_first(first: Place, second: Place) -> None:
    for pods in ([first, second], [second, first]):
        assert leave_first(pods, 1, lambda pod: pod, 100.0) == [first]
        assert leave_first(pods, 2, lambda pod: pod, 100.0) == [first, second]


def test_replicaset_prefers_nodes_with_more_of_its_pods() -> None:
    alone = replace(USUAL, node=2, ready=99.0)
    shared = [replace(USUAL, uid=0.1), replace(USUAL, uid=0.2)]
    assert leave_first([alone, *shared], 2, lambda pod: pod, 100.0) == shared


def test_replicaset_keeps_marked_busy_workers() -> None:
    pods = [replace(USUAL, uid=number / 10, cost=100 * (number in {2, 5}), ready=float(number)) for number in range(8)]
    left = [pod for pod in pods if pod not in leave_first(pods, 6, lambda pod: pod, 100.0)]
    assert left == [pods[2], pods[5]]
