"""A search over several machines: chief and workers in one process, with trials made up."""

import contextlib
import dataclasses
import os
import socket
import threading
import time

import grpc
import keras_tuner
import pytest

from ktransfer import InputError, RunError
from ktransfer.plan import last_blocks, linear_probe
from ktransfer.tuner.machines.assignments import Assignments, replay
from ktransfer.tuner.machines.chief import MOST_ATTEMPTS, Chief
from ktransfer.tuner.machines.machine import (
    CHIEF,
    WORKER,
    Machine,
    check_free,
    machine_of,
    without_variables,
)
from ktransfer.tuner.machines.messages import MESSAGE, message_of, with_message
from ktransfer.tuner.machines.remote import Remote, check_same_as_chief, work
from ktransfer.tuner.oracles import Search, end_trial
from ktransfer.tuner.records import DONE, FAILED, Journal, Record

REQUEST = {
    "data": {"train": {"images": 20, "contents": "a" * 64}},
    "classes": ["ants", "bees"],
    "space": {"unfreeze": {"values": [0, 1]}, "head_rate": {"values": [1, 2]}},
    "versions": {"keras": "3.15.1"},
}
SILENCE_S = 1.5
RATES = [1e-3 / 3, 2e-3 / 3, 1e-2 / 3, 2e-2 / 3]


def space():
    made = keras_tuner.HyperParameters()
    made.Choice("unfreeze", [0, 1, 2])
    made.Choice("head_rate", RATES)
    return made


def accuracy(values):
    return 1 / 7 + values["unfreeze"] / 10 - values["head_rate"]


def begun(trial):
    values = dict(trial.hyperparameters.values)
    depth, rate = values["unfreeze"], values["head_rate"]
    plan = last_blocks(depth, 3, rate) if depth else linear_probe(3, rate)
    return Record(trial.trial_id, values, plan.resolve(3).to_dict(), 0)


def judged(plan):
    stage = plan["stages"][-1]
    return accuracy({"unfreeze": stage["unfreeze"], "head_rate": stage["learning_rate"]})


class MadeUp:
    """A process that trains, without training: it takes its time, and knows how good a plan is."""

    def __init__(self, seconds=0.0, outcome=None):
        self.jobs, self._seconds, self._outcome = [], seconds, outcome
        self.began = threading.Event()

    def run(self, job):
        self.jobs.append(job)
        self.began.set()
        time.sleep(self._seconds)
        found = judged(job.plan)
        return self._outcome or {
            "status": DONE,
            "val_accuracy": found,
            "val_calibrated_loss": 1 - found,
            "curve": (found / 3, found),
            "seconds": 0.1,
            "memory_mb": 100.0,
        }


@pytest.fixture
def machine():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Machine(CHIEF, "127.0.0.1", probe.getsockname()[1])


@pytest.fixture
def said():
    return []


@pytest.fixture
def start(machine, said, tmp_path):
    """Makes a chief; each new one has a new oracle, as after a restart."""

    def made(name="grid", trials=12, silence_s=SILENCE_S):
        oracle = Search(name, trials, 3, 0).make(space(), lambda name: None)
        oracle._set_project_dir(str(tmp_path), "keras_tuner")
        journal = Journal(tmp_path)
        return Chief(
            machine,
            oracle,
            journal,
            begin=begun,
            curves=lambda record: tuple(each.curve for each in journal.all() if each.curve),
            request=REQUEST,
            silence_s=silence_s,
            say=said.append,
        )

    return made


@contextlib.contextmanager
def worker(machine, process, patience_s=20.0, name=""):
    """A worker in a thread; its remote is what the block gets."""
    remote = Remote(dataclasses.replace(machine, tuner_id=name), patience_s, lambda what: None)
    remote.found, remote.error = [], None

    def run():
        try:
            remote.found += work(remote, process, SILENCE_S)
        except RunError as error:
            remote.error = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield remote
        thread.join(30)
        assert not thread.is_alive()
    finally:
        remote.close()


def until(holds, seconds=20.0):
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    assert holds()


def wait(chief, seconds=30.0):
    """`chief.wait()`, but not for ever."""
    errors = []

    def run():
        try:
            chief.wait()
        except InputError as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        chief._error = InputError("the search does not end")
        thread.join()
    for error in errors:
        raise error


