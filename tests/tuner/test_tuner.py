import contextlib
import dataclasses
import io
import json
import os
import shutil
import signal
import threading
from types import SimpleNamespace

import keras
import keras_tuner
import numpy as np
import pytest
from conftest import write_pictures
from training_networks import three_blocks

from ktransfer import Classifier, FineTuner, InputError, RunError
from ktransfer.data import read_data
from ktransfer.data.reading.dividing import in_fold, with_test
from ktransfer.plan import last_blocks, linear_probe
from ktransfer.tuner import UnfreezeTuner, trial_process
from ktransfer.tuner.median import MedianRule
from ktransfer.tuner.records import DONE, FAILED, STOPPED
from ktransfer.tuner.worker import Job, Setup, _outcome, carry_out, save_run

OPTIONS = {"preprocessing": "none", "dropout": 0.0}
#: With it KerasTuner draws the wild learning rate once, for trial 4.
SEED = 5
TRIALS = ["0", "1", "2", "3", "4", "5"]


def narrow():
    """Few values, and a learning rate at which every loss is infinite."""
    space = keras_tuner.HyperParameters()
    space.Choice("unfreeze", [0, 1, 2])
    space.Choice("learning_rate", [1e-3, 1e30])
    space.Choice("head_rate", [1e-2, 3e-2])
    space.Fixed("head_epochs", 4)
    for name, value in (("batch_norm", "frozen"), ("augmentation", "none"), ("layer_decay", 1.0)):
        space.Fixed(name, value)
    return space


def make(folder, **options):
    chosen = {
        "hyperparameters": narrow(),
        "oracle": "random",
        "max_trials": len(TRIALS),
        "epochs": 2,
        "repeats": 1,
        "seed": SEED,
        "verbose": False,
        **OPTIONS,
        **options,
    }
    return UnfreezeTuner(three_blocks(), None, directory=folder, **chosen)


def divided(photos):
    return with_test(read_data(photos, seed=SEED), 0.2, SEED)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("photos"), 20)


@pytest.fixture(scope="module")
def searched(tmp_path_factory, photos):
    tuner = make(tmp_path_factory.mktemp("search"))
    with contextlib.redirect_stderr(io.StringIO()) as said:
        tuner.search(photos)
    assert "Traceback" not in said.getvalue(), "a trial that failed is said by its record"
    return tuner


@pytest.fixture
def at_home(monkeypatch):
    """Has searches train in this process, which has TensorFlow already. A list of their jobs."""
    jobs, tuner = [], FineTuner(three_blocks(), None, verbose=False, **OPTIONS)

    def run(self, job):
        jobs.append(job)
        return {**carry_out(tuner, self._setup.splits, job, self._setup.cuts), "memory_mb": 1.0}

    monkeypatch.setattr(trial_process.TrialProcess, "run", run)
    return jobs


@pytest.fixture
def setup(photos):
    splits = divided(photos)
    return Setup((three_blocks(), None), OPTIONS, splits, 0)


def test_trials_share_a_process_and_go_on_after_one_that_diverged(searched):
    result = searched.result
    assert [each.name for each in result.trials] == TRIALS
    assert [each.unfreeze for each in result.trials[:3]] == [0, 1, 2], "every depth first"
    for each in result.trials:
        wild = each.unfreeze and each.learning_rate == 1e30
        assert each.status == (FAILED if wild else DONE)
        assert (each.val_accuracy is None) == bool(wild)
        assert ("became NaN" in each.reason) == bool(wild)
    assert result.trials[4].status == FAILED
    assert searched._trials.process.started == 1


def test_a_trial_is_what_fit_makes_of_its_plan(searched, photos):
    record = next(each for each in searched.result.trials if each.status == DONE and each.unfreeze)
    splits = dataclasses.replace(divided(photos), test=None)
    tuner = FineTuner(three_blocks(), None, seed=SEED, verbose=False, **OPTIONS)
    found = tuner.fit(splits, plan=record.to_plan(), check="off")
    assert found.val_accuracy == record.val_accuracy
    losses = [row["val_calibrated_loss"] for row in found.stages[-1].history]
    assert record.val_calibrated_loss == min(losses)
    assert found.stages[-1].unfreeze == record.unfreeze


