"""A process that looks at images: a decoder that crashes or hangs takes nothing else with it.

`crew` starts it with the two ends of pipes; it has no other use.
"""

from __future__ import annotations

import sys
from multiprocessing.connection import Connection

from ktransfer.doctor.inspection import inspect_file
from ktransfer.processes.worker import READY

#: What it says before it decodes a big image; any answer lets it.
BIG = b"big"


def main(read_end: int, write_end: int) -> None:
    """Answer paths and the `value_range` to read them by with a look and a fault for each path.

    The bytes of a look are followed by the fault, if there is one.
    """
    asked, answered = Connection(read_end), Connection(write_end)

    def before_big() -> None:
        answered.send_bytes(BIG)
        asked.recv_bytes()

    answered.send_bytes(READY)
    while message := asked.recv():
        paths, value_range = message
        for path in paths:
            found, fault = inspect_file(path, before_big, value_range)
            answered.send_bytes(found.tobytes() + (fault or "").encode("utf-8", "backslashreplace"))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
