"""A training that was killed goes on as if nothing had happened, or says why it cannot."""

import dataclasses
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import write_pictures
from resumed_training import (
    PLAN,
    KillAt,
    Killed,
    check_same,
    fit,
    kill,
    make_alike,
    stages_of,
    tuner_of,
)
from training_networks import make_plan, make_stage, three_blocks

from ktransfer import FineTuner, RunError
from ktransfer.features import RowSource
from ktransfer.training import Checkpoints


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("resume") / "pictures", 8)


@pytest.fixture(scope="module", autouse=True)
def _the_same_in_every_training():
    with pytest.MonkeyPatch.context() as patch:
        make_alike(patch.setattr)
        yield


@pytest.fixture(scope="module")
def uninterrupted(folder):
    return fit(folder)


def test_another_number_of_cores_is_said(folder, tmp_path, monkeypatch):
    plan = make_plan(make_stage(name="head", epochs=4))
    out = tmp_path / "run"
    for cores in (3, 3, 5):
        monkeypatch.setattr("ktransfer.training.training.num_cores", lambda cores=cores: cores)
        resumed, killed = out.exists(), KillAt(epoch=1)
        with pytest.raises(Killed):
            tuner_of().fit(folder, plan=plan, out=out, resume=resumed, callbacks=[killed])
        assert Checkpoints(out).load()[1]["cores"] == ([3] if cores == 3 else [3, 5])
    notes = tuner_of().fit(folder, plan=plan, out=out, resume=True).notes
    assert [each for each in notes if "ran on 3 then 5 cores, between which it was resumed" in each]


# Killed, and gone on with.


def test_the_plan_of_these_tests_uses_all_that_has_a_state(uninterrupted):
    history = uninterrupted.result.history
    assert [row["stage"] for row in history].count("again") >= 2
    rates = {row["learning_rate"] for row in history}
    assert len(rates) > 2  # ReduceLROnPlateau has lowered it


# 19 images a stage: 5 batches of 4 an epoch, of which the third is in the middle.
@pytest.mark.parametrize(
    "batch", [23, pytest.param(8, marks=pytest.mark.slow), pytest.param(33, marks=pytest.mark.slow)]
)
def test_killed_in_the_middle_of_an_epoch(folder, tmp_path, uninterrupted, batch):
    kill(folder, tmp_path / "run", batch=batch)
    check_same(fit(folder, out=tmp_path / "run", resume=True), uninterrupted)


