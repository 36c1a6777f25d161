"""The chart on a real cluster: installed, tested, upgraded, and uninstalled without a trace."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
import yaml
from testing.chart import CASES, find, render, values
from testing.cluster.cluster import Cluster, KubectlError, Namespace
from testing.cluster.releases import CHART, WAIT, HelmError, Release, Values, images
from testing.cluster.scans import QUICK, SCAN_SECONDS, SETTINGS, manifest
from testing.cluster.workloads import job, pod
from testing.pulsar.server import PulsarAddress
from testing.waiting import eventually

from skymap_api.names import FINALIZER, KIND, Names

DEFINITION_NAME = "skymapscans.skymap.icecube.wisc.edu"
#: Kinds of objects that come and go by themselves.
PASSING = {"events", "events.events.k8s.io", "leases.coordination.k8s.io", "componentstatuses"}


def everything(cluster: Cluster) -> set[str]:
    """Return all objects of the cluster as kind/namespace/name."""
    listed = [
        cluster.kubectl("api-resources", "--verbs=list", "--output=name", f"--namespaced={way}")
        for way in ("true", "false")
    ]
    kinds = sorted({kind for one in listed for kind in one.split()} - PASSING)
    line = r'{range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name}{"\n"}{end}'
    return set(cluster.kubectl("get", ",".join(kinds), "--all-namespaces", "--output", f"jsonpath={line}").split())


@pytest.mark.parametrize("case", CASES)
def test_api_server_accepts_every_manifest_of_the_chart(place: Namespace, case: str) -> None:
    place.cluster.kubectl("label", "namespace", place.name, "pod-security.kubernetes.io/warn=restricted")
    given = values(case)
    if given.get("scope") == "namespaces":
        given["namespaces"] = [place.name]
    # These kinds belong to another operator, which is not installed.
    objects = [one for one in render(given, place.name) if one["kind"] not in {"ServiceMonitor", "PrometheusRule"}]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    done = place.run("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=listed)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "last-applied-configuration" not in line]
    assert warnings == []
    assert len(done.stdout.splitlines()) == len(objects)


# The definition

UNREACHABLE: Values = {
    "evaluation": False,
    "serviceUrl": "pulsar://pulsar.invalid:6650",
    "adminUrl": "http://pulsar.invalid",
}
#: None of its pods can start.
IDLE: Values = {"pulsar": UNREACHABLE, "operator": {"image": {"repository": "registry.invalid/operator"}}}


def older(folder: Path) -> Path:
    """Make an older chart, in whose definition a SkymapScan has no `suspend`."""
    chart = folder / "older"
    shutil.copytree(CHART, chart)
    path = chart / "files" / "skymapscans.yaml"
    definition = yaml.safe_load(path.read_text())
    [version] = definition["spec"]["versions"]
    del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["suspend"]
    path.write_text(yaml.safe_dump(definition, sort_keys=False))
    return chart


def takes_suspend(place: Namespace) -> bool:
    """Return whether the cluster knows the field that is missing in the older chart."""
    scan = json.dumps(manifest(QUICK | {"event": {"simulate": {}}, "suspend": True}))
    done = place.run("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=scan)
    if done.returncode and 'unknown field "spec.suspend"' not in done.stderr:
        raise KubectlError(done.stderr)  # for a moment there may be no definition
    return done.returncode == 0


def test_definition_survives_upgrade_rollback_and_reinstallation(
    release: Release, place: Namespace, tmp_path: Path
) -> None:
    before = older(tmp_path)
    release.install(IDLE, chart=before)
    eventually(lambda: not takes_suspend(place))
    release.upgrade(IDLE)
    eventually(lambda: takes_suspend(place))
    release.run("rollback", "1")
    eventually(lambda: not takes_suspend(place))
    release.uninstall("--no-hooks")
    assert place.cluster.get("crd", DEFINITION_NAME), "it outlives its release"
    release.install(IDLE)
    eventually(lambda: takes_suspend(place))


def test_second_release_is_rejected_with_the_owner_of_the_definition(release: Release, place: Namespace) -> None:
    release.install(IDLE)
    another = Release(release.cluster, place.name, "another")
    with pytest.raises(HelmError, match='must equal "another": current value is "skymap"'):
        another.run("install", CHART, given=IDLE)
    another.run("install", CHART, given=IDLE | {"crds": {"install": False}})
    another.uninstall("--no-hooks")
    assert place.cluster.get("crd", DEFINITION_NAME)["metadata"]["annotations"]["meta.helm.sh/release-name"] == "skymap"


# The whole release

NOTES = (
    "helm test skymap --namespace {0}",
    "kubectl apply -n {0} -f - <<END",
    "kubectl get -n {0} skymapscan demo --watch",
    "skymap-scanner fetch demo --namespace {0}",
)
SMALL = json.loads(SETTINGS["ROLE_RESOURCES"])


@pytest.mark.timeout(1200)
def test_release_works_from_installation_to_removal(
    release: Release, place: Namespace, operator_image: str, worker_image: str, pulsar_image: str, api: httpx.Client
) -> None:
    """Use the chart's own Pulsar and set only images and sizes."""
    before = everything(place.cluster)
    given = images(operator_image, worker_image)
    repository, _, tag = pulsar_image.rpartition(":")
    given |= {"pulsar": {"image": {"repository": repository, "tag": tag}}}
    given |= {"settings": {"workerResources": SMALL, "roleResources": SMALL, "startupSeconds": 1}}
    given |= {"scope": "namespaces"}  # leaves other tests' scans alone
    output = release.install(given, *WAIT)
    assert [line for line in NOTES if line.format(place.name) not in output] == []
    assert_whole(release)
    keys = content(place, KEYS)

    place.apply(manifest(QUICK | {"event": {"simulate": {}}}, "first"))
    seen = eventually(
        lambda: place.get("sms", "first"),
        lambda one: one.get("status", {}).get("phase") in {"Succeeded", "Failed"},
        SCAN_SECONDS,
    )
    assert seen["status"]["phase"] == "Succeeded", seen["status"]
    service = f"/api/v1/namespaces/{place.name}/services/skymap-operator:http/proxy"
    assert 'skymap_operator_scans{phase="Succeeded"} 1.0' in api.get(f"{service}/metrics").text
    assert "lacks a right" not in place.kubectl("logs", "deployment/skymap-operator")

    # Pulsar's pod is replaced, as when it moves to another node; its messages are still there.
    place.apply(manifest(LONG, "second"))
    running(place, "second")
    place.kubectl("delete", "pod", "skymap-pulsar-0")
    place.kubectl("rollout", "status", "statefulset/skymap-pulsar", "--timeout=110s")
    eventually(lambda: done_fits(place, "second") > 0, within=SCAN_SECONDS)
    assert_strangers_are_refused(place, worker_image)

    release.upgrade(given | {"operator": given["operator"] | {"logLevel": "debug"}}, *WAIT)
    assert "DEBUG" in eventually(
        lambda: place.kubectl("logs", "deployment/skymap-operator"), lambda log: "DEBUG" in log
    )
    assert_whole(release)
    release.run("rollback", "1", *WAIT)
    # As `helm template | kubectl apply`, Argo CD and the like.
    place.apply(find(render(given, place.name), "Secret", KEYS))
    assert content(place, KEYS) == keys
    assert_nowhere(release, place, keys)

    output = release.uninstall()
    assert f"{place.name}/second: its pods and topics are gone" in output
    results = {f"PersistentVolumeClaim/{place.name}/{name}-results" for name in ("first", "second")}
    volumes = {
        f"PersistentVolume//{place.get('pvc', f'{name}-results')['spec']['volumeName']}" for name in ("first", "second")
    }
    eventually(lambda: everything(place.cluster) - before, lambda left: left == results | volumes)


