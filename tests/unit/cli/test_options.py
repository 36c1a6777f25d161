"""Numbers that options refuse, of all commands."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from skymap_scanner.cli import COMMANDS, group
from skymap_scanner.cli.run import command as run


def ranges(found: click.Command, name: str = "") -> Iterator[tuple[str, click.Parameter]]:
    """Yield the options of all commands that take a number in a range."""
    yield from ((name, one) for one in found.params if isinstance(one.type, click.FloatRange))
    if isinstance(found, click.Group):
        context = click.Context(found)
        for inner in found.list_commands(context):
            if (one := found.get_command(context, inner)) is not None:
                yield from ranges(one, f"{name} {inner}".strip())


FOUND = [*ranges(group)]


def test_ranges_of_all_commands_are_found() -> None:
    assert {"run", "producer", "worker", "fetch", "abort"} <= {name for name, _ in FOUND} <= {*COMMANDS}


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e300"])
@pytest.mark.parametrize("option", [one for _, one in FOUND], ids=[f"{name} {one.name}" for name, one in FOUND])
def test_number_that_is_not_finite_or_huge_is_refused(option: click.Parameter, text: str) -> None:
    with pytest.raises(click.BadParameter):
        option.type.convert(text, option, None)


def test_absurd_number_of_workers_is_refused() -> None:
    refused = CliRunner().invoke(run, ["demo", "-o", "out", "--workers", "99999999"])
    assert refused.exit_code == 2
    assert "99999999 is not in the range 0<=x<=1024" in refused.output
