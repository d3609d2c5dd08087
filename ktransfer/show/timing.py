"""Wall time by phase."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    """Note in `seconds[phase]` how long a `with` block took; nothing where it raises."""
    started = time.perf_counter()
    yield
    seconds[phase] = time.perf_counter() - started