#: The Secret with the keys of the chart's own Pulsar.
KEYS = "skymap-pulsar-keys"

#: Reads the plan of a scan without a token, with its own, and with that of another scan.
READS = """
import sys
from pathlib import Path
from skymap_scanner.broker import Access, open_broker
from skymap_scanner.errors import BrokerError
url, topic = sys.argv[1:]
for name, token in (("none", None), ("own", Path("/data/own")), ("other", Path("/data/other"))):
    try:
        with open_broker(url, Access(token_file=token)) as broker, broker.reader(topic) as reader:
            print("ANSWER", name, "reads" if reader.receive(20) is not None else "nothing", flush=True)
    except BrokerError as error:
        print("ANSWER", name, error, flush=True)
"""


def content(place: Namespace, secret: str) -> dict[str, bytes]:
    """Return what a Secret holds."""
    return {name: base64.b64decode(value) for name, value in place.get("secret", secret)["data"].items()}


def assert_strangers_are_refused(place: Namespace, image: str) -> None:
    """Read the plan of the second scan in a pod: only with a token of that scan."""
    uids = {name: place.get("sms", name)["metadata"]["uid"] for name in ("first", "second")}
    sources = [
        {"secret": {"name": f"scan-{uids[scan]}-tokens", "items": [{"key": "worker", "path": path}]}}
        for scan, path in (("second", "own"), ("first", "other"))
    ]
    topic = Names.of(place.name, "second").topics("icecube").plan
    words = [f"pulsar://skymap-pulsar.{place.name}.svc:6650", topic]
    place.apply(
        job("stranger", pod(image, "python", "-c", READS, args=words, volume={"projected": {"sources": sources}}))
    )
    done = lambda found: found.get("status", {}).get("succeeded") == 1  # noqa: E731
    eventually(lambda: place.get("job", "stranger"), done, SCAN_SECONDS)
    lines = place.kubectl("logs", "job/stranger").splitlines()
    said = dict(line.split(maxsplit=2)[1:] for line in lines if line.startswith("ANSWER "))
    assert said["own"] == "reads"
    assert "does not accept our credentials" in said["none"]
    assert "grant it produce and consume" in said["other"]
    place.kubectl("delete", "job", "stranger")


