"""A search over several machines: each a process of its own, on this one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tuner_process
from conftest import write_pictures

from ktransfer import InputError, RunError
from ktransfer.tuner.records import DONE, Journal

PROGRAM = Path(tuner_process.__file__)
#: Of everything here, in seconds: nothing stays behind.
LIMIT_S = 240


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("photos"), 20)


@pytest.fixture
def start(photos, tmp_path):
    """Starts processes, and ends those that are left."""
    started = []

    def process(folder, images=photos, **options):
        log = (tmp_path / f"stderr-{len(started)}").open("wb")
        command = [sys.executable, "-W", "ignore", PROGRAM, folder, images, json.dumps(options)]
        paths = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        made = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=paths)
        made.log = Path(log.name)
        log.close()
        started.append(made)
        return made

    yield process
    for each in started:
        each.kill()
        each.communicate()


def last_json(process):
    output, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, process.log.read_text()
    return json.loads(output.splitlines()[-1])


def until(holds, *processes):
    end = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < end
        for each in processes:
            assert each.poll() is None, each.log.read_text()
        time.sleep(0.05)


def values_of(result):
    return [(each["name"], each["values"], each["val_accuracy"]) for each in result["trials"]]


@pytest.mark.slow
def test_two_workers_find_what_a_search_by_itself_finds(start, photos, tmp_path):
    address = free_address()
    chief = start(tmp_path / "chief", role="chief", chief=address, worker_timeout_s=20)
    workers = [
        start(tmp_path / f"worker-{at}", role="worker", chief=address, slow=0.5) for at in range(2)
    ]
    found = last_json(chief)
    counts = [last_json(each)["carried_out"] for each in workers]
    alone = tuner_process.make(tmp_path / "alone", verbose=False).search(photos).to_dict()
    assert sum(counts) == 6
    assert min(counts) > 0
    assert values_of(found) == values_of(json.loads(json.dumps(alone)))
    assert found["best_plan"] == alone["best_plan"]
    assert found["test_accuracy"] == alone["test_accuracy"]
    assert not (tmp_path / "worker-0" / "trials").exists()
    for each in workers:
        assert "the search is over: this worker has carried out" in each.log.read_text()


@pytest.mark.slow
def test_a_search_outlives_the_kill_of_a_worker_and_of_its_chief(start, tmp_path):
    address, folder = free_address(), tmp_path / "chief"
    options = {"role": "chief", "chief": address, "worker_timeout_s": 3}
    chief = start(folder, **options)
    lost = start(tmp_path / "lost", role="worker", chief=address, slow=600)
    until(lambda: Journal(folder).find("0"), chief, lost)
    lost.kill()
    other = start(tmp_path / "other", role="worker", chief=address, slow=2.5)

    def finished():
        return {each.name: each for each in Journal(folder).all() if each.finished}

    until(lambda: len(finished()) >= 2, chief, other)
    os.kill(chief.pid, signal.SIGKILL)
    chief.wait()
    before = finished()
    missed = f"waiting for the chief at {address}"
    until(lambda: missed in other.log.read_text(), other)
    again = start(folder, **options)
    result = last_json(again)
    records = {each.name: each for each in Journal(folder).all()}
    assert {name: records[name] for name in before} == before, "no finished trial ran again"
    trials = [records[str(at)] for at in range(6)]
    assert [each.status for each in trials] == [DONE] * 6
    assert [each.attempts for each in trials] == [2, 1, 1, 1, 1, 1]
    assert last_json(other)["carried_out"] == 6
    assert "nothing was heard of" in chief.log.read_text()
    assert len(result["trials"]) == 6


def test_a_worker_with_other_data_trains_nothing(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("ktransfer.tuner.trial_process.TrialProcess.run", None)
    address = free_address()
    chief = tuner_process.make(tmp_path / "chief", role="chief", chief=address, verbose=False)
    other = write_pictures(tmp_path / "other", 20, seed=5)
    with chief_of(chief, photos):
        options = {"role": "worker", "chief": address, "verbose": False}
        worker = tuner_process.make(tmp_path / "worker", **options)
        with pytest.raises(RunError) as caught:
            worker.search(other)
        assert "data train contents: other contents than at the chief" in str(caught.value)
        assert "weights" not in str(caught.value)
        wet = tuner_process.make(tmp_path / "worker", dropout=0.5, **options)
        with pytest.raises(RunError, match=r"options dropout: '0\.0' at the chief, '0\.5' here"):
            wet.search(photos)
    assert not Journal(chief.folder).all()


def test_kerastuners_variables_make_a_worker_and_stay(tmp_path, monkeypatch):
    variables = {
        "KERASTUNER_TUNER_ID": "tuner7",
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": free_address().rpartition(":")[2],
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    photos = write_pictures(tmp_path / "photos", 20)
    worker = tuner_process.make(tmp_path / "worker", chief_timeout_s=0.3, verbose=False)
    with pytest.raises(
        RunError, match=r"the chief at 127\.0\.0\.1:\d+ has not answered for 0\.3 s"
    ):
        worker.search(photos)
    assert {name: os.environ[name] for name in variables} == variables
    with pytest.raises(InputError, match=r"chief_timeout_s must be seconds, above 0, got -1"):
        tuner_process.make(tmp_path / "worker", chief_timeout_s=-1)


def chief_of(tuner, photos):
    """The chief's service, without a search."""
    from ktransfer.data import read_data
    from ktransfer.data.reading.dividing import with_test
    from ktransfer.tuner.machines.chief import Chief
    from ktransfer.tuner.request import compared

    splits = with_test(read_data(photos, seed=5), 0.2, 5)
    return Chief(
        tuner._machine,
        tuner.oracle,
        tuner.journal,
        begin=tuner._begun,
        curves=tuner._trials.curves,
        request=compared(tuner._request(splits), tuner._options),
        silence_s=0.2,
        say=lambda what: None,
    )


def test_a_chief_whose_port_is_in_use_is_refused_before_anything(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RunError, match=f"cannot listen at {address}: another process does"):
            tuner_process.make(tmp_path / "chief", role="chief", chief=address)
    assert not (tmp_path / "chief").exists()
