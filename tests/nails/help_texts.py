"""The texts of `--help`, of the program and of each of its commands."""

from __future__ import annotations

import click
from click.testing import CliRunner

from ktransfer import cli

WIDTH = 100


def help_texts() -> dict[str, str]:
    """The text of each command by its name, and of the program itself as `ktransfer`."""
    texts = {"ktransfer": _text()}
    return {**texts, **{name: _text(name) for name in sorted(cli.main.commands)}}


def options() -> dict[str, list[list[str]]]:
    """All the ways to write each option and argument of each command."""
    return {name: _written(command) for name, command in sorted(cli.main.commands.items())}


def _written(command: click.Command) -> list[list[str]]:
    return sorted([*each.opts, *each.secondary_opts] for each in command.params)


def _text(*command: str) -> str:
    size = {"terminal_width": WIDTH, "max_content_width": WIDTH}
    result = CliRunner().invoke(cli.main, [*command, "--help"], prog_name="ktransfer", **size)
    assert result.exit_code == 0, result.output
    return result.stdout