def assert_nowhere(release: Release, place: Namespace, keys: Mapping[str, bytes]) -> None:
    """Search objects, logs and the release's record for the keys, which only their Secret may hold."""
    kinds = "pods,jobs,deployments,statefulsets,controllerrevisions,configmaps,events,skymapscans"
    text = place.kubectl("get", kinds, "-o", "yaml", "--show-managed-fields") + release.run("get", "all")
    for component in ("operator", "pulsar", "keys"):
        said = place.kubectl("logs", "-l", f"app.kubernetes.io/component={component}", "--tail=-1")
        assert said, component
        text += said
    assert f"the Secret {KEYS} has new keys" in text
    forms = [form for value in keys.values() for form in (base64.b64encode(value).decode(), value.hex())]
    assert set(keys) == {"key", "broker-token"}
    assert [one for one in (*forms, keys["broker-token"].decode()) if one in text] == []


#: Enough work to keep one worker busy.
LONG = QUICK | {"event": {"simulate": {}}, "levels": [{"nside": 64}]}


def assert_whole(release: Release) -> None:
    """Run `helm test`, which must succeed."""
    output = release.run("test")
    assert [line.split()[0] for line in output.splitlines() if line.startswith(("ok ", "FAILED "))] == ["ok"] * 5, (
        output
    )


def running(place: Namespace, name: str) -> None:
    """Wait until a scan has finished some pixels."""
    eventually(lambda: done_fits(place, name) > 0, within=SCAN_SECONDS)


def done_fits(place: Namespace, name: str) -> int:
    return int(place.get("sms", name).get("status", {}).get("pixels", {}).get("done", 0))


# The uninstallation, with an external Pulsar