@pytest.mark.parametrize(
    "epoch", [7, pytest.param(1, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
def test_killed_between_two_epochs(folder, tmp_path, uninterrupted, epoch):
    if epoch >= len(uninterrupted.result.history):
        pytest.skip("the training has fewer epochs")
    kill(folder, tmp_path / "run", epoch=epoch)
    before = Checkpoints(tmp_path / "run").load()
    assert before is not None
    check_same(fit(folder, out=tmp_path / "run", resume=True), uninterrupted)


@pytest.mark.slow
def test_killed_again_and_again(folder, tmp_path, uninterrupted):
    out = tmp_path / "run"
    kill(folder, out, batch=7)
    for _ in range(2):
        with pytest.raises(Killed):
            fit(folder, out=out, resume=True, more=[KillAt(epoch=1)])
    check_same(fit(folder, out=out, resume=True), uninterrupted)


def test_what_is_done_is_not_done_again(folder, tmp_path, uninterrupted):
    kill(folder, tmp_path / "run", epoch=4)
    watch = KillAt()
    fit(folder, out=tmp_path / "run", resume=True, more=[watch])
    assert watch.counted["epochs"] == len(uninterrupted.result.history) - 4


def test_a_kill_between_two_stages_that_train_the_same(folder, tmp_path):
    # Their model, and the generator of its dropout, is one and the same.
    plan = make_plan(
        make_stage(name="a", epochs=2, dropout=0.5), make_stage(name="b", epochs=2, dropout=0.5)
    )
    expected = fit(folder, plan=plan)
    with pytest.raises(Killed):
        fit(folder, plan=plan, out=tmp_path / "run", more=[KillAt(epoch=2)])
    check_same(fit(folder, plan=plan, out=tmp_path / "run", resume=True), expected)


@pytest.mark.slow
@pytest.mark.parametrize("where", [{"batch": 13}, {"epoch": 1}])
def test_mixed_batches_are_mixed_again_alike(folder, tmp_path, where):
    plan = make_plan(
        make_stage(name="head", epochs=1),
        make_stage(name="mixed", unfreeze=1, epochs=3, augmentation="strong"),
    )
    expected = fit(folder, plan=plan)
    with pytest.raises(Killed):
        fit(folder, plan=plan, out=tmp_path / "run", more=[KillAt(**where)])
    check_same(fit(folder, plan=plan, out=tmp_path / "run", resume=True), expected)


@pytest.mark.slow
@pytest.mark.parametrize("where", [{"batch": 2}, {"epoch": 2}])
def test_an_estimate_that_comes_out_otherwise_does_not_change_a_stage(
    folder, tmp_path, monkeypatch, where
):
    plan = make_plan(make_stage(unfreeze=1, epochs=3))
    expected = fit(folder, plan=plan)
    with pytest.raises(Killed):
        fit(folder, plan=plan, out=tmp_path / "run", more=[KillAt(**where)])
    monkeypatch.setattr(RowSource, "seconds_per_image", lambda source, cut: 0.0)
    found = fit(folder, plan=plan, out=tmp_path / "run", resume=True)
    assert found.result.stages[0].cached
    check_same(found, expected)


@pytest.mark.slow
def test_random_weights_are_drawn_again_alike(folder, tmp_path):
    options = {"plan": "from_scratch", "epochs": 3, "batch_size": 4}
    expected = tuner_of(seed=3)
    expected.fit(folder, **options)
    killed = tuner_of(seed=3)
    with pytest.raises(Killed):
        killed.fit(folder, **options, out=tmp_path / "run", callbacks=[KillAt(epoch=2)])
    found = tuner_of(seed=3)
    found.fit(folder, **options, out=tmp_path / "run", resume=True)
    check_same(found, expected)


def test_ctrl_c_keeps_the_best_and_can_be_gone_on_from(folder, tmp_path, uninterrupted):
    out = tmp_path / "run"
    stopped = fit(folder, out=out, more=[KillAt(batch=8, error=KeyboardInterrupt)])
    assert stopped.result.interrupted
    assert FineTuner.load(out, verbose=False).result.interrupted
    found = fit(folder, out=out, resume=True)
    assert not found.result.interrupted
    check_same(found, uninterrupted)
    assert sorted(each.suffix for each in out.iterdir()) == [".json", ".keras", ".npz", ".npz"]


def test_ctrl_c_before_the_first_epoch_goes_on_upwards(folder, tmp_path, uninterrupted):
    with pytest.raises(KeyboardInterrupt):
        fit(folder, out=tmp_path / "run", more=[KillAt(batch=2, error=KeyboardInterrupt)])
    check_same(fit(folder, out=tmp_path / "run", resume=True), uninterrupted)


def test_resume_of_nothing_begins(folder, tmp_path, uninterrupted):
    check_same(fit(folder, out=tmp_path / "new", resume=True), uninterrupted)


# What lies in the folder.


def test_a_finished_run_is_record_model_and_digests_and_equals_one_without_a_folder(
    folder, tmp_path, uninterrupted
):
    out = tmp_path / "run"
    tuner = fit(folder, out=out)
    check_same(tuner, uninterrupted)
    names = sorted(os.listdir(out))
    assert [name.partition("-")[0] for name in names] == ["familiar", "learnt", "model", "run.json"]
    loaded = FineTuner.load(out, verbose=False)
    assert stages_of(loaded.result) == stages_of(tuner.result)

    # To go on with what is complete trains nothing.
    watch = KillAt()
    again = fit(folder, out=out, resume=True, more=[watch])
    assert watch.counted == {"batches": 0, "epochs": 0}
    check_same(again, tuner)
    assert sorted(os.listdir(out)) == names
    with pytest.raises(RunError, match=r"backbone weights: other contents than then"):
        fit(folder, out=out, resume=True, tuner=tuner_of(three_blocks(), dropout=0.1))


def test_a_damaged_newest_state_costs_an_epoch_only(folder, tmp_path, uninterrupted):
    kill(folder, tmp_path / "run", epoch=5)
    state = tmp_path / "run" / "training" / "state.npz"
    state.write_bytes(state.read_bytes()[:-100])
    watch = KillAt()
    found = fit(folder, out=tmp_path / "run", resume=True, more=[watch])
    check_same(found, uninterrupted)
    assert watch.counted["epochs"] == len(uninterrupted.result.history) - 4


def test_a_kill_while_the_run_is_saved_can_be_gone_on_from(
    folder, tmp_path, uninterrupted, monkeypatch
):
    out = tmp_path / "run"
    for at in ("ktransfer.runs.saving.sha256_of", "ktransfer.runs.saving.flush_to_disk"):
        with monkeypatch.context() as patch:

            def die(*paths):
                shutil.copytree(out, tmp_path / "as it was", dirs_exist_ok=True)
                raise Killed

            patch.setattr(at, die)
            with pytest.raises(Killed):
                fit(folder, out=out, resume=True)
        # The process was killed, so nothing was cleared away.
        shutil.rmtree(out)
        (tmp_path / "as it was").rename(out)
        assert (out / ".partial.keras").exists()
    digest = hashlib.sha256((out / ".partial.keras").read_bytes()).hexdigest()
    (out / ".partial.keras").rename(out / f"model-{digest[:8]}.keras")
    check_same(fit(folder, out=out, resume=True), uninterrupted)
    assert len(os.listdir(out)) == 4


def test_a_foreign_file_beside_an_unfinished_training_is_not_touched(folder, tmp_path):
    kill(folder, tmp_path / "run", batch=2)
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match=r"is not empty and holds no run\.json"):
        fit(folder, out=tmp_path / "run", resume=True)


def test_an_unfinished_training_is_neither_overwritten_nor_gone_on_with_unasked(folder, tmp_path):
    out, plan = tmp_path / "run", make_plan(make_stage(epochs=2))
    with pytest.raises(Killed):
        fit(folder, out=out, plan=PLAN, more=[KillAt(epoch=2)])
    with pytest.raises(RunError, match=r"was not finished: resume=True .*overwrite=True"):
        fit(folder, out=out, plan=plan)
    found = fit(folder, out=out, plan=plan, overwrite=True)
    check_same(found, fit(folder, plan=plan))
    assert len(os.listdir(out)) == 4


def test_resume_needs_a_folder(folder):
    with pytest.raises(ValueError, match=r"resume=True needs out="):
        fit(folder, resume=True)


# Only the same training is gone on with.


@pytest.fixture(scope="module")
def killed(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("killed") / "run"
    with pytest.raises(Killed):
        fit(folder, out=out, more=[KillAt(batch=8)])
    return out


def refused(folder, killed, message, **options):
    before = {path: path.read_bytes() for path in killed.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=message):
        fit(folder, out=killed, resume=True, **options)
    assert {path: path.read_bytes() for path in killed.rglob("*") if path.is_file()} == before


def test_other_images_are_refused(folder, killed, tmp_path):
    more = write_pictures(tmp_path / "more", 9)
    refused(more, killed, "data train images: 18 then, 21 now; data train contents: other")
    others = write_pictures(tmp_path / "others", 8, seed=1)
    refused(others, killed, r"\(data train contents: other contents than then; data validation c")


def test_other_classes_are_refused(folder, killed, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "red").rename(copy / "scarlet")
    refused(copy, killed, "classes: .*'red'.* then, .*'scarlet'.* now")


def test_other_weights_are_refused(folder, killed):
    other = three_blocks(dropout=0.2)
    other.weights[0].assign(other.weights[0] * 1.5)
    refused(folder, killed, "backbone weights: other", tuner=tuner_of(other, dropout=0.1))


def test_another_plan_or_seed_is_refused(folder, killed):
    stages = (PLAN.stages[0], dataclasses.replace(PLAN.stages[1], learning_rate=0.5))
    plan = dataclasses.replace(PLAN, stages=(*stages, PLAN.stages[2]))
    refused(folder, killed, r"plan stages 'last' learning_rate: 0\.05 then, 0\.5 now", plan=plan)
    refused(folder, killed, "plan name: 'mine' then, 'linear_probe' now", plan="linear_probe")
    tuner = tuner_of(three_blocks(dropout=0.2), dropout=0.1, seed=1)
    refused(folder, killed, "settings seed: 0 then, 1 now", tuner=tuner)
    refused(folder, killed, r"settings dropout: 0\.1 then, 0\.0 now", tuner=tuner_of())


# Real kills.

_PROCESS = """
import sys
sys.path[:0] = {paths!r}
import numpy as np
import resumed_training
resumed_training.make_alike(setattr)
print("ready", flush=True)
tuner = resumed_training.fit({folder!r}, out={out!r}, resume=True)
np.savez({weights!r}, *tuner.model.get_weights())
"""


def start(folder, out, weights):
    paths = [each for each in sys.path if each]
    code = _PROCESS.format(
        paths=paths, folder=str(folder), out=str(out), weights=str(weights) + ".npz"
    )
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def survive_kills(folder, tmp_path, kills, longest_s, uninterrupted):
    out, weights = tmp_path / "run", tmp_path / "weights"
    draw = random.Random(kills)
    done = 0
    while done < kills:
        process = start(folder, out, weights)
        assert process.stdout.readline() == "ready\n"
        time.sleep(draw.uniform(0.2, longest_s))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        done += process.returncode == -signal.SIGKILL
        if process.returncode == 0:  # it was done before: once more
            shutil.rmtree(out)
    process = start(folder, out, weights)
    _, errors = process.communicate()
    assert process.returncode == 0, errors[-2000:]
    assert sorted(each.suffix for each in out.iterdir()) == [".json", ".keras", ".npz", ".npz"]
    with np.load(f"{weights}.npz") as found:
        for name, expected in zip(found.files, uninterrupted.model.get_weights(), strict=True):
            np.testing.assert_array_equal(found[name], expected)
    loaded = FineTuner.load(out, verbose=False)
    assert stages_of(loaded.result) == stages_of(uninterrupted.result)


@pytest.mark.slow
def test_processes_killed_at_random_moments_end_with_the_same_weights(
    folder, tmp_path, uninterrupted
):
    survive_kills(folder, tmp_path, 2, 2.5, uninterrupted)


@pytest.mark.slow
def test_fifteen_processes_killed_at_random_moments(folder, tmp_path, uninterrupted):
    survive_kills(folder, tmp_path, 15, 4.0, uninterrupted)
