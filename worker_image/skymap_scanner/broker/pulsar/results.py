"""Results of the Pulsar client: which are transient, and the messages for the others.

The names are those of ``pulsar::Result`` (C++ client) and of the exception classes of the Python client.
"""

from __future__ import annotations

from skymap_scanner.errors import BrokerError, BrokerUnavailable

#: Transient results: wait and try again.
TRANSIENT = {
    "Timeout": "did not answer in time",
    "ConnectError": "cannot be reached",
    "NotConnected": "is not connected",
    "ReadError": "closed the connection",
    "Interrupted": "closed the connection",
    "LookupError": "cannot find the broker of the topic",
    "ServiceUnitNotReady": "is not ready to serve the topic",
    "TooManyLookupRequestException": "is too busy",
    "BrokerMetadataError": "cannot reach its metadata store",
    "BrokerPersistenceError": "cannot store messages",
    "ProducerQueueIsFull": "is too slow",
    "MemoryBufferIsFull": "is too slow",
    "ChecksumError": "received a damaged message",
    "ProducerBusy": "has a producer of this name already",
    "UnknownError": "failed for an unknown reason",
    "ProducerBlockedQuotaExceededError": "delays messages, since the backlog quota is exceeded",
    "ProducerBlockedQuotaExceededException": "refuses messages, since the backlog quota is exceeded",
}

#: Advice for transient results that may last.
ADVICE = {
    "ProducerBlockedQuotaExceededError": "delete finished scans (topics delete --finished) or raise the quota",
    "ProducerBlockedQuotaExceededException": "delete finished scans (topics delete --finished) or raise the quota",
    "BrokerPersistenceError": "is the disk of its bookies full?",
    "ProducerBusy": "is the same role of this scan running twice?",
}

#: Permanent results.
PERMANENT = {
    "AuthenticationError": "does not accept our credentials: check the token (--auth-token FILE) or the certificate",
    "AuthorizationError": "does not allow our role to do this: grant it produce and consume on the namespace",
    "ErrorGettingAuthenticationData": "received no credentials: can the token file be read?",
    "TopicNotFound": "has no such topic: was it deleted? `skymap-scanner topics create` makes a scan's topics",
    "TopicTerminated": "has terminated the topic: delete the scan's topics and start again",
    "InvalidTopicName": "does not accept this topic name",
    "MessageTooBig": "does not accept a message of this size: raise its maxMessageSize",
    "AlreadyClosed": "cannot be used: it has been closed",
    "ProducerFenced": "has given the name of this producer to another one",
    "InvalidUrl": "has an invalid URL",
    "InvalidConfiguration": "does not accept the settings",
    "UnsupportedVersionError": "speaks another version of the protocol",
}


def is_transient(result: str) -> bool:
    """Return whether the result with this name is transient."""
    return result in TRANSIENT


def error_for(result: str, what: str, url: str) -> BrokerError:
    """Return the error for a result: BrokerUnavailable if it is transient, otherwise BrokerError."""
    if result in TRANSIENT:
        advice = f" ({ADVICE[result]})" if result in ADVICE else ""
        return BrokerUnavailable(f"{what}: Pulsar at {url} {TRANSIENT[result]}{advice}")
    return BrokerError(f"{what}: Pulsar at {url} {PERMANENT.get(result, f'refuses: {result}')}")
