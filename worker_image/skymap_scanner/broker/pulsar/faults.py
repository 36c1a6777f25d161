"""What the Pulsar client's results mean to us: which pass by themselves, and what the others say to a person.

The names are those of ``pulsar::Result`` (C++ client), which are also the classes of its Python exceptions.
"""

from __future__ import annotations

from skymap_scanner.errors import BrokerError, BrokerUnavailable

#: Results that pass: waiting and asking again is right.
PASSING = {
    "Timeout": "did not answer in time",
    "ConnectError": "cannot be reached",
    "NotConnected": "is not connected",
    "ReadError": "closed the connection",
    "Interrupted": "closed the connection",
    "LookupError": "cannot find who serves the topic",
    "ServiceUnitNotReady": "is not ready to serve the topic",
    "TooManyLookupRequestException": "is too busy",
    "BrokerMetadataError": "cannot reach its metadata",
    "BrokerPersistenceError": "cannot store messages",
    "ProducerQueueIsFull": "is too slow",
    "MemoryBufferIsFull": "is too slow",
    "ChecksumError": "received a damaged message",
    "ProducerBusy": "has a producer of this name already",
    "UnknownError": "failed for a reason that it does not tell",
    "ProducerBlockedQuotaExceededError": "holds messages back, since the backlog quota is used up",
    "ProducerBlockedQuotaExceededException": "refuses messages, since the backlog quota is used up",
}

#: What helps where a result does not pass by itself soon.
ADVICE = {
    "ProducerBlockedQuotaExceededError": "delete finished scans (topics delete --finished) or raise the quota",
    "ProducerBlockedQuotaExceededException": "delete finished scans (topics delete --finished) or raise the quota",
    "BrokerPersistenceError": "is the disk of its bookies full?",
    "ProducerBusy": "is the same role of this scan running twice?",
}

#: Results that do not pass.
FINAL = {
    "AuthenticationError": "does not accept our credentials: check the token (--auth-token FILE) or the certificate",
    "AuthorizationError": "does not let our role do this: grant it produce and consume on the namespace",
    "ErrorGettingAuthenticationData": "got no credentials from us: can the token's file be read?",
    "TopicNotFound": "has no such topic: was it deleted? `skymap-scanner topics create` makes a scan's topics",
    "TopicTerminated": "has closed the topic for good: delete the scan's topics and begin again",
    "InvalidTopicName": "does not accept this name of a topic",
    "MessageTooBig": "accepts no message of this size: raise its maxMessageSize",
    "AlreadyClosed": "cannot be asked: this was closed",
    "ProducerFenced": "has given this producer's place to another one",
    "InvalidUrl": "has an address that cannot be used",
    "InvalidConfiguration": "does not accept the settings",
    "UnsupportedVersionError": "speaks another version of the protocol",
}


def passes(result: str) -> bool:
    """Tell whether the result of this name passes by itself."""
    return result in PASSING


def fault(result: str, what: str, url: str) -> BrokerError:
    """Make the error for a result: BrokerUnavailable where it passes, else BrokerError."""
    if result in PASSING:
        advice = f" ({ADVICE[result]})" if result in ADVICE else ""
        return BrokerUnavailable(f"{what}: Pulsar at {url} {PASSING[result]}{advice}")
    return BrokerError(f"{what}: Pulsar at {url} {FINAL.get(result, f'refuses: {result}')}")
