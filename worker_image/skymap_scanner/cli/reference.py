"""``docs/commands.md``: the help of every command, as it is printed. ``make docs`` writes it, a test checks it."""

from __future__ import annotations

import click

from skymap_scanner.cli import COMMANDS, group

WIDTH = 110


def reference() -> str:
    """Return the page as Markdown."""
    parts = ["# Commands\n\nMade by `make docs` from the commands' own help.\n"]
    context = click.Context(
        group,
        info_name="skymap-scanner",
        max_content_width=WIDTH,
        terminal_width=WIDTH,
        help_option_names=["-h", "--help"],
    )
    parts.append(_section("skymap-scanner", group, context))
    for name in COMMANDS:
        command = group.get_command(context, name)
        if command is not None:
            inner = click.Context(
                command, parent=context, info_name=name, max_content_width=WIDTH, terminal_width=WIDTH
            )
            parts.append(_section(f"skymap-scanner {name}", command, inner))
    return "\n".join(parts)


def _section(title: str, command: click.Command, context: click.Context) -> str:
    return f"## {title}\n\n```text\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    click.echo(reference(), nl=False)
