"""Makes the configuration of Kafka's client, for GCN or another broker, from the environment.

The keys are those of librdkafka, the library under Kafka's client for Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from skymap_scanner.errors import InputError
from skymap_scanner.notices.destination import is_loopback, is_safe_url
from skymap_scanner.notices.notice import Notice
from skymap_scanner.secret import secret_of

#: GCN's own Kafka, and the two where producers may try things out.
DOMAINS: Final = ("gcn.nasa.gov", "test.gcn.nasa.gov", "dev.gcn.nasa.gov")
#: Topics of IceCube's Gold and Bronze alerts and of their tests, and the selections that belong there.
TOPIC: Final = "gcn.notices.icecube.gold_bronze_track_alerts"
TEST_TOPIC: Final = "gcn.notices.icecube.test.gold_bronze_track_alerts"
SELECTIONS: Final = ("Gold Track Alert", "Bronze Track Alert")


def topic_of(given: str, notice: Notice) -> str:
    """Return the topic of a notice: the one that was ``given``, or GCN's.

    Raises InputError if none was given, and GCN's is for other events.
    """
    if given or notice.tense == "test":
        return given or TEST_TOPIC
    if notice.fields.get("pipeline") not in SELECTIONS:
        raise InputError(
            f"event {notice.event_id} is no Gold or Bronze Track Alert, for which GCN's topic is: give gcn=TOPIC, or "
            "--alert-tense test"
        )
    return TOPIC


def client_configuration(environment: Mapping[str, str], certificates: str) -> dict[str, str]:
    """Return the configuration of a client; ``certificates``: path of the file with what TLS trusts.

    Credentials are those of OpenID Connect's client credentials grant. A Kafka on this machine needs neither TLS nor
    credentials. Raises InputError if variables are missing or invalid; the message has no secret.
    """
    domain = environment.get("SKYMAP_GCN_DOMAIN") or DOMAINS[0]
    if domain not in DOMAINS:
        raise InputError(f"SKYMAP_GCN_DOMAIN is none of {', '.join(DOMAINS)}")
    brokers = environment.get("SKYMAP_GCN_BROKER") or f"kafka.{domain}"
    names = ("SKYMAP_GCN_CLIENT_ID", "SKYMAP_GCN_CLIENT_SECRET")
    client, secret = (secret_of(environment, name) for name in names)
    local = all(is_loopback(one.strip().rpartition(":")[0].strip("[]")) for one in brokers.split(","))
    if (client is None or secret is None) and not (local and client is secret):
        raise InputError(f"GCN needs credentials: set {' and '.join(names)} (each may be NAME_FILE)")
    configuration = {"bootstrap.servers": brokers, "security.protocol": "plaintext" if local else "sasl_ssl"}
    if client is None or secret is None:
        return configuration
    token_url = environment.get("SKYMAP_GCN_TOKEN_URL") or f"https://auth.{domain}/oauth2/token"
    if not is_safe_url(token_url):
        raise InputError(
            "SKYMAP_GCN_TOKEN_URL must begin with https:// (http:// is for this machine alone), and be valid"
        )
    configuration |= {
        "security.protocol": "sasl_plaintext" if local else "sasl_ssl",
        "sasl.mechanisms": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": client,
        "sasl.oauthbearer.client.secret": secret,
        "sasl.oauthbearer.token.endpoint.url": token_url,
        # The OpenSSL in the client's wheels looks for certificates in a folder that this system may lack.
        "ssl.ca.location": certificates,
        "https.ca.location": certificates,
    }
    return configuration
