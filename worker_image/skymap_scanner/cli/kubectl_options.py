"""Options of the commands for scans on a cluster, and what they say of one; see `skymap_scanner.kubectl`."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from skymap_scanner.kubectl.client import Kubectl

F = TypeVar("F", bound=Callable[..., Any])


def options(function: F) -> F:
    """``--context`` and ``--namespace``; the command gets one `Kubectl`, ``kubectl``."""

    @functools.wraps(function)
    def with_kubectl(*arguments: Any, context: str | None, namespace: str | None, **given: Any) -> Any:
        from skymap_scanner.kubectl.client import Kubectl

        return function(*arguments, kubectl=Kubectl.of(os.environ, context, namespace), **given)

    decorated: Any = with_kubectl
    decorated = click.option(
        "--context", callback=_one_word, help="Context of the kubeconfig.  [default: the current one]"
    )(decorated)
    return click.option(  # type: ignore[no-any-return]
        "--namespace", callback=_one_word, help="Namespace of the scan.  [default: that of the context]"
    )(decorated)


def _one_word(context: click.Context, option: click.Parameter, value: str | None) -> str | None:  # noqa: ARG001 - click's signature
    """Refuse what kubectl would take for an option."""
    if value is not None and (not value or value.startswith("-")):
        raise click.BadParameter(f"{value!r} is no name")
    return value


def call(kubectl: Kubectl, *words: str) -> str:
    """Write one of our commands for the same cluster and namespace, as it can be typed."""
    return shlex.join(["skymap-scanner", *words, *kubectl.where])
