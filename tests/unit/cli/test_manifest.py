from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from skymap_api.resource import Simulation
from skymap_scanner.cli import group
from skymap_scanner.cli.manifest import is_manifest, read_manifest
from skymap_scanner.errors import InputError, ReconstructionError
from skymap_scanner.event.selection import EventSelection
from skymap_scanner.scan.levels import DEFAULT_LEVELS, parse_area, parse_levels

HEAD = """\
apiVersion: skymap.icecube.wisc.edu/v1alpha1
kind: SkymapScan
metadata:
  name: alert
  labels: {a: b}
spec:
"""


def manifest(folder: Path, spec: str, head: str = HEAD) -> Path:
    path = folder / "scan.yaml"
    path.write_text(head + "".join(f"  {line}\n" for line in spec.splitlines()))
    return path


def test_defaults_match_those_of_the_options(tmp_path: Path) -> None:
    scan = read_manifest(manifest(tmp_path, "event: {url: 'https://example.org/event.json'}"))
    assert scan.event == "https://example.org/event.json"
    assert scan.settings.name == "alert"
    assert scan.settings.levels == parse_levels(DEFAULT_LEVELS)
    assert (scan.settings.seeds, scan.settings.reconstruction, scan.settings.predictive) == (3, "millipede", 1.0)
    assert (scan.workers, scan.formats, scan.suffix, scan.max_task_seconds) == (None, (), ".i3.zst", 600)
    assert (scan.select, scan.cluster_only) == (None, ())


def test_every_field_of_a_manifest_is_read(tmp_path: Path) -> None:
    scan = read_manifest(
        manifest(
            tmp_path,
            "event: {simulate: {topology: cascade, ra: 77.4, dec: 5.7, energy: 2.0e+5, seed: 3}}\n"
            "levels: [{nside: 1}, {nside: 4, parents: 2}]\n"
            "area: {nside: 1, pixel: 6, pixels: 5}\n"
            "pixels: [6, 5]\n"
            "seeds: 3\n"
            "predictive: 0.9\n"
            "reconstruction: {name: dummy, parameters: {ra: 1.5}, maxTaskSeconds: 30}\n"
            "workers: {max: 1}\n"
            "output: {compression: gz, formats: [json], keepAllSeeds: true}\n",
        )
    )
    assert scan.event == Simulation(topology="cascade", ra=77.4, dec=5.7, energy=2e5, seed=3)
    assert scan.settings.levels == parse_levels("1:0 4:2")
    assert scan.settings.area == parse_area("1,6,5")
    assert scan.settings.pixels == "5-6"
    assert (scan.settings.seeds, scan.settings.predictive, scan.settings.keep_all_seeds) == (3, 0.9, True)
    assert (scan.settings.reconstruction, scan.settings.parameters) == ("dummy", {"ra": 1.5})
    assert (scan.workers, scan.formats, scan.suffix, scan.max_task_seconds) == (1, ("json",), ".i3.gz", 30)


def test_more_workers_than_cores_are_for_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skymap_scanner.cli.manifest.worker_count", lambda: 3)
    for most, here in ((2, 2), (3, 3), (500, 3)):
        path = manifest(tmp_path, f"event: {{path: a}}\nworkers: {{max: {most}}}")
        assert read_manifest(path).workers == here


@pytest.mark.parametrize(
    ("text", "selection"),
    [
        ("138632/31747601", EventSelection(138632, 31747601)),
        ("138632/31747601/1", EventSelection(138632, 31747601, sub_event=1)),
        ("138632/31747601/InIceSplit/1", EventSelection(138632, 31747601, "InIceSplit", 1)),
    ],
)
def test_event_may_be_selected_in_a_file(tmp_path: Path, text: str, selection: EventSelection) -> None:
    assert read_manifest(manifest(tmp_path, f"event: {{path: a.i3, select: {text}}}")).select == selection


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("configMap: {name: alert}", "configMap"),
        ("persistentVolumeClaim: {claimName: data, path: event.json}", "persistentVolumeClaim"),
    ],
)
def test_event_on_a_cluster_is_rejected(tmp_path: Path, source: str, kind: str) -> None:
    with pytest.raises(InputError, match=rf"scan\.yaml: spec\.event\.{kind} can only be read on a cluster"):
        read_manifest(manifest(tmp_path, f"event: {{{source}}}"))


