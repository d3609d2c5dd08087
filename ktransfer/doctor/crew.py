"""Watched processes that inspect many images: what crashes or hangs is named and passed by."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from ktransfer.data.images.value_range import ValueRange
from ktransfer.doctor.inspection import RECORD, inspect_file
from ktransfer.doctor.worker import BIG
from ktransfer.errors import RunError
from ktransfer.processes.worker import Worker

Item = TypeVar("Item")
Result = TypeVar("Result")

#: A file that takes longer is given up; the largest allowed, 178 megapixels, takes about 5 s.
FILE_LIMIT_S = 60.0

_CHUNK = 32
_START_LIMIT_S = 120.0


def inspect_all(
    paths: Sequence[str],
    *,
    processes: int | None = None,
    file_limit_s: float = FILE_LIMIT_S,
    progress: Callable[[int, int], None] = lambda done, of: None,
    value_range: ValueRange | None = None,
) -> tuple[np.ndarray, dict[int, str]]:
    """Inspect every file.

    Args:
        paths: regular files.
        processes: how many decode at a time; None: one for each core that this process may use.
        file_limit_s: seconds after which a file is given up.
        progress: called with how many are done, and of how many.
        value_range: as of `inspect_file`.

    Returns:
        `RECORD` `(n,)`, and by position why an image cannot be decoded.
    """
    records, faults = np.zeros(len(paths), RECORD), dict[int, str]()
    if not paths:
        return records, faults
    chunks = queue.SimpleQueue[range]()
    for start in range(0, len(paths), _CHUNK):
        chunks.put(range(start, min(start + _CHUNK, len(paths))))
    one_big, lock, done = threading.Lock(), threading.Lock(), 0

    def note(index: int, answer: bytes | str) -> None:
        nonlocal done
        if isinstance(answer, bytes):
            records[index] = np.frombuffer(answer[: RECORD.itemsize], RECORD)[0]
            answer = answer[RECORD.itemsize :].decode("utf-8")
        with lock:
            done += 1
            if answer:
                faults[index] = answer
            progress(done, len(paths))

    def work() -> None:
        worker = _Watched(one_big, file_limit_s, value_range)
        with contextlib.closing(worker), contextlib.suppress(queue.Empty):
            while True:
                worker.inspect(paths, chunks.get_nowait(), note)

    count = processes or len(os.sched_getaffinity(0))
    count = min(count, -(-len(paths) // _CHUNK))
    with ThreadPoolExecutor(count) as threads:
        for each in [threads.submit(work) for _ in range(count)]:
            each.result()
    return records, faults


def inspect_in_threads(
    paths: Sequence[str],
    *,
    progress: Callable[[int, int], None] = lambda done, of: None,
    value_range: ValueRange | None = None,
) -> tuple[np.ndarray, dict[int, str]]:
    """`inspect_all` in this process: it starts at once, and a crash of a decoder is its own.

    For files that this process is about to decode anyway.
    """
    records, faults = np.zeros(len(paths), RECORD), dict[int, str]()
    inspections = in_threads(lambda path, big: inspect_file(path, big, value_range), paths)
    for index, (found, fault) in enumerate(inspections):
        records[index] = found
        if fault:
            faults[index] = fault
        progress(index + 1, len(paths))
    return records, faults


def in_threads(
    decode: Callable[[Item, Callable[[], None]], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """Say what becomes of each item, in order; decoded in threads of this process.

    Args:
        decode: gets an item, and what it calls before it decodes a big image.
        items: images.
    """
    one_big = threading.Lock()

    def work(item: Item) -> Result:
        with contextlib.ExitStack() as held:

            def before_big() -> None:
                held.enter_context(one_big)

            return decode(item, before_big)

    with warnings.catch_warnings():
        # Once for all threads: filters belong to the process.
        warnings.simplefilter("ignore")
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            yield from threads.map(work, items)


class _Watched:
    """One process, started anew where it died."""

    def __init__(
        self, one_big: threading.Lock, file_limit_s: float, value_range: ValueRange | None
    ) -> None:
        self._one_big = one_big
        self._value_range = value_range
        self._limit_s = file_limit_s
        self._worker: Worker | None = None

    def inspect(
        self, paths: Sequence[str], chunk: range, note: Callable[[int, bytes | str], None]
    ) -> None:
        """Have a chunk looked at; what is left of it anew after a file that ended the process."""
        rest = list(chunk)
        while rest:
            worker = self._worker = self._worker or self._start()
            try:
                worker.ask.send(([paths[index] for index in rest], self._value_range))
                while rest:
                    note(rest[0], self._answer(worker))
                    rest.pop(0)
            except TimeoutError:
                note(rest.pop(0), f"its decoder took longer than {self._limit_s:g} s")
                self.close()
            except (EOFError, OSError):
                note(rest.pop(0), f"its decoder crashed ({worker.last_words()})")
                self.close()

    def close(self) -> None:
        """End the process."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _start(self) -> Worker:
        # One thread each: the processes are as many as the cores.
        worker = Worker("ktransfer.doctor.worker", environment={"OMP_NUM_THREADS": "1"})
        # A process that cannot start is no fault of the files.
        if worker.is_ready(_START_LIMIT_S):
            return worker
        words = worker.last_line() or worker.last_words()
        worker.close()
        raise RunError(f"the process that looks at images does not start: {words}")

    def _answer(self, worker: Worker) -> bytes:
        answer = self._next(worker)
        if answer != BIG:
            return answer
        with self._one_big:
            worker.ask.send_bytes(b"go")
            return self._next(worker)

    def _next(self, worker: Worker) -> bytes:
        if not worker.hear.poll(self._limit_s):
            raise TimeoutError
        return worker.hear.recv_bytes()
