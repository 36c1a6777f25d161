"""Options of the commands for scans on a cluster; see `skymap_scanner.kubectl`."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from skymap_api.text import shell_line

if TYPE_CHECKING:
    from skymap_scanner.kubectl.client import Kubectl

F = TypeVar("F", bound=Callable[..., Any])


def with_kubectl(function: F) -> F:
    """Add ``--context`` and ``--namespace``; the command gets one `Kubectl`, ``kubectl``."""

    @functools.wraps(function)
    def with_options(*arguments: Any, context: str | None, namespace: str | None, **given: Any) -> Any:
        from skymap_scanner.kubectl.client import Kubectl

        return function(*arguments, kubectl=Kubectl.of(os.environ, context, namespace), **given)

    decorated: Any = with_options
    decorated = click.option(
        "--context", callback=_checked, help="Context of the kubeconfig.  [default: the current one]"
    )(decorated)
    return click.option(  # type: ignore[no-any-return]
        "--namespace", callback=_checked, help="Namespace of the scan.  [default: that of the context]"
    )(decorated)


def _checked(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Reject a value that kubectl would take for an option."""
    if value is not None and (not value or value.startswith("-")):
        raise click.BadParameter(f"{value!r} is not a name")
    return value


def command_line(kubectl: Kubectl, *words: str) -> str:
    """Return one of our commands for the same cluster and namespace, as the user can type it."""
    return shell_line(["skymap-scanner", *words, *kubectl.target_options])
