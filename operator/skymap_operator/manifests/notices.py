"""What the saver needs to send a scan's notices: its options, and the administrator's Secret as files.

Only destinations that the administrator opens to the scan's namespace get into a manifest. The Secret is that of the
scan's namespace, and may be missing: then no notice is sent, and the results are written all the same.
"""

from __future__ import annotations

from skymap_api.resource import SkymapScanSpec
from skymap_api.resource.base import Manifest
from skymap_operator.manifests.pod import Volume
from skymap_operator.settings import NoticeDestination, Settings, matches

#: Folder of the Secret's folder. The Secret's name is in the path, so that an error about a missing key names both.
NOTICES = "/notices"

#: Variables of the scanner (each takes NAME_FILE), and the keys of the Secret with their values.
_SIGNING = {"SKYMAP_NOTIFY_SECRET": "signing-secret"}
_ADDRESSES = {
    "webhook": {"SKYMAP_NOTIFY_WEBHOOK_URL": "webhook-url"},
    "cloudevents": {"SKYMAP_NOTIFY_CLOUDEVENTS_URL": "cloudevents-url"},
    "slack": {"SKYMAP_NOTIFY_SLACK_URL": "slack-url"},
}
_GCN = {"SKYMAP_GCN_CLIENT_ID": "gcn-client-id", "SKYMAP_GCN_CLIENT_SECRET": "gcn-client-secret"}


def destinations(namespace: str, spec: SkymapScanSpec, settings: Settings) -> list[NoticeDestination]:
    """Return the destinations that a scan of the namespace names and may have."""
    names = () if spec.notices is None else spec.notices.to
    return [one for one in settings.notices if one.name in names and matches(namespace, one.namespaces)]


def secret_keys(destination: NoticeDestination) -> dict[str, str]:
    """Return the keys of the Secret that a destination needs, by the variables that take their files."""
    kind = destination.kind
    needed = _GCN if kind == "gcn" else ({} if "=" in destination.to else _ADDRESSES[kind])
    needed = needed | (_SIGNING if kind in ("webhook", "cloudevents") else {})
    trusted = destination.trusted_key
    return needed if trusted is None else needed | {"SKYMAP_NOTIFY_TRUSTED": trusted}


def notice_words(namespace: str, spec: SkymapScanSpec, settings: Settings) -> list[str]:
    """Return the options of ``saver`` that send notices."""
    found = destinations(namespace, spec, settings)
    if spec.notices is None or not found:
        return []
    words = [word for one in found for word in ("--notify", one.to)] + ["--alert-tense", spec.notices.alert_tense]
    return words if spec.notices.results_url is None else [*words, "--results-url", spec.notices.results_url]


def notice_environment(namespace: str, spec: SkymapScanSpec, settings: Settings) -> list[Manifest]:
    """Return the variables that name the files with secrets, and GCN's Kafka."""
    found = destinations(namespace, spec, settings)
    folder = f"{NOTICES}/{settings.notices_secret}"
    values = {f"{name}_FILE": f"{folder}/{key}" for one in found for name, key in secret_keys(one).items()}
    gcn = next((one for one in found if one.kind == "gcn"), None)  # a scan with two is refused
    values |= {} if gcn is None else {"SKYMAP_GCN_DOMAIN": gcn.gcn_domain}
    return [{"name": name, "value": value} for name, value in values.items()]


def notice_volumes(namespace: str, spec: SkymapScanSpec, settings: Settings) -> list[Volume]:
    """Return the Secret as files: only the keys that are needed, as far as they are there."""
    found = destinations(namespace, spec, settings)
    keys = sorted({key for one in found for key in secret_keys(one).values()})
    items = [{"key": key, "path": key} for key in keys]
    source = {"secret": {"secretName": settings.notices_secret, "optional": True, "items": items}}
    return [Volume("notices", source, f"{NOTICES}/{settings.notices_secret}", read_only=True)] if items else []


def notice_inputs(namespace: str, spec: SkymapScanSpec, settings: Settings) -> list[Manifest | str]:
    """Return all that determines the notices of a scan and may change while it runs; nothing without notices."""
    asked = (namespace, spec, settings)
    if not destinations(*asked):
        return []
    return [*notice_words(*asked), *notice_environment(*asked)]
