"""A scan with secrets leaves none of them anywhere on the cluster."""

from __future__ import annotations

import base64
import json

import pytest
from testing.cluster.cluster import Namespace
from testing.cluster.scans import PASSWORD, QUICK, SETTINGS, USER, Start, ended, manifest, results
from testing.pulsar.server import PulsarAddress

from skymap_scanner.broker import Access, open_broker

#: Invented secrets to search for; the first is the password of the event server.
TOKEN, WRONG = "eyJhbGciOiJub25lIn0.tok-41c7ab.c2ln", "guess-7d20f4"
KINDS = "pods,jobs,deployments,replicasets,configmaps,persistentvolumeclaims,events,skymapscans,controllerrevisions"


def secret(name: str, **values: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def found_in(text: bytes) -> list[str]:
    forms = [*(f"{USER}:{one}" for one in (PASSWORD, WRONG)), TOKEN, WRONG, PASSWORD]
    encoded = [base64.b64encode(one.encode()) for one in forms]
    return [one for one, code in zip(forms, encoded, strict=True) if one.encode() in text or code in text]


def stored(server: PulsarAddress, tenant: str, namespace: str) -> dict[str, bytes]:
    """Return all messages of the topics of the scans in a namespace."""
    held = {}
    with open_broker(server.url, Access(admin_url=server.admin_url)) as broker:
        for space in ("skymap", f"skymap_metadata-{namespace}"):
            for topic in broker.topics(f"persistent://{tenant}/{space}/"):
                with broker.reader(topic, create=False) as reader:
                    messages = iter(lambda reader=reader: reader.receive(1), None)  # type: ignore[misc]
                    held[topic] = b"".join(
                        one.payload + json.dumps(dict(one.properties)).encode() + (one.key or "").encode()
                        for one in messages
                    )
    return held


@pytest.mark.timeout(900)
def test_no_secret_appears_in_objects_logs_topics_or_results(
    operators: Start,
    restricted: Namespace,
    submitter: Namespace,
    worker_image: str,
    events: str,
    pulsar_server: PulsarAddress,
    pulsar_tenant: str,
) -> None:
    operator = operators(IMAGE=worker_image, ALLOWED_PULSARS='[{"secrets": ["pulsar-token"]}]', **SETTINGS)
    restricted.apply(
        secret("right", username=USER, password=PASSWORD),
        secret("wrong", username=USER, password=WRONG),
        secret("pulsar-token", token=TOKEN),
    )
    url, access = f"{events}/guarded", {"tokenSecret": {"name": "pulsar-token"}}
    kept = {"pulsar": access, "cleanupPolicy": {"topics": "OnDelete"}}
    for name in ("right", "wrong"):
        event = {"url": url, "credentialsSecret": {"name": name}}
        restricted.apply(manifest(QUICK | kept | {"event": event}, name))
    # The kubelet would put the password into the URL, and the scanner the URL into the status and into requests.
    named = {"url": f"{events}/$(SKYMAP_EVENT_PASSWORD)", "credentialsSecret": {"name": "right"}}
    submitter.kubectl("create", "-f", "-", stdin=json.dumps(manifest(QUICK | kept | {"event": named}, "naming")))
    assert ended(restricted, "right")[:2] == ("True", "Completed")
    assert ended(restricted, "wrong")[:2] == ("False", "EventUnreachable")
    status, reason, message = ended(submitter, "naming")
    assert (status, reason) == ("False", "EventUnreachable")
    assert "/$(SKYMAP_EVENT_PASSWORD): 404" in message

    content = {"objects": restricted.kubectl("get", KINDS, "-o", "yaml", "--show-managed-fields").encode()}
    content["described"] = restricted.kubectl("describe", "pods,skymapscans").encode()
    pods = restricted.kubectl("get", "pods", "-o", "name").split()
    assert len(pods) >= 4
    content |= {pod: restricted.kubectl("logs", pod, "--all-containers").encode() for pod in pods}
    content |= {"operator": operator.log.read_bytes()}
    content |= stored(pulsar_server, pulsar_tenant, restricted.name)
    content |= results(restricted, worker_image, "right", everything=True)
    assert len(content) >= 15
    assert {name: found_in(text) for name, text in content.items() if found_in(text)} == {}
    assert b"credentials" in content["objects"]  # the Secret's name shows that the search is not of nothing
    assert found_in(base64.b64encode(PASSWORD.encode())) == [PASSWORD]
