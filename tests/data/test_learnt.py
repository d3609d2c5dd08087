"""A run knows the images that it learnt from; an evaluation says how many of them it is given."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import small_network, write_pictures

from ktransfer import FineTuner, RunError
from ktransfer.backbones import load_backbone
from ktransfer.cli.terminal import show
from ktransfer.data import Part, read_data
from ktransfer.data.learnt import KINDS, TRAINED, UNSEEN, VALIDATED, Learnt
from ktransfer.files.archives import DamageError
from ktransfer.metrics import score

NEW = 4


def tuner_of():
    backbone = load_backbone(small_network(), None, preprocessing="none")
    return FineTuner(backbone, verbose=False)


def contents(part):
    return {Path(file.path).read_bytes() for file in part.files}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A fine-tuner, its saved run, and the folder that it was trained on."""
    folder = tmp_path_factory.mktemp("learnt")
    photos = write_pictures(folder / "photos", 10)
    tuner = tuner_of()
    tuner.fit(photos, epochs=1)
    tuner.save(folder / "run")
    return tuner, folder / "run", photos


@pytest.fixture
def mixed(trained, tmp_path):
    """A copy of the training folder less one file, and new pictures under other names."""
    copy = shutil.copytree(trained[2], tmp_path / "mixed")
    (copy / "red" / "003.png").unlink()
    for file in write_pictures(tmp_path / "new", NEW, seed=8).rglob("*.png"):
        shutil.move(file, copy / file.parent.name / f"new-{file.name}")
    return copy


def test_what_was_trained_on_is_counted_and_the_unseen_is_scored_apart(trained, mixed):
    tuner = trained[0]
    evaluation = tuner.evaluate(mixed)
    train, validation = contents(tuner.classifier.train), contents(tuner.classifier.validation)
    files = sorted(mixed.rglob("*.png"))
    bytes_of = [file.read_bytes() for file in files]
    assert evaluation.part == "all"
    assert evaluation.seen_in_training == sum(each in train for each in bytes_of)
    assert evaluation.apart.seen_in_validation == sum(each in validation for each in bytes_of)
    new = [file for file in files if file.name.startswith("new")]
    labels = np.array([tuner.class_names.index(file.parent.name) for file in new])
    expected = score(tuner.predict(new).indices, labels, tuner.class_names)
    assert evaluation.unseen.to_dict() == expected.to_dict()
    assert evaluation.apart.held_back.num_images == evaluation.apart.seen_in_validation
    assert f"{evaluation.seen_in_training} of these 41 images were trained on" in str(
        evaluation.notes
    )


def test_command_line_says_images_of_the_folder_and_the_unseen_apart(trained, mixed, capsys):
    evaluation = trained[0].evaluate(mixed)
    show(evaluation.printed("somewhere"))
    said = capsys.readouterr().out
    assert "on 41 images of somewhere (" in said
    assert f"on {3 * NEW} that the training never saw" in said
    assert "test images" not in said
    plain = json.loads(json.dumps(evaluation.to_dict()))
    assert plain["seen_in_training"] == evaluation.seen_in_training
    assert plain["unseen"]["num_images"] == 3 * NEW


def test_folder_of_training_images_alone_says_that_all_were_trained_on(trained, tmp_path):
    for file in trained[0].classifier.train.files:
        _, label, name = file.path.rsplit("/", 2)
        (tmp_path / label).mkdir(exist_ok=True)
        shutil.copy(file.path, tmp_path / label / name)
    evaluation = trained[0].evaluate(tmp_path)
    assert evaluation.seen_in_training == evaluation.score.num_images
    assert evaluation.unseen is None
    assert "all of these 24 images were trained on" in evaluation.notes[0]


def test_saved_and_loaded_run_knows_the_same(trained, mixed, tmp_path):
    tuner, run, _ = trained
    loaded = FineTuner.load(run, verbose=False)
    assert loaded.evaluate(mixed).to_dict() == tuner.evaluate(mixed).to_dict()
    loaded.save(tmp_path / "again")
    (name,) = (each.name for each in run.glob("learnt-*.npz"))
    assert (tmp_path / "again" / name).read_bytes() == (run / name).read_bytes()


