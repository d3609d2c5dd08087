"""What all commands share: errors in one line, exit codes, and the values that options take."""

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


class Program(click.Group):
    """A group of commands whose errors are one line, and a JSON object where one was asked for."""

    def main(self, args: Sequence[str] | None = None, *others: Any, **extra: Any) -> Any:
        """Runs a command line and exits with its code."""
        given = list(sys.argv[1:] if args is None else args)
        for stream in (sys.stdout, sys.stderr):
            # A file name may hold what the terminal cannot show.
            with contextlib.suppress(AttributeError):
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        sys.exit(self._run(given, *others, **{**extra, "standalone_mode": False}))

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


class KeyValue(click.ParamType):
    """`alpha=0.35` as `("alpha", 0.35)`."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, Any]:
        """Splits at the first equals sign."""
        key, separator, text = value.partition("=")
        if not separator or not key.isidentifier():
            self.fail(f"{value!r} is not of the form KEY=VALUE, such as alpha=0.35", param, ctx)
        return key, parsed(text)


class Range(click.ParamType):
    """`0,4095` as `(0.0, 4095.0)`; auto and full as they are."""

    name = "auto|full|LOW,HIGH"

    def convert(self, value: Any, param: Any, ctx: Any) -> str | tuple[float, float]:
        """Two numbers, the first the smaller one, or a word."""
        from ktransfer.data.images.value_range import check_value_range

        several = value.split(",") if isinstance(value, str) and "," in value else value
        try:
            return check_value_range(several)
        except InputError:
            self.fail(
                f"{value!r} is neither auto nor full nor two numbers LOW,HIGH, such as 0,4095, the "
                "first the smaller one",
                param,
                ctx,
            )


def parsed(text: str) -> Any:
    """The text as None, a bool, an int or a float, or else as it is.

    Example:
        >>> parsed("0.35"), parsed("3"), parsed("none"), parsed("True"), parsed("relu")
        (0.35, 3, None, True, 'relu')
    """
    words = {"none": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object as the last line."
)
