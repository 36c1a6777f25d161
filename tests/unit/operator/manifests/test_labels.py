"""The digest of a manifest."""

from __future__ import annotations

from tests.unit.operator.recipes import HASH, URL, Manifest, everything, made

from skymap_operator import manifests


def test_changed_manifest_has_another_digest() -> None:
    def digests(values: Manifest) -> list[str]:
        return [one["metadata"]["annotations"][HASH] for one in everything(made(values))]

    assert digests(URL) == digests(URL)
    changed = digests(URL | {"workers": {"resources": {"limits": {"memory": "4Gi"}}}})
    assert [a == b for a, b in zip(digests(URL), changed, strict=True)] == [False, True, True, True, False, True]
    workers = [manifests.workers(made(URL), count)["metadata"]["annotations"][HASH] for count in (0, 9)]
    assert workers[0] == workers[1]  # the number of workers is no part of the digest
