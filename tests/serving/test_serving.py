"""Predictions from an ONNX file: the right ones, streamed, and without TensorFlow."""

import csv
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import served_models
from conftest import write_pictures
from PIL import Image

from ktransfer import FineTuner, InputError, OnnxClassifier, Predictions, RunError
from ktransfer.data import image_dataset, read_paths, resize_array
from ktransfer.serving.classifier import BATCH_SIZE


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return served_models.write(tmp_path_factory.mktemp("model") / "means.onnx")


@pytest.fixture(scope="module")
def classifier(model):
    return OnnxClassifier(model)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = write_pictures(tmp_path_factory.mktemp("photos"), 5)
    (folder / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff" + bytes(600))
    whole = Image.fromarray(np.full((90, 70, 3), (40, 60, 200), np.uint8))
    whole.save(folder / "blue" / "large.jpg")
    # Its header is whole, so that only decoding finds that it was cut.
    whole.save(folder / "green" / "cut.png")
    cut = (folder / "green" / "cut.png").read_bytes()
    (folder / "green" / "cut.png").write_bytes(cut[: len(cut) // 2])
    return folder


def expected(photos):
    """Path and probabilities of each image, by TensorFlow's pipeline and by NumPy."""
    part, _ = read_paths(photos)
    rows = {}
    for images, indices in image_dataset(part, served_models.SIZE):
        paths = [part.files[index].path for index in indices.numpy()]
        rows.update(zip(paths, served_models.answer(images.numpy()), strict=True))
    return rows


def test_a_file_says_what_it_is(classifier):
    assert classifier.class_names == served_models.CLASSES
    assert classifier.input_size == served_models.SIZE
    assert classifier.metadata.versions == {"ktransfer": "0.1.0"}


def test_files_are_decoded_and_classified_as_worked_out_by_hand(classifier, photos):
    found = classifier.predict(photos)
    rows = expected(photos)
    assert isinstance(found, Predictions)
    assert found.paths == tuple(rows)
    np.testing.assert_allclose(found.probabilities, list(rows.values()), atol=1e-6)
    assert found.labels == [os.path.basename(os.path.dirname(path)) for path in rows]


def test_what_cannot_be_read_is_named_as_the_fine_tuner_names_it(classifier, photos, network):
    tuner = FineTuner(network, weights=None, preprocessing="none", verbose=False)
    tuner.fit(photos, epochs=1, plan="linear_probe")
    theirs, ours = tuner.predict(photos), classifier.predict(photos)
    assert ours.paths == theirs.paths
    assert ours.skipped == theirs.skipped
    assert [os.path.basename(each.path) for each in ours.skipped] == ["broken.jpg", "cut.png"]


def test_a_stream_yields_batch_by_batch_what_predict_returns(classifier, photos):
    whole = classifier.predict(photos)
    batches = list(classifier.stream(photos, batch_size=3))
    assert [len(each) for each in batches] == [3, 3, 3, 2, 3, 2]
    joined = Predictions.joined(classifier.class_names, batches)
    assert (joined.paths, joined.skipped) == (whole.paths, whole.skipped)
    np.testing.assert_allclose(joined.probabilities, whole.probabilities, atol=1e-7)


def test_a_stream_begins_before_all_is_decoded(classifier, photos, monkeypatch):
    from ktransfer.serving import decoding

    read, before = [], threading.active_count()
    monkeypatch.setattr(
        decoding, "read_on_host", lambda *args: read.append(1) or np.zeros((16, 12, 3), np.uint8)
    )
    paths = [photos / "red" / "000.png"] * 500
    batches = classifier.stream(paths, batch_size=4)
    next(batches)
    assert 4 <= len(read) < 50
    batches.close()
    assert threading.active_count() == before


def test_progress_counts_every_image(classifier, photos):
    seen = []
    classifier.predict(photos, on_progress=lambda *each: seen.append(each))
    assert seen[-1] == (17, 17)
    assert [done for done, _ in seen] == [*range(BATCH_SIZE, 17, BATCH_SIZE), 17]


def test_arrays_are_resized_and_classified(classifier):
    images = np.random.default_rng(0).integers(0, 256, (9, 31, 40, 3), np.uint8)
    found = classifier.predict(images)
    resized = resize_array(images, served_models.SIZE)
    np.testing.assert_allclose(found.probabilities, served_models.answer(resized), atol=1e-6)
    assert (found.paths, found.skipped) == ((), ())
    one = classifier.predict(images[0].astype(np.float32))
    np.testing.assert_array_equal(one.probabilities, found.probabilities[:1])


def test_a_way_of_resizing_that_is_unknown_is_left_to_the_graph(photos, tmp_path):
    file = served_models.write(
        tmp_path / "other.onnx", served_models.describe(resizing="none at all")
    )
    image = np.asarray(Image.open(photos / "red" / "000.png"))
    found = OnnxClassifier(file).predict([photos / "red" / "000.png", photos / "blue" / "001.png"])
    np.testing.assert_allclose(
        found.probabilities[:1], served_models.answer(image[np.newaxis]), atol=1e-6
    )
    assert found.labels == ["red", "blue"]


def test_nothing_to_read_gives_no_rows(classifier, photos):
    found = classifier.predict(photos / "red" / "broken.jpg")
    assert (len(found), len(found.skipped)) == (0, 1)
    assert found.probabilities.shape == (0, 3)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("nowhere.jpg", "no such file or folder: 'nowhere.jpg'"),
        (np.full((1, 4, 4, 3), 0.5), "they look scaled to \\[0, 1\\]"),
        (np.zeros((1, 4, 4, 2), np.uint8), "has the shape \\(1, 4, 4, 2\\)"),
    ],
)
def test_what_is_no_image_is_refused_when_it_is_given(classifier, images, message):
    with pytest.raises(InputError, match=message):
        classifier.stream(images)


def test_sizes_below_one_are_refused(classifier, model):
    with pytest.raises(InputError, match=r"batch_size must be .* got 0"):
        classifier.stream([], batch_size=0)
    with pytest.raises(InputError, match=r"num_threads must be .* got 0"):
        OnnxClassifier(model, num_threads=0)


def test_a_network_that_says_nan_is_an_error(tmp_path):
    weights = np.full((3, 3), np.nan, np.float32)
    file = served_models.write(tmp_path / "nan.onnx", weights=weights)
    with pytest.raises(RunError, match="what it says are no probabilities"):
        OnnxClassifier(file).predict(np.zeros((1, 4, 4, 3), np.uint8))


# Runs a command line with everything but these packages hidden, and says what it imported.
ALONE = """
import importlib.abc, sys
BEFORE = set(sys.modules)  # what the environment itself brings
ALLOWED = {"ktransfer", "numpy", "PIL", "click", "onnxruntime"}
ALLOWED |= {"rich", "pygments", "markdown_it", "mdurl"}
HIDDEN = {"tensorflow", "keras", "sklearn", "scipy", "pandas", "onnx", "imagehash", "h5py", "jax"}
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
from ktransfer.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    code = end.code
packages = {name.split(".")[0] for name in sys.modules if name not in BEFORE}
outside = {
    each for each in packages
    if "site-packages" in (getattr(sys.modules.get(each), "__file__", None) or "")
}
print(code, sorted((outside - ALLOWED) | (packages & HIDDEN)), file=sys.stderr)
"""


def test_the_command_predicts_with_onnxruntime_alone(model, photos, tmp_path):
    file = tmp_path / "found.csv"
    command = [sys.executable, "-c", ALONE, "predict", model, photos, "--csv", file]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "0 []", done.stderr
    with file.open(newline="") as stream:
        header, *rows = csv.reader(stream)
    wanted = expected(photos)
    assert header == ["path", "label", "probability", *served_models.CLASSES]
    assert [row[0] for row in rows] == list(wanted)
    shares = np.array([row[3:] for row in rows], float)
    np.testing.assert_allclose(shares, list(wanted.values()), atol=1e-6)
    counted, left_out, *_ = done.stdout.splitlines()
    assert counted.split()[:2] == ["Images", f"{len(wanted)}:"]
    assert "2 files" in left_out
    done = subprocess.run(command[:-2], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert [line.split()[-1] for line in lines[: len(wanted)]] == list(wanted)


STREAM = """
import json, sys
from ktransfer import OnnxClassifier
classifier = OnnxClassifier(sys.argv[1])
count = sum(len(each) for each in classifier.stream([sys.argv[2]] * int(sys.argv[3])))
with open("/proc/self/status") as status:
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
print(json.dumps([count, int(peak) / 1024]))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    # 192 KB at the size of the network, 3 MB as a photo: 1,000 of either would be seen.
    size = [256, 256]
    file = served_models.write(tmp_path / "m.onnx", served_models.describe(input_size=size))
    photo = tmp_path / "photo.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).resize((1024, 1024)).save(photo)

    def peak_mb(count):
        command = [sys.executable, "-c", STREAM, file, photo, str(count)]
        found, peak = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        assert found == count
        return peak

    few, many = peak_mb(100), peak_mb(1_000)
    assert many < few + 20