def test_kerastuner_tells_the_same(searched, capsys):
    losses = [each.val_calibrated_loss or np.inf for each in searched.result.trials]
    order = [TRIALS[at] for at in np.argsort(losses)]
    assert [each.trial_id for each in searched.oracle.get_best_trials(4)] == order[:4]
    for name, record in zip(TRIALS, searched.result.trials, strict=True):
        trial = searched.oracle.get_trial(name)
        assert trial.score == record.val_calibrated_loss
        if record.val_accuracy is not None:
            assert trial.metrics.get_best_value("val_accuracy") == record.val_accuracy
    # The chosen plan comes first, as of `best_plan` and `get_best_models`.
    chosen = searched.result.chosen.name
    order = [chosen, *(name for name in order if name != chosen)]
    found = searched.get_best_hyperparameters(3)
    assert [each.values for each in found] == [
        dict(searched.result.trials[int(name)].values) for name in order[:3]
    ]
    statuses = [searched.oracle.get_trial(name).status for name in TRIALS]
    assert statuses == [
        "COMPLETED" if each.status == DONE else "FAILED" for each in searched.result.trials
    ]
    searched.results_summary()
    assert str(searched.result) in capsys.readouterr().out
    with pytest.raises(InputError, match=r"trial 0 keeps no model, .* get_best_models\(1\)"):
        searched.load_model(searched.oracle.get_trial("0"))


def test_the_chosen_plan_is_scored_on_images_that_no_trial_saw(searched, photos):
    result = searched.result
    assert result.part_sizes == {"train": 39, "validation": 12, "test": 9}
    assert searched.best_plan == result.best_plan
    assert result.chosen.unfreeze == result.best_plan.stages[-1].unfreeze
    splits = divided(photos)
    tuner = FineTuner(three_blocks(), None, seed=SEED, verbose=False, **OPTIONS)
    test = tuner.fit(splits, plan=result.best_plan, check="off").test
    assert result.test.accuracy == test.accuracy
    assert result.test.num_images == 9


def test_the_best_model_is_what_was_scored(searched, photos):
    best = searched.load_best()
    test = divided(photos).test
    paths = [test.images.name(at) for at in range(len(test))]
    right = best.predict(paths).indices == test.labels
    assert right.mean() == searched.result.test.accuracy
    (model,) = searched.get_best_models()
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype("float32")
    np.testing.assert_allclose(model(images), best.predict(images).probabilities, atol=1e-6)
    assert searched.result.model == str(searched.folder / "best")
    with pytest.raises(InputError, match="num_models=2, but only the chosen plan's model is kept"):
        searched.get_best_models(2)


def test_the_best_model_knows_which_images_the_search_did_not_see(searched, photos, tmp_path):
    found = searched.load_best().evaluate(photos)
    assert (found.part, found.score.num_images) == ("test", 9)
    assert (found.seen_in_training, found.unseen.num_images) == (0, 9)
    assert found.accuracy == searched.result.test.accuracy
    moved = shutil.copytree(photos, tmp_path / "moved")
    assert searched.load_best().evaluate(moved).score.num_images == 9


def test_contenders_were_repeated_with_another_seed(searched):
    repeated = {each.repeats for each in searched.result.repeats}
    assert repeated == {each.name for each in searched.result.depths if each.runs == 2}
    assert all(each.seed == SEED + 1 for each in searched.result.repeats)
    assert searched.result.chosen.name in repeated