def test_run_of_before_digests_were_kept_says_that_it_cannot_tell(trained, mixed, tmp_path):
    run = shutil.copytree(trained[1], tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    del record["learnt"]
    (run / "run.json").write_text(json.dumps(record))
    next(run.glob("learnt-*.npz")).unlink()
    evaluation = FineTuner.load(run, verbose=False).evaluate(mixed)
    assert (evaluation.seen_in_training, evaluation.unseen) == (None, None)
    assert "cannot be told: its run was saved without digests" in evaluation.notes[0]


def test_digests_that_are_gone_or_damaged_are_an_error(trained, tmp_path):
    run = shutil.copytree(trained[1], tmp_path / "run")
    (file,) = run.glob("learnt-*.npz")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"?")
    with pytest.raises(RunError, match=rf"{file.name} is not what was saved \(checksum\)"):
        FineTuner.load(run)
    file.unlink()
    with pytest.raises(RunError, match=rf"{file.name} is gone"):
        FineTuner.load(run)


def test_overwritten_run_keeps_the_digests_of_the_new_one_only(trained, tmp_path):
    run = shutil.copytree(trained[1], tmp_path / "run")
    (old,) = run.glob("learnt-*.npz")
    (run / "learnt-mine.npz").write_bytes(b"of the user")
    other = tuner_of()
    other.fit(write_pictures(tmp_path / "other", 5, seed=3), epochs=1)
    other.save(run, overwrite=True)
    left = {each.name for each in run.glob("learnt-*.npz")}
    assert len(left) == 2
    assert old.name not in left
    assert "learnt-mine.npz" in left


def test_pixels_are_not_compared_with_files(trained):
    images = np.zeros((6, 20, 24, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(6)
    evaluation = trained[0].evaluate((images, ["red", "green", "blue"] * 2))
    assert evaluation.seen_in_training is None
    assert "it learnt from files, and these are pixels in memory" in evaluation.notes[0]


@pytest.mark.slow
def test_training_that_goes_on_from_a_run_remembers_its_images_too(trained, tmp_path):
    tuner = tuner_of()
    first = write_pictures(tmp_path / "first", 8, seed=1)
    tuner.fit(first, plan="last_blocks", unfreeze=1, epochs=1)
    tuner.save(tmp_path / "run")
    loaded = FineTuner.load(tmp_path / "run", verbose=False)
    loaded.fit(trained[2], epochs=1)
    part = read_data(first).train
    assert set(loaded.classifier.learnt.look_up(part)) <= {TRAINED, VALIDATED}
    # Where the head alone was trained, the backbone has seen none of the images.
    frozen = FineTuner.load(trained[1], verbose=False)
    frozen.fit(first, plan="linear_probe", epochs=1)
    assert set(frozen.classifier.learnt.look_up(read_data(trained[2]).train)) == {UNSEEN}


def test_complete_run_that_is_resumed_knows_its_images(trained, mixed, tmp_path):
    options = {"epochs": 1, "out": tmp_path / "run"}
    first = tuner_of()
    first.fit(trained[2], **options)
    again = tuner_of()
    again.fit(trained[2], resume=True, **options)
    assert again.evaluate(mixed).to_dict() == first.evaluate(mixed).to_dict()


def test_a_million_images_take_8_bytes_each_and_are_read_back():
    every = np.arange(1_000_000, dtype=np.uint64)
    learnt = Learnt(every[:-1000], every[-1000:], KINDS[:1])
    held = learnt.to_bytes()
    assert len(held) < 8 * len(every) + 1_000
    found = Learnt.read(io.BytesIO(held))
    np.testing.assert_array_equal(found.train, learnt.train)
    np.testing.assert_array_equal(found.validation, learnt.validation)
    assert found.kinds == learnt.kinds


@pytest.mark.parametrize(
    "arrays",
    [
        {"train": np.zeros(2, np.uint64)},
        {
            "train": np.zeros(2),
            "validation": np.zeros(2, np.uint64),
            "kinds": np.zeros(1, np.uint8),
        },
        {
            "train": np.zeros(2, np.uint64),
            "validation": np.zeros(2, np.uint64),
            "kinds": np.array([9], np.uint8),
        },
    ],
    ids=["missing", "type", "kind"],
)
def test_other_arrays_are_no_digests(arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    with pytest.raises(DamageError, match="it holds no digests of images"):
        Learnt.read(file)


def test_image_that_was_trained_and_validated_on_counts_as_trained(tmp_path):
    splits = read_data(write_pictures(tmp_path, 5))
    both = Part("validation", splits.train.images, splits.train.labels)
    learnt = Learnt.of(splits)
    doubled = Learnt(learnt.train, np.union1d(learnt.train, learnt.validation), learnt.kinds)
    assert set(doubled.look_up(both)) == {TRAINED}
    assert set(doubled.look_up(splits.validation)) == {VALIDATED}