def test_fields_for_clusters_only_are_reported(tmp_path: Path) -> None:
    path = manifest(
        tmp_path,
        "event: {simulate: {topology: cascade, ra: 77.4, dec: 5.7, energy: 2.0e+5}}\n"
        "levels: [{nside: 1}]\n"
        "reconstruction: {name: no-such-one}\n"
        "workers: {min: 1, max: 2}\n"
        "suspend: true\n"
        "pulsar: {tenant: icecube}\n",
    )
    assert read_manifest(path).cluster_only == ("workers.min", "pulsar", "suspend")
    result = CliRunner().invoke(group, ["run", str(path), "-o", str(tmp_path / "out")])
    expected = "These fields of spec are for clusters and ignored here: workers.min, pulsar, suspend"
    assert result.stderr.splitlines()[0] == expected
    assert isinstance(result.exception, ReconstructionError)  # before anything is simulated or started


def test_path_is_relative_to_the_manifest(tmp_path: Path) -> None:
    assert read_manifest(manifest(tmp_path, "event: {path: event.json}")).event == str(tmp_path / "event.json")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("event: {}", "exactly one of url, path, configMap, persistentVolumeClaim, simulate"),
        ("event: {path: a, url: 'http://b'}", "exactly one of url, path, configMap, persistentVolumeClaim, simulate"),
        ("event: {path: a}\nlevels: [{nside: 9}]", "spec.levels[0].nside: Input should be 1, 2, 4"),
        ("event: {path: a}\nlevels: []", "spec.levels: Tuple should have at least 1 item"),
        ("event: {path: a}\nlevels: [{nside: 8, parents: 1}]", "parents must be 0"),
        ("event: {path: a}\nlevels: [{nside: 8}, {nside: 4, parents: 1}]", "must be finer than the one before it"),
        ("event: {path: a}\nlevels: [{nside: 1}]\npixels: [12]", "one is outside the first level"),
        (
            "event: {path: a}\nlevels: [{nside: 1}]\narea: {nside: 1, pixel: 0, pixels: 1}\npixels: [1]",
            "no pixel of the list",
        ),
        ("event: {path: a}\nseeds: 8", "spec.seeds"),
        ("event: {path: a}\ncolour: blue", "spec.colour"),
        ("event: {path: a}\nworkers: {max: 0}", "spec.workers.max"),
        ("event: {path: a}\nworkers: {max: '3'}", "spec.workers.max: Input should be a valid integer"),
        ("event: {path: a}\nseeds: 1\nseeds: 2", "duplicate key 'seeds'"),
    ],
)
def test_invalid_field_is_named(tmp_path: Path, spec: str, why: str) -> None:
    with pytest.raises(InputError) as caught:
        read_manifest(manifest(tmp_path, spec))
    assert why in str(caught.value)


def test_values_are_read_as_kubectl_reads_them(tmp_path: Path) -> None:
    spec = "event: {simulate: {energy: 1e5}}\nreconstruction: {parameters: {a: 1E-3, b: 2026-01-02, c: -2e+3, d: 1e}}"
    scan = read_manifest(manifest(tmp_path, spec))
    assert scan.event == Simulation(energy=1e5)
    assert scan.settings.parameters == {"a": 1e-3, "b": "2026-01-02", "c": -2000.0, "d": "1e"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds 0 documents"),
        ("a: 1\n---\nb: 2\n", "holds 2 documents"),
        ("a: [", "is not YAML"),
        ("- 1\n", "is not a valid SkymapScan"),
        (HEAD.replace("v1alpha1", "v9") + "  event: {path: a}\n", "apiVersion"),
        (HEAD.replace("name: alert", "name: Not_A_Name") + "  event: {path: a}\n", "metadata.name"),
        ("x" * (1 << 20 | 1), "larger than"),
    ],
)
def test_invalid_manifests_are_rejected(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "scan.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=why):
        read_manifest(path)


def test_missing_manifest_is_named(tmp_path: Path) -> None:
    assert is_manifest("x.yml")
    assert not is_manifest("x.json")
    with pytest.raises(InputError, match="cannot read"):
        read_manifest(tmp_path / "no.yaml")