def named(said):
    return [each for each in said if isinstance(each, str)]


def test_two_workers_carry_out_the_points_of_the_grid_in_its_order(start, machine, tmp_path):
    one, two = MadeUp(0.05), MadeUp(0.05)
    with worker(machine, one) as first, worker(machine, two) as second, start() as chief:
        wait(chief)
    records = Journal(tmp_path).all()
    assert [each.name for each in records] == [f"{at:02}" for at in range(12)]
    expected = [
        {"unfreeze": unfreeze, "head_rate": rate} for unfreeze in (0, 1, 2) for rate in RATES
    ]
    assert [dict(each.values) for each in records] == expected
    assert [each.val_accuracy for each in records] == [accuracy(each) for each in expected]
    assert all((each.status, each.attempts) == (DONE, 1) for each in records)
    assert first.found
    assert second.found
    assert len(first.found) + len(second.found) == 12
    assert first.error is second.error is None
    best = chief.oracle.get_best_trials()[0]
    assert best.score == min(1 - accuracy(each) for each in expected), "not a 32-bit number"


def test_no_letter_stays_in_what_is_kept(start, machine, tmp_path, capsys):
    with worker(machine, MadeUp()), start("random", 4) as chief:
        wait(chief)
    texts = [path.read_text() for path in tmp_path.rglob("*.json")]
    assert len(texts) > 8
    assert not [each for each in texts if MESSAGE in each]
    assert MESSAGE not in chief.oracle.get_space()
    assert not capsys.readouterr().out, "KerasTuner prints tables otherwise"


def test_a_trial_is_compared_with_all_that_have_ended_anywhere(start, machine):
    process = MadeUp()
    with worker(machine, process), start("random", 4) as chief:
        wait(chief)
    assert [len(job.curves) for job in process.jobs] == [0, 1, 2, 3]
    found = judged(process.jobs[0].plan)
    assert process.jobs[1].curves == ((found / 3, found),)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random", "grid", "hyperband", "bayesian"])
def test_a_chief_that_starts_again_goes_on_with_each_oracle(start, machine, said, tmp_path, name):
    trials = 60 if name == "hyperband" else 12
    # Nobody is lost here, however long the workers take to find the chief again.
    with (
        start(name, trials, 4.0) as chief,
        worker(machine, MadeUp(0.03)),
        worker(machine, MadeUp(0.05)),
    ):
        until(lambda: len(Journal(tmp_path).all()) >= 5)
        chief._server.stop(None).wait()
        half = {each.name: each for each in Journal(tmp_path).all() if each.finished}
        chief._lock.acquire()  # what comes late finds nobody
        with start(name, trials, 4.0) as again:
            wait(again)
        chief._lock.release()
    records = {each.name: each for each in Journal(tmp_path).all()}
    assert len(half) >= 3
    assert {each: records[each] for each in half} == half, "no finished trial ran again"
    assert {each.status for each in records.values()} == {DONE}
    # A trial that was on its way to a worker when the chief went is handed out once more.
    assert sum(each.attempts - 1 for each in records.values()) <= 2
    assert len(records) == len(again.oracle.trials)
    for each in records.values():
        assert again.oracle.trials[each.name].score == each.val_calibrated_loss
        assert again.oracle.trials[each.name].hyperparameters.values == each.values


def test_an_oracle_is_told_again_in_the_order_of_beginnings_and_ends(tmp_path):
    def new(folder):
        oracle = Search("hyperband", 60, 3, 0).make(space(), lambda name: None)
        oracle._set_project_dir(str(tmp_path), folder)
        oracle.verbose = 0
        return oracle

    first, journal = new("first"), Journal(tmp_path)
    for at in range(4):
        trial = first.create_trial(f"worker {at}")
        journal.begin(begun(trial))
    for name in ("0002", "0000", "0001"):
        score = int(name) / 9
        outcome = {"val_accuracy": score, "val_calibrated_loss": 1 - score}
        record = dataclasses.replace(journal.find(name), status=DONE, **outcome)
        journal.write(record)
        end_trial(first, first.trials[name], record)
    again = new("again")
    replay(again, Journal(tmp_path), Assignments(again, SILENCE_S))
    assert [each.trial_id for each in again.ongoing_trials.values()] == ["0003"]
    expected = [first.create_trial(f"next {at}").hyperparameters.values for at in range(2)]
    assert expected[0]["tuner/round"] == 1
    assert expected[0]["tuner/trial_id"] == "0002"
    found = [again.create_trial(f"next {at}").hyperparameters.values for at in range(2)]
    assert found == expected


