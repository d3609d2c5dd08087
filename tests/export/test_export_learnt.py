"""An exported file says how many images its model learnt from, and can tell which."""

import base64
import json
import shutil

import numpy as np
import pytest
import served_models
from conftest import write_pictures

from ktransfer import OnnxClassifier, RunError
from ktransfer.data import read_data
from ktransfer.data.learnt import KINDS, Learnt
from ktransfer.export.metadata import MOST_CARRIED, metadata_of


def described(learnt):
    return metadata_of(served_models.CLASSES, served_models.SIZE, None, learnt)


@pytest.fixture
def photos(tmp_path):
    return write_pictures(tmp_path / "photos", 4)


def exported(path, **fields):
    return OnnxClassifier(served_models.write(path, served_models.describe(**fields)))


def test_exported_file_tells_the_images_that_it_learnt_from(photos, tmp_path):
    learnt = Learnt.of(read_data(photos))
    said = json.loads(json.dumps(described(learnt)))["learnt"]
    assert (said["train"], said["validation"]) == (9, 3)
    classifier = exported(tmp_path / "model.onnx", learnt=said)
    new = write_pictures(tmp_path / "new", 1, seed=5)
    for file in photos.rglob("*.png"):
        shutil.move(file, new / file.parent.name / f"moved-{file.name}")
    seen = classifier.seen_in_training(new)
    names = classifier.predict(new).paths
    assert [name.rsplit("/", 1)[1].startswith("moved") for name in names] == seen.tolist()
    pixels = np.zeros((2, 8, 8, 3), np.uint8)
    assert classifier.seen_in_training(pixels) is None


def test_file_that_carries_no_digests_cannot_tell(photos, tmp_path):
    assert exported(tmp_path / "old.onnx").seen_in_training(photos) is None
    many = Learnt(np.arange(MOST_CARRIED, dtype=np.uint64), np.zeros(1, np.uint64), KINDS[:1])
    said = described(many)["learnt"]
    assert said == {"train": MOST_CARRIED, "validation": 1, "digests": None}
    assert exported(tmp_path / "many.onnx", learnt=said).seen_in_training(photos) is None


def test_digests_of_the_most_images_take_110_kb():
    most = Learnt(np.arange(MOST_CARRIED, dtype=np.uint64), np.zeros(0, np.uint64), KINDS[:1])
    assert len(json.dumps(described(most))) < 110_000


@pytest.mark.parametrize("digests", ["%%%", base64.b64encode(b"no arrays").decode(), 7])
def test_damaged_digests_are_an_error(photos, tmp_path, digests):
    classifier = exported(tmp_path / "model.onnx", learnt={"digests": digests})
    with pytest.raises(RunError, match="the digests of images in its metadata are damaged"):
        classifier.seen_in_training(photos)
