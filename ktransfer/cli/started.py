"""When the program began: before click is imported, since `total` is what the user waits."""

import time

_STARTED = time.perf_counter()


def elapsed() -> float:
    """Seconds since the program began."""
    return time.perf_counter() - _STARTED
