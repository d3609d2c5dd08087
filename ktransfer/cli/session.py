"""What commands that need TensorFlow share: import it late, keep its output apart, load a run."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ktransfer.show.timing import timed

if TYPE_CHECKING:
    from ktransfer.finetuner import FineTuner


@contextlib.contextmanager
def at_work(seconds: dict[str, float]) -> Iterator[None]:
    """Imports what is slow, and keeps standard output for results: Keras reports downloads."""
    from ktransfer.cli.quiet import hide_chatter
    from ktransfer.errors.keras import check_keras
    from ktransfer.show.progress import working

    check_keras()
    hide_chatter()
    with timed(seconds, "import"), working("loading TensorFlow"):
        import ktransfer.finetuner  # noqa: F401
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def resumable(
    command: str,
    out: str,
    has_begun: Callable[[], bool],
    forget: Callable[[], None],
    *,
    resumed: bool = False,
) -> Iterator[None]:
    """Leaves nothing of work that could not begin; says how to go on with what did.

    Args:
        command: its name.
        out: the folder that it goes on from.
        has_begun: whether there is something to go on from.
        forget: deletes what was noted in the folder.
        resumed: whether it was noted before, and so stays noted.
    """
    try:
        yield
    except BaseException as error:
        if not has_begun() and not resumed:
            forget()
        elif isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(
                f"interrupted; `ktransfer {command} --resume {shlex.quote(out)}` goes on"
            ) from error
        raise


def loaded(run: str, seconds: dict[str, float]) -> FineTuner:
    """A saved run."""
    from ktransfer.finetuner import FineTuner

    with timed(seconds, "load"):
        return FineTuner.load(run)