@pytest.mark.slow
def test_contenders_are_carried_out_in_folds_and_a_killed_fold_again(
    searched, photos, tmp_path, at_home
):
    folder = shutil.copytree(searched.folder, tmp_path / "search")
    trials, request = folder / "trials", json.loads((folder / "request.json").read_text())
    for name in ("final", *(each.name for each in searched.result.repeats)):
        (trials / f"{name}.json").unlink()
    request["search"] |= {"repeats": None, "folds": 2}
    (folder / "request.json").write_text(json.dumps(request))
    tuner = make(folder, repeats=None, folds=2)
    result = tuner.search(photos)
    splits = divided(photos)
    for depth in result.depths:
        runs = [each for each in result.repeats if each.repeats == depth.name]
        assert [each.fold for each in runs] in ([], [0, 1])
        if runs:
            assert {each.seed for each in runs} == {SEED}
            sizes = [each.num_validation for each in runs]
            assert (sum(sizes), depth.runs) == (39 + 12, 2), "train and validation, and no test"
            right = sum(each.val_accuracy * each.num_validation for each in runs)
            assert depth.mean == pytest.approx(right / 51)
    assert result.chosen.runs == 2
    last = result.repeats[-1]
    one = FineTuner(three_blocks(), None, seed=SEED, verbose=False, **OPTIONS)
    found = one.fit(in_fold(splits, 2, 1, SEED), plan=last.to_plan(), check="off")
    assert (found.val_accuracy, found.part_sizes["validation"]) == (
        last.val_accuracy,
        last.num_validation,
    )

    in_flight = {**json.loads((trials / f"{last.name}.json").read_text()), "status": "running"}
    (trials / f"{last.name}.json").write_text(json.dumps(in_flight))
    again = make(folder, repeats=None, folds=2).search(photos)
    assert [each.attempts for each in again.repeats] == [1] * (len(again.repeats) - 1) + [2]
    assert again.depths == result.depths
    assert len(at_home) == len(result.repeats) + 1 + 1
    with pytest.raises(RunError, match="search folds: 2 then, 3 now"):
        make(folder, repeats=None, folds=3).search(photos)


def test_folds_that_cannot_be_are_refused(photos, tmp_path):
    with pytest.raises(InputError, match="folds=18, but class 'blue' has 17 images in train and"):
        make(tmp_path / "search", repeats=None, folds=18).search(photos)
    assert not (tmp_path / "search" / "request.json").exists()


def test_the_result_is_the_json_of_the_issue(searched):
    plain = json.loads(json.dumps(searched.result.to_dict()))
    for row in plain["trials"]:
        assert {"unfreeze", "learning_rate", "val_accuracy", "seconds", "status"} <= set(row)
    assert {"best_plan", "test_accuracy", "seconds"} <= set(plain)


def test_a_killed_search_runs_what_was_not_finished_and_nothing_again(
    searched, photos, tmp_path, at_home
):
    folder = shutil.copytree(searched.folder, tmp_path / "search")
    trials = folder / "trials"
    # As a kill leaves them: one trial in flight, those after it missing, KerasTuner's own torn.
    torn = json.loads((trials / "3.json").read_text())
    in_flight = {**torn, "status": "running", "val_accuracy": None, "seconds": 0.0, "reason": ""}
    (trials / "3.json").write_text(json.dumps(in_flight))
    kept = searched.result.repeats[0].name
    for name in ("4", "5", "final", *(each.name for each in searched.result.repeats[1:])):
        (trials / f"{name}.json").unlink()
    (folder / "keras_tuner" / "oracle.json").write_text('{"ongoing_tri')
    before = {name: (trials / f"{name}.json").read_bytes() for name in (*TRIALS[:3], kept)}
    # ... and, killed while it saved the best model, half of one.
    (folder / "best" / "run.json").unlink()
    (folder / "best").rename(folder / ".best.partial")
    again = make(folder)
    result = again.search(photos)
    assert again.load_best().evaluate(photos).accuracy == result.test.accuracy
    assert not (folder / ".best.partial").exists()
    for name, contents in before.items():
        assert (trials / f"{name}.json").read_bytes() == contents, f"trial {name} was run twice"
    assert [each.attempts for each in result.trials] == [1, 1, 1, 2, 1, 1]
    assert len(at_home) == 3 + len(result.repeats[1:]) + 1
    for old, new in zip(searched.result.trials, result.trials, strict=True):
        assert (old.values, old.val_accuracy) == (new.values, new.val_accuracy)
    assert result.best_plan == searched.result.best_plan