def test_the_trial_of_a_worker_that_died_is_carried_out_by_another(start, machine, said, tmp_path):
    with start("random", 4) as chief:
        lost = Remote(dataclasses.replace(machine, tuner_id="lost"), 5.0, said.append)
        record, _ = lost.next_trial()
        lost.close()
        with worker(machine, MadeUp()) as other:
            wait(chief)
    records = {each.name: each for each in Journal(tmp_path).all()}
    assert {name: each.attempts for name, each in records.items()} == {
        name: 2 if name == record.name else 1 for name in "0123"
    }
    assert len(other.found) == 4
    assert f"nothing was heard of {lost.tuner_id} for 1.5 s: trial 0 is for another" in str(said)


def test_a_trial_that_takes_longer_than_the_silence_stays_with_its_worker(start, machine, tmp_path):
    slow, other = MadeUp(2 * SILENCE_S), MadeUp()
    with start("random", 4) as chief, worker(machine, slow):
        slow.began.wait(10)
        with worker(machine, other):
            wait(chief)
    assert [each.attempts for each in Journal(tmp_path).all()] == [1, 1, 1, 1]
    assert len(slow.jobs) == 1


def test_a_trial_that_loses_every_worker_fails_and_says_so(start, machine, said, tmp_path):
    with start("random", 1, 0.4) as chief:
        waits = threading.Thread(target=chief.wait)
        waits.start()
        for _ in range(MOST_ATTEMPTS):
            lost = Remote(machine, 5.0, said.append)
            assert lost.next_trial()[0].name == "0"
            lost.close()
        waits.join(20)
        assert not waits.is_alive()
    (record,) = Journal(tmp_path).all()
    assert (record.status, record.attempts) == (FAILED, 3)
    assert record.reason == "3 workers were lost while they carried it out"
    assert chief.oracle.trials["0"].status == "FAILED"


def test_a_late_report_is_dropped(start, machine, tmp_path):
    with start("random", 2, 1.0) as chief:
        late = Remote(machine, 5.0, print)
        record, _ = late.next_trial()
        until(lambda: chief._look_after() or chief._assignments._free)
        with worker(machine, MadeUp()) as other:
            until(lambda: other.found)
            late.report(dataclasses.replace(record, status=DONE, val_accuracy=0.99))
            wait(chief)
        late.close()
    assert len(other.found) == 2
    found = Journal(tmp_path).find("0")
    assert (found.val_accuracy, found.attempts) == (accuracy(found.values), 2)


def test_a_worker_that_was_given_up_and_reports_gets_another_trial_of_its_own(start, machine):
    with start("random", 2, 0.5) as chief:
        late = Remote(machine, 5.0, print)
        record, _ = late.next_trial()
        until(lambda: chief._look_after() or chief._assignments._free)
        late.report(dataclasses.replace(record, status=DONE, val_accuracy=0.75))
        record, _ = late.next_trial()
        assert record.name == "1"
        with late.alive("1", 0.05):
            assert late.create_trial("another").status == "IDLE", "it is not for another"
        late.report(dataclasses.replace(record, status=DONE, val_accuracy=0.5))
        wait(chief)
        late.close()


def test_a_report_is_taken_while_the_trial_is_not_finished(start, machine, tmp_path):
    with start("random", 1, 0.5) as chief:
        late = Remote(machine, 5.0, print)
        record, _ = late.next_trial()
        until(lambda: chief._look_after() or chief._assignments._free)
        late.report(dataclasses.replace(record, status=DONE, val_accuracy=0.75))
        wait(chief)
        late.close()
    assert Journal(tmp_path).find("0").val_accuracy == 0.75


