"""kubectl, the only way to the cluster: the user's own program knows the cluster and the credentials.

An error of kubectl becomes one line that says what to do. kubectl reports its errors as text alone, so the texts that
this module recognizes are in one table; every other text is shown as it is.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from skymap_scanner.errors import ClusterError, ClusterUnavailable

#: Timeouts (s): of one request to the API server, and of one call of kubectl.
REQUEST_TIMEOUT, CALL_TIMEOUT = 20, 60.0

#: Longest error message (characters).
_LONGEST_MESSAGE = 600
#: kubectl's own log lines, which repeat its final error, and the API server's warnings.
_NOISE = re.compile(r"^([EWI]\d{4} |Warning: )")
_PREFIX = re.compile(r"^(error: |Error from server( \(\w+\))?: )+")
_QUESTION = re.compile(r" - did you specify the right host or port\?$")

_UNAVAILABLE = (
    r"connection .*refused|Unable to connect to the server|i/o timeout|no such host|no route to host|"
    r"network is unreachable|TLS handshake timeout|context deadline exceeded|Client\.Timeout exceeded|etcdserver: |"
    r"the server is currently unable|unexpected EOF|connection reset"
)

#: (text, advice, whether it is temporary); the first match counts. Sources: client-go (rest, clientcmd, exec plugins),
#: net and crypto/tls of Go, kubectl's resource builder, the API server's authorization.
_ADVICE = (
    (
        r"the server doesn't have a resource type \"(skymapscans|sms)|no matches for kind \"SkymapScan\"",
        "the cluster has no resource SkymapScan: install the operator there, or choose another --context",
        False,
    ),
    (
        r"getting credentials: |exec plugin|You must be logged in|Unauthorized",
        "log in to the cluster again, as its administrators describe",
        False,
    ),
    (
        r"\(Forbidden\)|is forbidden",
        "ask the cluster's administrators for permission, or choose another --namespace",
        False,
    ),
    (r"namespaces \"[^\"]*\" not found", "choose another with --namespace, or create it", False),
    (
        r"context \"[^\"]*\" does not exist|context was not found|current-context is not set|no configuration has been",
        "choose one with --context (kubectl config get-contexts lists them)",
        False,
    ),
    (
        r"x509: |certificate (has expired|signed by)",
        "the cluster's certificate is not trusted: check KUBECONFIG",
        False,
    ),
    (
        _UNAVAILABLE,
        "check that the cluster runs and can be reached from here (KUBECONFIG, --context)",
        True,
    ),
)

_SECRETS = (
    re.compile(r"\bey[\w-]{8,}\.[\w-]+\.[\w-]*"),  # a JWT
    re.compile(r"(?<=://)[^/\s@]+(?=@)"),  # user and password of a URL
    re.compile(r"(?i)(?<=bearer )\S+|(?<=basic )[A-Za-z0-9+/=]{8,}"),
)


@dataclass(frozen=True)
class Kubectl:
    """How to call kubectl; ``context`` and ``namespace``: None for those of the user's kubeconfig."""

    program: str = "kubectl"
    context: str | None = None
    namespace: str | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str], context: str | None, namespace: str | None) -> Kubectl:
        """Return the client; the environment variable ``SKYMAP_KUBECTL`` names another program."""
        return cls(environment.get("SKYMAP_KUBECTL") or "kubectl", context, namespace)

    @property
    def target_options(self) -> list[str]:
        """The options that choose cluster and namespace, the same for kubectl and for our own commands."""
        chosen = (("--context", self.context), ("--namespace", self.namespace))
        return [word for option, value in chosen if value is not None for word in (option, value)]

    def command(self, *words: str) -> list[str]:
        """Return the command line."""
        return [self.program, *self.target_options, *words]

    def run(self, *words: str, stdin: str | None = None, detached: bool = False) -> str:
        """Run a short command; return its standard output.

        ``detached``: Ctrl-C at the terminal does not interrupt it; for cleaning up.

        Raises
        ------
        ClusterUnavailable
            If the cluster does not answer.
        ClusterError
            If kubectl is missing, or it or the cluster rejects the command.
        """
        command = self.command(*words, f"--request-timeout={REQUEST_TIMEOUT}s")
        try:
            done = subprocess.run(  # noqa: S603 - the user's own kubectl, without a shell
                command,
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
                timeout=CALL_TIMEOUT,
                start_new_session=detached,
            )
        except OSError as error:
            raise self._missing(error) from error
        except subprocess.TimeoutExpired as error:
            raise ClusterUnavailable(
                f"kubectl {words[0]} has not finished within {CALL_TIMEOUT:g} s: try again"
            ) from error
        if done.returncode:
            raise explain_failure(done.stderr, done.returncode)
        return done.stdout

    def get(self, *words: str) -> dict[str, Any] | None:
        """Return what ``kubectl get WORDS`` finds, a list under ``items``; None if there is no such object."""
        printed = self.run("get", *words, "--ignore-not-found", "--output", "json")
        try:
            found = json.loads(printed) if printed.strip() else None
        except ValueError as error:
            raise ClusterError(f"kubectl get {words[0]} printed no JSON: is {self.program} really kubectl?") from error
        if found is not None and not isinstance(found, dict):
            raise ClusterError(f"kubectl get {words[0]} printed no object: is {self.program} really kubectl?")
        return found

    def items(self, *words: str) -> list[dict[str, Any]]:
        """Return the objects that ``kubectl get WORDS`` lists."""
        found = self.get(*words)
        return [] if found is None else list(found.get("items", ()))

    def start(self, *words: str, stdin: int, stderr: int | IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a command and read its output while it runs.

        Raises
        ------
        ClusterError
            If kubectl is missing.
        """
        try:
            return subprocess.Popen(  # noqa: S603 - as above
                self.command(*words), stdin=stdin, stdout=subprocess.PIPE, stderr=stderr
            )
        except OSError as error:
            raise self._missing(error) from error

    def _missing(self, error: OSError) -> ClusterError:
        return ClusterError(
            f"cannot run {self.program} ({error.strerror}): install kubectl, or name it in SKYMAP_KUBECTL"
        )


def explain_failure(stderr: str, code: int = 1) -> ClusterError:
    """Return kubectl's error output as an error of one line that says what to do."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    reasons = [_QUESTION.sub("", _PREFIX.sub("", line)) for line in lines if not _NOISE.match(line)] or lines[-1:]
    text = redacted(" ".join(reasons))[:_LONGEST_MESSAGE] or f"kubectl failed with exit code {code} and no message"
    for pattern, advice, temporary in _ADVICE:
        if re.search(pattern, stderr):
            return (ClusterUnavailable if temporary else ClusterError)(f"{text.rstrip('.')}: {advice}")
    return ClusterError(text)


def redacted(text: str) -> str:
    """Return ``text`` without tokens, and without user and password in URLs."""
    for pattern in _SECRETS:
        text = pattern.sub("***", text)
    return text