def test_a_finished_search_trains_nothing_when_it_is_asked_again(searched, photos):
    again = make(searched.folder)
    result = again.search(photos)
    assert again._trials.process.started == 0
    assert result.to_dict()["trials"] == searched.result.to_dict()["trials"]
    assert result.model == searched.result.model
    assert result.test.accuracy == searched.result.test.accuracy


def test_what_lies_in_the_place_of_the_best_model_is_not_overwritten(photos, tmp_path):
    tuner = make(tmp_path / "search")
    (tmp_path / "search" / "best").mkdir(parents=True)
    (tmp_path / "search" / "best" / "diary.txt").write_text("mine")
    with pytest.raises(RunError, match=r"best exists, and is of no search"):
        tuner.search(photos)


def test_a_disk_that_is_full_at_the_last_training_ends_the_search_and_resume_goes_on(
    searched, photos, tmp_path, monkeypatch, at_home
):
    folder = shutil.copytree(searched.folder, tmp_path / "search")
    next((folder / "best").glob("model-*.keras")).unlink()  # so that it is trained again

    def full(*anything, **more):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as changed:
        changed.setattr(keras.Model, "save", full)
        with pytest.raises(RunError, match=r"could not be saved to .*No space left"):
            make(folder).search(photos)
    assert json.loads((folder / "trials" / "final.json").read_text())["status"] == "running"
    again = make(folder)
    result = again.search(photos)
    assert again.journal.find("final").attempts == 3
    assert all(each.attempts == 1 for each in (*result.trials, *result.repeats))
    assert again.load_best().evaluate(photos).accuracy == searched.result.test.accuracy


def test_a_folder_of_another_search_is_refused(searched, photos, tmp_path):
    other = write_pictures(tmp_path / "other", 20, seed=5)
    with pytest.raises(RunError, match="data train contents: other contents than then"):
        make(searched.folder).search(other)
    with pytest.raises(RunError, match="search max_trials: 6 then, 7 now"):
        make(searched.folder, max_trials=7).search(photos)
    space = keras_tuner.HyperParameters()
    space.Choice("unfreeze", [0, 2])
    space.merge([each for each in narrow().space if each.name != "unfreeze"])
    with pytest.raises(RunError, match=r"space unfreeze values: \[0, 1, 2\] then, \[0, 2\] now"):
        make(searched.folder, hyperparameters=space).search(photos)


def test_a_folder_whose_trials_were_judged_otherwise_is_refused(searched, photos, tmp_path):
    folder = shutil.copytree(searched.folder, tmp_path / "search")
    request = json.loads((folder / "request.json").read_text())
    del request["search"]["objective"]  # as an earlier version wrote it
    (folder / "request.json").write_text(json.dumps(request))
    with pytest.raises(RunError, match="search objective: None then, 'val_calibrated_loss' now"):
        make(folder).search(photos)


def test_a_record_that_is_damaged_is_named(searched, tmp_path):
    folder = shutil.copytree(searched.folder, tmp_path / "search")
    (folder / "trials" / "3.json").write_text('{"name": "3"')
    with pytest.raises(RunError, match=r"trials/3\.json is damaged"):
        make(folder)
    (folder / "trials" / "3.json").write_text('{"name": "3"}')
    with pytest.raises(RunError, match=r"3\.json is damaged: .*plan"):
        make(folder)


@pytest.mark.slow
def test_a_process_that_is_killed_is_a_failed_trial_and_is_replaced(setup, tmp_path, monkeypatch):
    workers = trial_process.TrialProcess(setup, tmp_path / "log")
    short = Job(linear_probe(1).resolve(3).to_dict(), 0)
    endless = Job(linear_probe(10**6, patience=None).resolve(3).to_dict(), 0)
    try:
        assert workers.run(short)["status"] == DONE
        killer = threading.Timer(0.5, os.kill, (workers.pid, signal.SIGKILL))
        killer.start()
        outcome = workers.run(endless)
        assert outcome["status"] == FAILED
        assert "its process died (SIGKILL: by hand, or since memory ran out)" in outcome["reason"]
        monkeypatch.setattr(trial_process, "MOST_GROWTH", -1.0)
        assert workers.run(short)["status"] == DONE
        assert workers.started == 2
        assert workers.pid is None, "its memory has grown by more than is allowed"
    finally:
        workers.close()


