"""Reference of the commands: the help of each, as it is printed. ``python -m skymap_scanner.cli.reference``."""

from __future__ import annotations

from collections.abc import Iterator

import click

from skymap_scanner.cli import group

WIDTH = 110


def reference() -> str:
    """Return the page as Markdown."""
    parts = ["# Commands\n\nThe help of every command, as `--help` prints it.\n"]
    context = click.Context(
        group,
        info_name="skymap-scanner",
        max_content_width=WIDTH,
        terminal_width=WIDTH,
        help_option_names=["-h", "--help"],
    )
    parts.append(_section("skymap-scanner", group, context))
    parts += _sections(group, context, "skymap-scanner")
    return "\n".join(parts)


def _sections(commands: click.Group, context: click.Context, title: str) -> Iterator[str]:
    """Yield the section of every command, and of its subcommands."""
    for name in commands.list_commands(context):
        command = commands.get_command(context, name)
        if command is not None:
            inner = click.Context(
                command, parent=context, info_name=name, max_content_width=WIDTH, terminal_width=WIDTH
            )
            yield _section(f"{title} {name}", command, inner)
            if isinstance(command, click.Group):
                yield from _sections(command, inner, f"{title} {name}")


def _section(title: str, command: click.Command, context: click.Context) -> str:
    return f"## {title}\n\n```text\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    click.echo(reference(), nl=False)
