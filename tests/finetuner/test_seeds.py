"""One training with several seeds: the same images, the median kept, and a kill survived."""

import dataclasses
import json

import numpy as np
import pytest
from conftest import write_pictures
from resumed_training import KillAt, Killed, make_alike
from training_networks import make_plan, make_stage, three_blocks

from ktransfer import Classifier, FineTuner, InputError, RunError
from ktransfer.classifier import FitResult
from ktransfer.classifier.seeds import Spread
from ktransfer.data import read_data
from ktransfer.finetuner import seeds as seeds_module
from ktransfer.metrics import wilson_interval
from ktransfer.runs.seen import record_of
from ktransfer.runs.unfinished import is_unfinished, seed_folders

PLAN = make_plan(make_stage(unfreeze=1, epochs=1, learning_rate=0.05, dropout=0.5))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pictures = tmp_path_factory.mktemp("seeds") / "pictures"
    for part, count in (("train", 8), ("val", 4), ("test", 3)):
        write_pictures(pictures / part, count, seed=count)
    return pictures


@pytest.fixture(scope="module", autouse=True)
def _the_same_in_every_training():
    with pytest.MonkeyPatch.context() as patch:
        make_alike(patch.setattr)
        yield


def tuner_of(seed=5, **options):
    return FineTuner(three_blocks(), verbose=False, seed=seed, **options)


@pytest.fixture(scope="module")
def alone(folder):
    """What each seed by itself comes to."""
    found = {}
    for seed in (5, 6, 7):
        tuner = tuner_of(seed)
        result = tuner.fit(folder, plan=PLAN, check="off")
        flags = [each.trainable for each in tuner.model.weights]
        found[seed] = result, tuner.model.get_weights(), flags
    return found


@pytest.fixture(scope="module")
def two(folder):
    tuner = tuner_of()
    tuner.fit(folder, plan=PLAN, seeds=2)
    return tuner


def same_weights(ours, theirs):
    return all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_each_seed_is_the_training_that_it_is_alone_and_the_median_is_the_model(folder, alone):
    tuner = tuner_of()
    result = tuner.fit(folder, plan=PLAN, seeds=3)
    found = result.seeds
    assert [each.seed for each in found.scores] == [5, 6, 7]
    assert [each.val_accuracy for each in found.scores] == [
        alone[seed][0].val_accuracy for seed in (5, 6, 7)
    ]
    assert [each.test_accuracy for each in found.scores] == [
        alone[seed][0].test.accuracy for seed in (5, 6, 7)
    ]
    accuracies = [each.val_accuracy for each in found.scores]
    assert found.kept == 5 + accuracies.index(sorted(accuracies)[1])
    assert result.val_accuracy == sorted(accuracies)[1]
    assert tuner.classifier.seed == found.kept
    assert same_weights(tuner.model.get_weights(), alone[found.kept][1])
    assert not all(same_weights(tuner.model.get_weights(), alone[seed][1]) for seed in (5, 6, 7))


@pytest.mark.slow
def test_the_next_training_begins_where_the_first_began(folder, alone):
    tuner = tuner_of()
    tuner.fit(folder, plan=PLAN, seeds=2)
    tuner.fit(folder, plan=PLAN)
    assert same_weights(tuner.model.get_weights(), alone[5][1])


def test_weights_that_later_seeds_have_moved_come_back_with_their_flags(folder, alone, monkeypatch):
    monkeypatch.setattr(seeds_module, "median", lambda done: done[0])
    tuner = tuner_of()
    tuner.fit(folder, plan=PLAN, seeds=2)
    assert same_weights(tuner.model.get_weights(), alone[5][1])
    assert [each.trainable for each in tuner.model.weights] == alone[5][2]


@pytest.mark.parametrize(
    ("accuracies", "kept"),
    [
        ([0.8], 0),
        ([0.8, 0.8, 0.8], 0),
        ([0.9, 0.8, 0.7], 1),
        ([0.7, 0.9, 0.8], 2),
        ([0.9, 0.8, 0.8], 1),
        ([0.8, 0.9, 0.8], 0),
        ([0.9, 0.7], 1),
        ([0.7, 0.9], 0),
        ([0.1, 0.4, 0.3, 0.2], 3),
    ],
)
def test_the_median_is_a_training_and_of_ties_the_first(accuracies, kept):
    done = [_Done(_Accuracy(each)) for each in accuracies]
    assert seeds_module.median(done) is done[kept]


@dataclasses.dataclass
class _Accuracy:
    val_accuracy: float


@dataclasses.dataclass(eq=False)
class _Done:
    result: _Accuracy


def test_mean_range_and_interval_are_those_of_the_accuracies(two):
    result = two.result
    for spread, name, count in (
        (result.seeds.validation, "val_accuracy", 12),
        (result.seeds.test, "test_accuracy", 9),
    ):
        values = [getattr(each, name) for each in result.seeds.scores]
        assert spread.mean == pytest.approx(np.mean(values))
        assert (spread.lowest, spread.highest) == (min(values), max(values))
        assert spread.interval == pytest.approx(wilson_interval(np.mean(values) * count, count))
        assert f"{spread.mean:.1%}, from {min(values):.1%} to {max(values):.1%}" in str(result)
    assert f"kept: seed {result.seeds.kept}, the median by validation of 2" in str(result)
    told = [text for row in result.details() for text in row.texts]
    assert any(each.startswith("seed 6: ") for each in told)
    as_json = json.loads(json.dumps(result.to_dict()))
    assert as_json["seeds"]["scores"][1]["seed"] == 6
    assert FitResult.from_dict(as_json).seeds == result.seeds