@pytest.fixture
def external(pulsar_server: PulsarAddress, pulsar_tenant: str) -> Values:
    """Return the values for the Pulsar of this session."""
    return {
        "evaluation": False,
        "serviceUrl": pulsar_server.url,
        "adminUrl": pulsar_server.admin_url,
        "tenant": pulsar_tenant,
    }


def topics_of(pulsar: PulsarAddress, tenant: str) -> set[str]:
    """Return the scans' topics in Pulsar."""
    answer = httpx.get(f"{pulsar.admin_url}/admin/v2/persistent/{tenant}/skymap", timeout=30)
    return set(answer.json()) if answer.status_code == httpx.codes.OK else set()


@pytest.mark.parametrize("how", ["Delete", "Release"])
def test_uninstalling_the_release_releases_its_scans(
    release: Release,
    place: Namespace,
    operator_image: str,
    external: Values,
    pulsar_server: PulsarAddress,
    pulsar_tenant: str,
    how: str,
) -> None:
    given = images(operator_image) | {"pulsar": external, "scope": "namespaces", "uninstall": {"scans": how}}
    release.install(given, *WAIT)
    place.apply(manifest(QUICK | {"event": {"simulate": {}}}))
    wanted = set(Names.of(place.name, "alert").topics(pulsar_tenant).all())
    eventually(lambda: topics_of(pulsar_server, pulsar_tenant), lambda found: found == wanted)
    eventually(lambda: place.get("deployment", "alert-workers"))
    assert place.get("leases")["items"]
    # Its pods wait for an image that does not exist.
    output = release.uninstall()
    assert f"{place.name}/alert: its pods and topics are gone" in output
    assert topics_of(pulsar_server, pulsar_tenant) == set()
    assert place.get("leases")["items"] == []
    assert place.get("pvc", "alert-results")
    eventually(
        lambda: place.get("pods,jobs,deployments,configmaps", "-l", "skymap.icecube.wisc.edu/scan")["items"],
        lambda left: not any(one["kind"] != "ConfigMap" for one in left),
    )
    left = place.get("skymapscans")["items"]
    if how == "Delete":
        assert left == []
        return
    [record] = left
    assert record["spec"]["suspend"] is True
    assert "finalizers" not in record["metadata"]
    place.kubectl("delete", KIND, "alert", "--timeout=20s")


def test_scans_are_released_without_operator_and_pulsar(
    release: Release, place: Namespace, operator_image: str
) -> None:
    given = images(operator_image) | {"pulsar": UNREACHABLE, "scope": "namespaces", "uninstall": {"timeoutSeconds": 5}}
    release.install(given, *WAIT)
    place.kubectl("scale", "deployment/skymap-operator", "--replicas=0")
    place.kubectl("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=operator", "--timeout=60s")
    # A scan that had started before.
    place.apply(manifest(QUICK | {"event": {"simulate": {}}}))
    place.kubectl(
        "patch", KIND, "alert", "--type=merge", "--patch", json.dumps({"metadata": {"finalizers": [FINALIZER]}})
    )
    output = release.uninstall()
    assert f"{place.name}/alert: released after the timeout" in output
    assert f"persistent://icecube/skymap/{place.name}.alert-..." in output
    assert place.get("skymapscans")["items"] == []
    events = place.get("events", "--field-selector", "reason=Released")["items"]
    assert [one["involvedObject"]["name"] for one in events] == ["alert"]


def test_incomplete_installation_reports_what_is_missing(
    release: Release, place: Namespace, operator_image: str
) -> None:
    release.install(images(operator_image) | {"pulsar": UNREACHABLE, "scope": "namespaces"}, *WAIT)
    with pytest.raises(HelmError) as caught:
        release.run("test")
    output = [line for line in str(caught.value).splitlines() if line.startswith(("ok ", "FAILED "))]
    assert [line.split()[0] for line in output] == ["ok", "ok", "ok", "ok", "FAILED"]
    assert "cannot reach Pulsar's admin interface at http://pulsar.invalid" in output[4]
