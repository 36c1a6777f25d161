"""The keys of the chart's own Pulsar: made once, inside the cluster, and kept in a Secret of the release.

Helm makes the Secret without content and never sees a key, so that none is in a release's record, in the output of
`helm template` or in a diff. For the same reason an upgrade and a rollback keep the content.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping

from skymap_operator.cluster.client import Cluster, ClusterError, Conflict
from skymap_operator.pulsar.tokens import SHORTEST_KEY, sign

#: Keys of the Secret: Pulsar's secret key, and the token with which the broker is a client of itself.
KEY, BROKER_TOKEN = "key", "broker-token"

#: Attempts to write a Secret that others change, too.
ATTEMPTS = 5


def complete(data: Mapping[str, str], role: str, new_key: bytes) -> dict[str, str]:
    """Return the data of the Secret (base64) with what is missing; ``new_key`` is used only if it has no key.

    The token is for ``role`` and does not expire, as the broker's configuration is read once. Raises ClusterError if
    the key that is there cannot be one.
    """
    try:
        key = base64.b64decode(data.get(KEY, ""), validate=True) or new_key
    except binascii.Error:
        key = b""
    if len(key) < SHORTEST_KEY:
        raise ClusterError(f"the Secret's {KEY} has fewer than {SHORTEST_KEY} bytes: remove it, and another is made")
    token = sign(key, role).encode()
    return {**data, KEY: base64.b64encode(key).decode(), BROKER_TOKEN: base64.b64encode(token).decode()}


async def make_keys(cluster: Cluster, namespace: str, name: str, role: str) -> str:
    """Make what is missing in the Secret and return a sentence on what was done.

    Raises ClusterError if the Secret does not exist, or its key cannot be one.
    """
    for _ in range(ATTEMPTS):
        secret = await cluster.get("Secret", namespace, name)
        if secret is None:
            raise ClusterError(f"the Secret {name} does not exist: it is part of the release, so upgrade that")
        data = secret.get("data") or {}
        wanted = complete(data, role, secrets.token_bytes(SHORTEST_KEY))
        if wanted == data:
            return f"the Secret {name} has its keys"
        try:
            await cluster.replace(secret | {"data": wanted}, secret["metadata"]["resourceVersion"])
        except Conflict:
            continue
        return f"the Secret {name} has new keys" if KEY not in data else f"the Secret {name} has a new token"
    raise ClusterError(f"the Secret {name} changes all the time")