@pytest.mark.slow
def test_a_process_that_does_not_start_is_an_error(setup, tmp_path):
    broken = dataclasses.replace(setup, arguments=("NoSuchNet", None))
    workers = trial_process.TrialProcess(broken, tmp_path / "log")
    with pytest.raises(RunError, match=r"does not start \(exit code 1; .*NoSuchNet.*\); see .*log"):
        workers.run(Job({}, 0))
    assert "NoSuchNet" in (tmp_path / "log").read_text()


class Failing:
    """A tuner whose training raises."""

    def __init__(self, error):
        self.error, self.seed, self.seen = error, None, None

    def fit(self, splits, **options):
        self.seen = splits
        raise self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError("no 3 GB"), "memory ran out: MemoryError: no 3 GB"),
        (ValueError("of some kind"), "ValueError: of some kind"),
    ],
)
def test_what_a_training_raises_is_the_reason(setup, error, reason):
    tuner = Failing(error)
    outcome = carry_out(tuner, setup.splits, Job(linear_probe().to_dict(), 5))
    assert (outcome["status"], outcome["reason"]) == (FAILED, reason)
    assert tuner.seed == 5
    assert tuner.seen.test is None, "the test part is for the last training alone"


def test_only_what_is_kept_learns_what_its_images_look_like(setup, tmp_path):
    tuner = FineTuner(three_blocks(), None, verbose=False, **OPTIONS)
    plan = linear_probe(1).resolve(3).to_dict()
    assert carry_out(tuner, setup.splits, Job(plan, 0))["status"] == DONE
    assert tuner.classifier.familiarity is None
    carry_out(tuner, setup.splits, Job(plan, 0, save=str(tmp_path / "run")))
    kept = Classifier.load(tmp_path / "run", verbose=False).familiarity
    assert kept.means.shape[0] == len(tuner.class_names)


def test_a_bad_trial_ends_early_by_the_median_rule(setup):
    tuner = FineTuner(three_blocks(), None, verbose=False, **OPTIONS)
    plan = last_blocks(1, 8, head_epochs=1).resolve(3).to_dict()
    outcome = carry_out(tuner, setup.splits, Job(plan, 0, curves=((1.0,) * 8,) * 3))
    assert outcome["status"] == STOPPED
    assert len(outcome["curve"]) == 3
    assert outcome["reason"] == "worse than half of the trials after 3 epochs"
    free = carry_out(tuner, setup.splits, Job(plan, 0))
    assert (free["status"], len(free["curve"])) == (DONE, 8)


def test_a_trial_that_was_stopped_lists_what_it_had_reached_itself():
    rows = [(0.9, 0.5), (0.4, 0.6), (np.nan, 0.2), (0.7, 0.7)]
    history = [{"val_calibrated_loss": loss, "val_accuracy": share} for loss, share in rows]
    last = SimpleNamespace(
        unfreeze=1, history=history, diverged=False, val_accuracy=0.8, val_calibrated_loss=0.3
    )
    head = SimpleNamespace(unfreeze=0, history=[], diverged=False)
    judged = SimpleNamespace(num_images=10)
    result = SimpleNamespace(stages=[head, last], val_accuracy=0.8, validation=judged, test=None)
    rule = MedianRule(())
    rule.curve, rule.stopped = [0.5, 0.6, 0.2, 0.7], True
    stopped = _outcome(result, rule)
    assert (stopped["val_accuracy"], stopped["val_calibrated_loss"]) == (0.6, 0.4)
    rule.stopped = False
    done = _outcome(result, rule)
    assert (done["status"], done["val_accuracy"], done["val_calibrated_loss"]) == (DONE, 0.8, 0.4)