def test_an_interval_of_the_mean_does_not_shrink_with_the_number_of_trainings():
    assert Spread.of([0.8] * 9, 100).interval == Spread.of([0.8], 100).interval


def test_one_seed_says_nothing_of_seeds(alone):
    result = alone[5][0]
    assert result.seeds is None
    assert result.to_dict()["seeds"] is None
    assert "Seeds" not in str(result)


@pytest.mark.slow
def test_a_killed_training_goes_on_with_the_seed_that_was_killed(folder, tmp_path, alone):
    out = tmp_path / "run"
    with pytest.raises(Killed):
        tuner_of().fit(folder, plan=PLAN, seeds=3, out=out, callbacks=[KillAt(epoch=1)])
    assert [each.name for each in seed_folders(out)] == ["seed-5", "seed-6"]
    first = out / "training" / "seed-5" / "run.json"
    before = first.read_bytes()
    assert is_unfinished(out)
    with pytest.raises(RunError, match="holds a training that was not finished: resume=True"):
        tuner_of().fit(folder, plan=PLAN, seeds=3, out=out)
    with pytest.raises(RunError, match="with seeds=1: it was begun with seeds=2 or more"):
        tuner_of().fit(folder, plan=PLAN, out=out, resume=True)
    killed_again = KillAt(epoch=1)
    with pytest.raises(Killed):
        tuner_of().fit(folder, plan=PLAN, seeds=3, out=out, resume=True, callbacks=[killed_again])
    assert first.read_bytes() == before, "what was done is not done again"
    tuner = tuner_of()
    result = tuner.fit(folder, plan=PLAN, seeds=3, out=out, resume=True)
    assert [each.val_accuracy for each in result.seeds.scores] == [
        alone[seed][0].val_accuracy for seed in (5, 6, 7)
    ]
    assert same_weights(tuner.model.get_weights(), alone[result.seeds.kept][1])
    assert not (out / "training").exists()
    saved = Classifier.load(out, verbose=False)
    assert saved.result.seeds == result.seeds
    assert same_weights(saved.model.get_weights(), alone[result.seeds.kept][1])
    # It is complete now, and resuming it takes it over.
    again = tuner_of()
    assert again.fit(folder, plan=PLAN, seeds=3, out=out, resume=True).seeds == result.seeds
    with pytest.raises(RunError, match="is complete and of 3 seeds, got seeds=4"):
        tuner_of().fit(folder, plan=PLAN, seeds=4, out=out, resume=True)


def test_what_is_kept_of_the_data_is_what_one_training_keeps(folder, two):
    splits = read_data(folder)
    assert two.classifier.data == record_of(folder, splits)


@pytest.mark.slow
def test_overwriting_begins_every_seed_anew(folder, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(Killed):
        tuner_of().fit(folder, plan=PLAN, seeds=2, out=out, callbacks=[KillAt(epoch=1)])
    other = make_plan(make_stage(epochs=1))
    result = tuner_of().fit(folder, plan=other, seeds=2, out=out, overwrite=True)
    assert [each.carried_out for each in result.seeds.scores] == ["mine", "mine"]
    assert not (out / "training").exists()


@pytest.mark.slow
def test_a_complete_run_is_taken_over_though_another_seed_than_the_first_was_kept(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(seeds_module, "median", lambda done: done[-1])
    whole = write_pictures(tmp_path / "pictures", 10)  # divided by the seed
    out = tmp_path / "run"
    result = tuner_of().fit(whole, plan=PLAN, seeds=2, out=out)
    assert result.seeds.kept == 6
    again = tuner_of()
    assert again.fit(whole, plan=PLAN, seeds=2, out=out, resume=True).seeds == result.seeds
    assert len(again.classifier.validation) == result.part_sizes["validation"]


def test_a_file_of_somebody_else_among_the_seeds_is_not_deleted(tmp_path):
    mine = tmp_path / "run" / "training" / "seed-5"
    mine.mkdir(parents=True)
    (mine / "notes.txt").write_text("mine")
    assert seed_folders(tmp_path / "run") == []
    with pytest.raises(RunError, match="not empty"):
        tuner_of().fit([], out=tmp_path / "run", seeds=2)
    assert (mine / "notes.txt").exists()


@pytest.mark.parametrize("seeds", [0, -1, True, False, 1.5, "3", None])
def test_seeds_that_are_no_number_from_1_are_refused_before_anything_is_read(monkeypatch, seeds):
    monkeypatch.setattr("ktransfer.finetuner.fit.read_data", None)
    with pytest.raises(InputError, match=f"seeds must be .*, got {seeds!r}"):
        tuner_of().fit("photos", seeds=seeds)
