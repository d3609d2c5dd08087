"""A process that answers: it is asked, heard and ended, and how it ended is known."""

import contextlib
import os
import signal
import textwrap
import time

import pytest

from ktransfer.processes.worker import Worker


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module that a worker runs, and gives its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(body):
        begin = """
            import os, sys, time
            from multiprocessing.connection import Connection
            asked, answered = (Connection(int(each)) for each in sys.argv[1:])
        """
        text = textwrap.dedent(begin) + textwrap.dedent(body)
        (tmp_path / "one_that_answers.py").write_text(text)
        return "one_that_answers"

    return write


ECHO = """
    answered.send_bytes(b"ready")
    while True:
        answered.send((asked.recv(), os.environ.get("COLOUR")))
"""


def test_it_is_asked_heard_and_ended(module):
    with contextlib.closing(Worker(module(ECHO), environment={"COLOUR": "blue"})) as worker:
        assert worker.is_ready()
        for question in (1, "two"):
            worker.ask.send(question)
            assert worker.hear.recv() == (question, "blue")
        os.kill(worker.pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


def test_how_it_ended_is_known(module):
    with contextlib.closing(Worker(module(ECHO))) as worker:
        assert worker.is_ready()
        os.kill(worker.pid, signal.SIGTERM)
        with pytest.raises(EOFError):
            worker.hear.recv()
        assert worker.last_words() == "SIGTERM"


def test_one_that_does_not_start_is_not_ready_and_its_log_says_why(module, tmp_path):
    log = tmp_path / "log"
    with contextlib.closing(Worker(module("sys.exit('no such backbone')"), log=log)) as worker:
        assert not worker.is_ready()
        assert worker.last_words() == "exit code 1"
    assert "no such backbone" in log.read_text()


def test_one_that_takes_too_long_is_not_ready(module):
    with contextlib.closing(Worker(module("time.sleep(60)"))) as worker:
        started = time.monotonic()
        assert not worker.is_ready(0.2)
        assert time.monotonic() - started < 30