def test_the_oracle_learns_how_bad_a_rate_was_that_nothing_was_kept_of(setup):
    tuner = FineTuner(three_blocks(), None, verbose=False, **OPTIONS)
    plan = last_blocks(1, 2, 3.0, head_epochs=8).resolve(3).to_dict()
    outcome = carry_out(tuner, setup.splits, Job(plan, 0))
    head, last = tuner.result.stages
    assert not last.best_epoch
    assert outcome["val_accuracy"] == pytest.approx(head.val_accuracy)
    assert last.val_calibrated_loss == head.val_calibrated_loss, "the head is what was kept"
    reached = min(row["val_calibrated_loss"] for row in last.history)
    assert outcome["val_calibrated_loss"] == reached > head.val_calibrated_loss


def test_a_search_of_failures_says_why(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(
        trial_process.TrialProcess,
        "run",
        lambda self, job: {"status": FAILED, "reason": "the moon"},
    )
    with pytest.raises(RunError, match="none of the 6 trials was carried out: the moon"):
        make(tmp_path / "search").search(photos)


def test_a_full_disk_ends_the_search(photos, tmp_path, monkeypatch):
    def full(*anything):
        raise OSError(28, "No space left on device")

    tuner = make(tmp_path / "search")
    tuner.journal.check_request(tuner._request(divided(photos)))
    monkeypatch.setattr("ktransfer.tuner.records.write_whole", full)
    with pytest.raises(RunError, match="No space left on device; what was finished before is"):
        tuner.search(photos)


def test_a_test_part_of_the_data_is_kept(photos):
    whole = read_data(photos)
    own = dataclasses.replace(whole, test=whole.validation)
    assert with_test(own, 0.2, 0) is own
    divided = with_test(whole, 0.25, 0)
    names = {part.name: {part.images.name(at) for at in range(len(part))} for part in divided.parts}
    assert len(names["test"]) == 12
    assert not names["test"] & (names["train"] | names["validation"])
    assert names["validation"] == {
        whole.validation.images.name(at) for at in range(len(whole.validation))
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"oracle": "baysian"}, "unknown oracle 'baysian': did you mean bayesian"),
        ({"oracle": "hyperband", "epochs": 9}, r"needs at least \d+ trials .* got max_trials=6"),
        ({"oracle": "grid"}, r"needs at least \d+ trials \(the points .* got max_trials=6"),
        ({"max_trials": 0}, "max_trials must be at least 1, got 0"),
        ({"repeats": -1}, "repeats must be at least 0, got -1"),
        ({"folds": 3}, "repeats=1 and folds=3"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        make(tmp_path / "search", **options)
    assert not (tmp_path / "search").exists()


def test_more_bad_input(tmp_path, photos):
    backbone = FineTuner(three_blocks(), None, **OPTIONS).backbone
    with pytest.raises(InputError, match=r"a name or a keras.Model, got Backbone\("):
        UnfreezeTuner(backbone, directory=tmp_path)
    with pytest.raises(InputError, match="no plan yet"):
        _ = make(tmp_path / "one").best_plan
    with pytest.raises(InputError, match=r"test_fraction must lie between 0 and 1, got 1\.5"):
        make(tmp_path / "two").search(photos, test_fraction=1.5)


def test_a_run_in_the_place_of_the_best_model_is_never_replaced(photos, tmp_path):
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "run.json").write_text("mine")
    with pytest.raises(RunError, match=r"best exists, and is of no search: .*another directory"):
        make(tmp_path).search(photos)
    assert (tmp_path / "best" / "run.json").read_text() == "mine"


def test_the_best_model_takes_the_place_of_an_earlier_one_and_of_nothing_else(searched, tmp_path):
    best = searched.load_best()
    save_run(best, tmp_path / "best")
    (tmp_path / "best" / "notes.txt").write_text("mine")
    save_run(best, tmp_path / "best")
    assert (tmp_path / "best" / "notes.txt").read_text() == "mine"
    assert len(list((tmp_path / "best").glob("model-*.keras"))) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["best"]
