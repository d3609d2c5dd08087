"""The program: errors in one line, and exit codes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from ktransfer.cli.terminal import echo, print_json
from ktransfer.errors import InputError

USAGE_ERROR, INTERRUPTED = 2, 130

#: Commands of 0.1.0 that are called otherwise now.
MOVED_COMMANDS = {"plan": "advise"}


class Program(click.Group):
    """A group of commands whose errors are one line, and a JSON object where one was asked for."""

    def main(self, args: Sequence[str] | None = None, *others: Any, **extra: Any) -> Any:
        """Run a command line and exit with its code."""
        given = list(sys.argv[1:] if args is None else args)
        for stream in (sys.stdout, sys.stderr):
            # A file name may hold what the terminal cannot show.
            with contextlib.suppress(AttributeError):
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        sys.exit(self._run(given, *others, **{**extra, "standalone_mode": False}))

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Find a command, by the name that it had in an earlier version, too."""
        now = MOVED_COMMANDS.get(name, name)
        if now != name:
            echo(f"note: {name} is {now} now; the old name goes with 0.3", err=True)
        return super().get_command(context, now)

    def _run(self, args: list[str], *others: Any, **extra: Any) -> int:
        try:
            code = super().main(args, *others, **extra)
            sys.stdout.flush()  # a closed pipe is found here, and not when the interpreter ends
            return code or 0
        except BrokenPipeError:  # `| head` has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (click.Abort, KeyboardInterrupt) as error:
            # Click wraps Ctrl-C; what was said of it is in the cause.
            said = str(error) or str(error.__cause__ or "")
            return _complain(said or "interrupted; nothing was written", args, INTERRUPTED)
        except click.ClickException as error:
            return _complain(error.format_message() + _help_hint(error), args)
        except (InputError, OSError) as error:
            return _complain(str(error), args)


def _complain(message: str, args: Sequence[str], code: int = USAGE_ERROR) -> int:
    echo(f"error: {message}", err=True)
    if "--json" in args:
        print_json({"error": message})
    return code


def _help_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f" (see {context.command_path} --help)" if context else ""