def test_a_worker_that_comes_back_before_another_keeps_its_trial(start, machine, tmp_path):
    with start("random", 1, 0.5) as chief:
        back = Remote(machine, 5.0, print)
        record, _ = back.next_trial()
        until(lambda: chief._look_after() or chief._assignments._free)
        with back.alive("0", 0.05):
            until(lambda: not chief._assignments._free)
        back.report(dataclasses.replace(record, status=DONE, val_accuracy=0.75))
        wait(chief)
        back.close()
    assert Journal(tmp_path).find("0").attempts == 1


def test_a_report_that_is_none_is_refused_and_the_search_goes_on(start, machine, tmp_path):
    with start("random", 1) as chief:
        odd = Remote(machine, 5.0, print)
        record, _ = odd.next_trial()
        with pytest.raises(RunError, match="the record is none of trial 0"):
            odd.report(dataclasses.replace(record, status=DONE, plan={"stages": []}))
        with pytest.raises(RunError, match="there is no trial '7'"):
            odd.report(dataclasses.replace(record, name="7"))
        with pytest.raises(RunError, match="trial 0 ends without a record"):
            odd.end_trial(keras_tuner.engine.trial.Trial(space(), "0", "COMPLETED"))
        other = {"seed": 9, "attempts": 9, "began_at": 9, "values": {}}
        odd.report(dataclasses.replace(record, status=FAILED, reason="the moon", **other))
        wait(chief)
        odd.close()
    found = Journal(tmp_path).find("0")
    expected = dataclasses.replace(record, status=FAILED, reason="the moon", ended_at=2)
    assert found == expected, "only how it went is taken from the worker"


def test_a_point_that_is_no_plan_ends_the_search(start, machine, monkeypatch):
    def no_plan(trial):
        raise InputError("augmentation='wild' is none")

    with start() as chief:
        chief._begin = no_plan
        lost = Remote(machine, 0.5, print)
        with pytest.raises(RunError, match=r"has not answered for 0\.5 s"):
            lost.next_trial()
        lost.close()
        with pytest.raises(InputError, match="augmentation='wild' is none"):
            wait(chief)


def test_a_full_disk_ends_the_search(start, machine, monkeypatch):
    def full(*anything):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ktransfer.tuner.records.write_whole", full)
    with start() as chief, worker(machine, MadeUp(), 0.5) as one:
        with pytest.raises(RunError, match="No space left on device; what was finished"):
            wait(chief)
        until(lambda: one.error)
    assert "has not answered" in str(one.error)


def test_a_worker_waits_for_its_chief_and_then_no_longer(start, machine, said):
    said_here = []
    alone = Remote(machine, 0.4, said_here.append)
    with pytest.raises(RunError, match=rf"{machine.address} has not answered for 0\.4 s.*--resume"):
        alone.message()
    assert said_here == [f"waiting for the chief at {machine.address}"]
    alone.close()


def test_a_chief_without_workers_says_so(start, said, monkeypatch):
    monkeypatch.setattr("ktransfer.tuner.machines.chief._REMIND_S", 0.2)
    with start() as chief:
        until(lambda: chief._look_after() or any("no worker" in each for each in named(said)))
        assert f"--role worker --chief {chief._machine.address}" in said[-1]


def test_a_finished_search_needs_no_worker(start, machine, said, tmp_path):
    with worker(machine, MadeUp()), start("random", 3) as chief:
        wait(chief)
    with start("random", 3) as again:
        wait(again)
        late = Remote(machine, 5.0, print)
        assert late.next_trial() is None, "one that comes late goes home"
        late.close()


def test_a_port_in_use_is_refused(start, machine):
    with start() as chief:
        message = f"cannot listen at {machine.address}: another process does.*another port"
        with pytest.raises(RunError, match=message):
            check_free(machine)
        with pytest.raises(RunError, match=message), start():
            pass
        assert chief._server is not None
    check_free(machine)


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(RunError, match=r"cannot listen at 192\.0\.2\.1:8000: .*of this machine"):
        check_free(Machine(CHIEF, "192.0.2.1", 8000))


