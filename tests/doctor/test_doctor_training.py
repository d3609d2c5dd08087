"""The checks before a training: they look at the very parts that are trained on."""

import json
import shutil

import numpy as np
import pytest
from bad_folder import photo, write_clean_folder
from conftest import small_network

from ktransfer import FineTuner, InputError
from ktransfer.classifier.results import FitResult
from ktransfer.data import read_folder
from ktransfer.doctor import preflight
from ktransfer.doctor.examining import examine


@pytest.fixture
def leaky(tmp_path):
    root = write_clean_folder(tmp_path / "photos", per_class=10)
    shutil.copy(root / "train/ants/00.jpg", root / "val/ants/copy.jpg")
    photo(1).resize((80, 60)).save(root / "val/ants/small.jpg")
    return root


def kinds(findings):
    return {each.kind: each.count for each in findings}


def test_fit_says_what_is_wrong_and_keeps_it(leaky, tmp_path, capfd):
    tuner = FineTuner(small_network(), verbose=2)
    result = tuner.fit(leaky, epochs=1, out=tmp_path / "run", cache="off")
    assert kinds(result.findings) == {"leak": 2, "near_duplicate": 1, "duplicate": 1}
    said = " ".join(capfd.readouterr().err.split())
    assert "leak: 2 photos are in two parts (train and validation)" in said
    assert "worth a look: near_duplicate, duplicate" in said
    again = FitResult.from_dict(json.loads(json.dumps(result.to_dict())))
    assert again.findings == result.findings
    assert FineTuner.load(tmp_path / "run", verbose=False).result.findings == result.findings


def test_fit_does_not_look_where_it_is_told_not_to(leaky, monkeypatch):
    monkeypatch.setattr("ktransfer.doctor.before_training.examine", None)
    tuner = FineTuner(small_network(), verbose=False)
    assert tuner.fit(leaky, epochs=1, check="off", cache="off").findings == ()


def test_an_unknown_check_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match="unknown check 'of': did you mean off"):
        FineTuner(small_network(), verbose=False).fit(tmp_path / "nowhere", check="of")


def test_large_data_is_not_looked_at_before_a_training(leaky, monkeypatch):
    monkeypatch.setattr("ktransfer.doctor.before_training.MOST_IMAGES", 41)
    assert preflight(read_folder(leaky), verbose=False) == ()


def test_the_drawn_validation_part_is_checked_as_it_was_drawn(tmp_path):
    root = write_clean_folder(tmp_path / "photos", per_class=10) / "train"
    for number in range(10):
        shutil.copy(root / f"ants/{number:02}.jpg", root / f"ants/{number:02}-copy.jpg")
    splits = read_folder(root)
    assert splits.held_back
    (leak,) = [each for each in preflight(splits, verbose=False) if each.kind == "leak"]
    train = {file.path for file in splits.train.files}
    torn = {
        tuple(sorted((file.path, file.path.replace(".jpg", "-copy.jpg"))))
        for file in splits.train.files + splits.validation.files
        if "copy" not in file.path
        and (file.path in train) != (file.path.replace(".jpg", "-copy.jpg") in train)
        and "/ants/" in file.path
    }
    assert {tuple(sorted(group)) for group in leak.paths} == torn
    assert "the validation part was drawn from train" in leak.advice


def test_arrays_are_looked_at_by_number(tmp_path):
    images = np.stack([np.asarray(photo(seed)) for seed in range(24)])
    images[20] = images[3]
    images[22] = np.clip(images[4].astype(int) + 12, 0, 255)
    images[7] = 0
    labels = np.array([0, 1] * 12)
    found = {each.kind: each for each in examine((images, labels)).findings}
    assert found["value_range"].reasons == ("all black",)
    assert "image 7 of" in found["value_range"].paths[0][0]
    (torn,) = found["conflicting_labels"].paths
    assert {name.split(" of ")[0] for name in torn} == {"image 3", "image 20"}
    (near,) = found["near_duplicate"].paths
    assert {name.split(" of ")[0] for name in near} == {"image 4", "image 22"}
