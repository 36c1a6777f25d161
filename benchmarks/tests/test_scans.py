"""The figures of the benchmark of a thousand scans."""

from __future__ import annotations

import math
import os

import pytest
from benchmarks.scans.figures import HEADER, Phase, Probe, Sample, difference, latencies, quantile, read_metrics, total

from skymap_operator.runtime.workqueue import Trigger

TEXT = """# HELP a An example
# TYPE a counter
a_total{server="kubernetes",code="200"} 3.0
a_total{server="pulsar",code="200"} 4.0
a_total{server="pulsar",code="with \\"quotes\\", and comma"} 5.0
alone 1.5
skymap_operator_reconcile_latency_seconds_bucket{trigger="event",le="1.0"} 5.0
skymap_operator_reconcile_latency_seconds_bucket{trigger="event",le="2.0"} 10.0
skymap_operator_reconcile_latency_seconds_bucket{trigger="event",le="+Inf"} 10.0
skymap_operator_reconcile_latency_seconds_bucket{trigger="requeue",le="1.0"} 0.0
skymap_operator_reconcile_latency_seconds_bucket{trigger="requeue",le="2.0"} 4.0
skymap_operator_reconcile_latency_seconds_bucket{trigger="requeue",le="+Inf"} 4.0
"""


def test_metrics_are_read_and_added_up() -> None:
    series = read_metrics(TEXT)
    assert total(series, "a_total") == 12.0
    assert total(series, "a_total", server="pulsar") == 9.0
    assert total(series, "a_total", server="pulsar", code="200") == 4.0
    assert total(series, "alone") == 1.5
    before = read_metrics('a_total{server="kubernetes",code="200"} 1.0')
    assert total(difference(before, series), "a_total", server="kubernetes") == 2.0
    assert latencies(series, Trigger.EVENT) == {1.0: 5.0, 2.0: 10.0, math.inf: 10.0}
    assert latencies(series, Trigger.REQUEUE) == {1.0: 0.0, 2.0: 4.0, math.inf: 4.0}


@pytest.mark.parametrize(
    ("buckets", "part", "value"),
    [
        ({1.0: 5.0, 2.0: 10.0, math.inf: 10.0}, 0.5, 1.0),
        ({1.0: 5.0, 2.0: 10.0, math.inf: 10.0}, 0.25, 0.5),
        ({1.0: 5.0, 2.0: 10.0, math.inf: 10.0}, 0.9, 1.8),
        ({1.0: 0.0, 2.0: 4.0, math.inf: 4.0}, 0.0, 1.0),
        ({1.0: 5.0, 2.0: 5.0, math.inf: 10.0}, 0.99, 2.0),
    ],
)
def test_quantiles_are_interpolated_within_buckets(buckets: dict[float, float], part: float, value: float) -> None:
    assert quantile(buckets, part) == pytest.approx(value)


def test_quantile_of_an_empty_histogram_is_nan() -> None:
    assert math.isnan(quantile({}, 0.5))
    assert math.isnan(quantile({1.0: 0.0, math.inf: 0.0}, 0.5))


def test_processor_time_accumulates_across_processes() -> None:
    probe = Probe([Sample(0.0, 100.0, 1.0)])
    first = probe.read(os.getpid())
    assert first.cpu > 100.0
    assert 1.0 < first.rss < 10000.0
    probe._pid = -1
    assert probe.read(os.getpid()).cpu > first.cpu


def test_phase_row_gives_costs_for_each_scan() -> None:
    counted = read_metrics(TEXT.replace("a_total", "skymap_operator_rest_client_requests_total"))
    row = Phase("steady", 2, 30.0, [Sample(0.0, 1.0, 80.0), Sample(30.0, 4.0, 90.0, 1.0)], counted, 0.5, "fine").row()
    found = dict(zip(HEADER, row, strict=True))
    assert (found["CPU s"], found["cores"], found["MiB"]) == ("3.0", "0.10", "90")
    assert found["waiting for CPU"] == "25%"
    assert (
        found["event p50 s"],
        found["requeue p50 s"],
        found["K8s/scan"],
        found["Pulsar/scan"],
        found["K8s/scan/min"],
    ) == (
        "1.00",
        "1.50",
        "1.5",
        "4.5",
        "3.0",
    )