def test_what_a_worker_has_else_is_named():
    own = {
        "data": {"train": {"images": 21, "contents": "b" * 64}},
        "classes": ("ants", "wasps"),
        "space": {"unfreeze": {"values": [0, 2]}},
        "versions": {"keras": "3.12"},
    }
    with pytest.raises(RunError) as caught:
        check_same_as_chief(REQUEST, own, "127.0.0.1:1")
    for difference in (
        "data train images: 20 at the chief, 21 here",
        "data train contents: other contents than at the chief",
        "classes: ['ants', 'bees'] at the chief, ['ants', 'wasps'] here",
        "space unfreeze values: [0, 1] at the chief, [0, 2] here",
        "versions keras: '3.15.1' at the chief, '3.12' here",
    ):
        assert difference in str(caught.value)
    check_same_as_chief(REQUEST, {**REQUEST, "space": {}}, "127.0.0.1:1")


def test_the_chief_says_what_it_searches(start, machine):
    with start():
        remote = Remote(machine, 5.0, print)
        assert remote.message() == {"request": REQUEST, "silence_s": SILENCE_S}
        remote.close()


def test_a_chief_of_somebody_else_is_refused(machine):
    class Other(Remote):
        def get_space(self):
            return space()

    with pytest.raises(RunError, match="none of ktransfer's"):
        Other(machine, 1.0, print).message()


def test_a_letter_that_is_damaged_is_none():
    made = with_message(space(), {"a": 1 / 3})
    assert message_of(made) == {"a": 1 / 3}
    assert message_of(space()) is None
    made = space()
    made.Fixed(MESSAGE, "{")
    assert message_of(made) is None


def test_records_of_another_search_are_not_taken(start, machine, tmp_path):
    with worker(machine, MadeUp()), start("random", 3) as chief:
        wait(chief)
    path = tmp_path / "trials" / "1.json"
    path.rename(path.with_name("7.json"))
    path.with_name("7.json").write_text(
        path.with_name("7.json").read_text().replace('"name": "1"', '"name": "7"')
    )
    with pytest.raises(RunError, match="the oracle does not ask for trial 7"), start("random", 3):
        pass


@pytest.mark.parametrize(
    ("name", "chief", "message"),
    [
        ("chief", None, "role='chief' needs the chief's HOST:PORT"),
        (None, "127.0.0.1:80", "chief='127.0.0.1:80' needs a role"),
        ("boss", "127.0.0.1:80", "unknown role 'boss': did you mean"),
        *(
            ("worker", address, "must be HOST:PORT with a port from 1 to 65535.*got")
            for address in ("here", "here:", ":80", "a b:80", "h:0", "h:65536", "::1:80", "h:8e3")
        ),
        ("worker", "http://h:80", "must be HOST:PORT"),
        ("worker", "[::1:80", "must be HOST:PORT"),
    ],
)
def test_bad_roles_are_refused(name, chief, message):
    with pytest.raises(InputError, match=message):
        machine_of(name, chief)


def test_an_address_is_taken_apart():
    assert machine_of("worker", "host.example:8000") == Machine(WORKER, "host.example", 8000)
    assert machine_of("chief", "[::1]:8000").address == "[::1]:8000"


def test_kerastuners_variables_are_honoured_and_stay(monkeypatch):
    assert machine_of(None, None) is None
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    with pytest.raises(InputError, match="KERASTUNER_TUNER_ID and KERASTUNER_ORACLE_PORT is not"):
        machine_of(None, None)
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "8000")
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
    assert machine_of(None, None) == Machine(CHIEF, "127.0.0.1", 8000, "chief")
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "tuner3")
    assert machine_of(None, None) == Machine(WORKER, "127.0.0.1", 8000, "tuner3")
    assert machine_of("chief", "127.0.0.1:1").port == 1, "what was asked for comes first"
    with without_variables():
        assert not [name for name in os.environ if name.startswith("KERASTUNER")]
    assert os.environ["KERASTUNER_TUNER_ID"] == "tuner3"


def test_a_call_of_kerastuners_own_client_is_answered(start, machine, monkeypatch):
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", machine.host)
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(machine.port))
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "tuner0")
    from keras_tuner.src.distribute.oracle_client import OracleClient

    with start("random", 2):
        client = OracleClient(None)
        trial = client.create_trial("tuner0")
        assert client.get_trial(trial.trial_id).status == "RUNNING"
        assert client.update_trial(trial.trial_id, {}).trial_id == trial.trial_id
        client.update_space(space())
        assert [each.trial_id for each in client.get_best_trials()] == [trial.trial_id]
        with pytest.raises(grpc.RpcError):
            client.get_trial("9")
