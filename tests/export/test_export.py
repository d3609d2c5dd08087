"""Exports of a small classifier: every format, from file to label, and what is refused."""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import textwrap
import warnings
import zipfile

import keras
import numpy as np
import pytest
from conftest import small_network, write_pictures
from PIL import Image

from ktransfer import FineTuner, InputError, OnnxClassifier, RunError
from ktransfer.classifier import Classifier
from ktransfer.data import decode_image, read_paths
from ktransfer.export import export, exporting, litert
from ktransfer.export.runtimes import load_export

ENDINGS = {"onnx": ".onnx", "litert": ".tflite", "savedmodel": "", "keras": ".keras"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Pictures of several sizes and formats; some JPEG large enough to be decoded at a part."""
    folder = write_pictures(tmp_path_factory.mktemp("photos"), 20)
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        size = [(61, 75), (200, 150), (16, 16)][number % 3]
        with Image.open(path) as image:
            image = image.resize(size, Image.Resampling.NEAREST)
        if number % 3 == 1:
            path.unlink()
            image.save(path.with_suffix(".jpg"), quality=90)
        else:
            image.save(path)
    return folder


@pytest.fixture(scope="module")
def tuner(photos):
    tuner = FineTuner(small_network(), verbose=False)
    tuner.fit(photos, plan="linear_probe", epochs=5)
    assert abs(tuner.result.temperature - 1) > 0.01  # else it would not be seen to be exported
    return tuner


@pytest.fixture(scope="module", params=ENDINGS)
def exported(request, tuner, tmp_path_factory):
    """Each format; pytest runs all tests of one before those of the next."""
    path = tmp_path_factory.mktemp("exports") / f"colours{ENDINGS[request.param]}"
    return tuner.export(path, request.param)


def size_of(path):
    with Image.open(path) as image:
        return image.size


def contents(folder):
    return {
        str(each.relative_to(folder)): each.read_bytes() if each.is_file() else None
        for each in folder.rglob("*")
    }


def test_export_says_what_the_model_says_of_files_of_any_size(exported, tuner, photos):
    predict = load_export(exported.path, exported.format)
    files = sorted(photos.rglob("*.png"))[:12]
    if not exported.any_size:
        files = [each for each in files if size_of(each) == (16, 16)]
    assert len(files) >= 4
    read = [decode_image(each)[np.newaxis] for each in read_paths(files)[0].files]
    found = np.concatenate([predict(each) for each in read])
    np.testing.assert_allclose(found, tuner.predict(files).probabilities, atol=1e-5)


@pytest.mark.parametrize("exported", ["onnx"], indirect=True)
def test_the_classifier_of_the_onnx_file_says_what_the_model_says(
    exported, tuner, photos, tmp_path
):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff" + bytes(600))
    ours = OnnxClassifier(exported.path).predict([photos, tmp_path])
    theirs = tuner.predict([photos, tmp_path])
    assert (ours.paths, ours.skipped) == (theirs.paths, theirs.skipped)
    assert (len(ours), len(ours.skipped), ours.classes) == (60, 1, tuner.class_names)
    np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-5)


def test_result_has_the_figures_of_the_gate(exported, tuner):
    found = exported.agreement
    assert (found.part, found.num_images) == ("validation", 12)
    assert found.top1_agreement == 1.0
    assert 0 <= found.mean_difference <= found.max_difference <= found.bound == 1e-4
    assert found.accuracy == found.model_accuracy == tuner.result.val_accuracy
    # Decoded in full, a few large JPEG are not quite the same.
    assert 1e-5 < found.in_full_difference < 0.2
    assert min(found.images_per_second, found.model_images_per_second) > 0
    assert json.loads(json.dumps(exported.to_dict()))["agreement"] == found.to_dict()
    assert str(exported.path) in str(exported)
    assert "100.0% the same class on 12 validation images" in str(exported)


def test_checksum_and_size_are_what_the_shell_says(exported):
    script = f"sha256sum < {exported.path.name}"
    if exported.path.is_dir():
        script = f"cd {exported.path.name} && {FILES_OF_A_FOLDER} | xargs sha256sum | sha256sum"
    said = subprocess.run(
        ["bash", "-c", script], cwd=exported.path.parent, capture_output=True, check=True
    )
    assert exported.sha256 == said.stdout.split()[0].decode()
    files = [exported.path, *exported.path.rglob("*")]
    assert exported.size_bytes == sum(each.stat().st_size for each in files if each.is_file())


FILES_OF_A_FOLDER = "find . -type f | cut -c3- | LC_ALL=C sort"


def metadata_inside(exported):
    if exported.format == "onnx":
        import onnx

        held = {each.key: each.value for each in onnx.load(exported.path).metadata_props}
        return held["ktransfer"]
    if exported.format == "savedmodel":
        return (exported.path / "assets.extra" / "ktransfer.json").read_bytes()
    with zipfile.ZipFile(exported.path) as archive:
        return archive.read("ktransfer.json")


def test_class_names_and_versions_travel_inside(exported, tuner):
    found = json.loads(metadata_inside(exported))
    assert found["class_names"] == ["blue", "green", "red"]
    assert found["input_size"] == [16, 16]
    assert found["versions"]["keras"] == keras.__version__
    assert found["data_sha256"] == tuner.classifier.data["contents"]
    assert found["learnt"]["train"] == len(tuner.classifier.learnt.train)
    assert found["quantisation"] is None


def test_lines_of_the_card_run_and_say_the_class(exported, tuner, photos, monkeypatch):
    monkeypatch.chdir(exported.path.parent)
    photo = next(each for each in sorted(photos.rglob("*.png")) if size_of(each) == (61, 75))
    shutil.copy(photo, "photo.png")
    text = exported.card.read_text()
    code = text.split("```python\n")[1].split("```")[0].replace("photo.jpg", "photo.png")
    said = io.StringIO()
    with contextlib.redirect_stdout(said), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the user's own code we ask only what it says
        exec(code, {})
    label, probability = said.getvalue().split()
    (wanted,) = tuner.predict(photo)
    assert label == wanted.label
    assert float(probability) == pytest.approx(wanted.probability, abs=1e-5)


def test_keras_file_has_only_layers_of_keras(tuner, tmp_path):
    tuner.export(tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        config = json.loads(archive.read("config.json"))

    def kinds(node):
        if isinstance(node, dict):
            if "class_name" in node:
                yield node.get("module"), node.get("registered_name")
            for value in node.values():
                yield from kinds(value)
        elif isinstance(node, list):
            for value in node:
                yield from kinds(value)

    found = list(kinds(config))
    assert len(found) > 5
    assert all(module.split(".")[0] == "keras" for module, _ in found if module)
    assert not any("ktransfer" in str(registered) for _, registered in found)


def flipped(model):
    """The same network with the signs of its head turned round."""
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    head = other.get_layer("head")
    head.set_weights([-each for each in head.get_weights()])
    return other


def write_flipped(trained, request, path, metadata):
    changed = dataclasses.replace(trained, model=flipped(trained.model))
    KERAS_WRITER(changed, request, path, metadata)


KERAS_WRITER = exporting._keras


def test_export_that_predicts_something_else_is_refused_and_leaves_nothing(
    tuner, tmp_path, monkeypatch
):
    monkeypatch.setattr(exporting, "_keras", write_flipped)
    said = (
        r"does not predict the same.* of 12 validation images.*most on .*\.(png|jpg): the model "
        r"says '\w+' with 0\.\d+, the export"
    )
    with pytest.raises(RunError, match=said):
        tuner.export(tmp_path / "new" / "colours.keras")
    assert contents(tmp_path) == {}


def test_earlier_export_is_untouched_by_one_that_is_refused(tuner, tmp_path, monkeypatch):
    tuner.export(tmp_path / "colours.keras")
    before = contents(tmp_path)
    assert sorted(before) == ["colours.keras", "colours.keras.card.md"]
    monkeypatch.setattr(exporting, "_keras", write_flipped)
    with pytest.raises(RunError, match="does not predict the same"):
        tuner.export(tmp_path / "colours.keras", overwrite=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(28, "No space left on device"), RunError),
        (RuntimeError("h5py: no space"), RunError),
    ],
)
def test_nothing_is_left_of_an_export_that_breaks_off(tuner, tmp_path, monkeypatch, error, raised):
    def fail(trained, request, path, metadata):
        path.write_bytes(b"half of it")
        raise error

    monkeypatch.setattr(exporting, "_keras", fail)
    with pytest.raises(raised) as caught:
        tuner.export(tmp_path / "deep" / "colours.keras")
    if raised is RunError:
        assert "no space" in str(caught.value).lower()
    assert contents(tmp_path) == {}


def test_converter_that_crashes_is_named_and_leaves_nothing(tuner, tmp_path, monkeypatch):
    crash = tmp_path / "crash.py"
    crash.write_text(
        "import os, sys\nprint('out of luck', file=sys.stderr, flush=True)\nos.abort()"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(litert, "__name__", "crash")
    with pytest.raises(RunError, match=r"converts to LiteRT died \(SIGABRT\): out of luck"):
        tuner.export(tmp_path / "colours.tflite")
    assert sorted(contents(tmp_path)) == ["crash.py"]


FILL_THE_DISK = """
    import resource, sys
    from ktransfer import FineTuner, RunError

    tuner = FineTuner.load(sys.argv[1], verbose=False)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))
    for name in ("a.keras", "b"):
        try:
            tuner.export(f"{sys.argv[2]}/{name}", None if "." in name else "savedmodel")
        except RunError as error:
            print(f"refused: {error}")
"""


@pytest.mark.slow
def test_full_disk_is_one_clear_error_and_leaves_nothing(tuner, tmp_path):
    tuner.save(tmp_path / "run")
    script, out = textwrap.dedent(FILL_THE_DISK), tmp_path / "out"
    out.mkdir()
    # A limit on the size of a file fails a real write half-way, as a full disk does.
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "run"), str(out)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.count("refused: the model cannot be exported as") == 2, done.stderr
    assert contents(out) == {}


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("a.onnx", {"format": "onxx"}, "unknown format 'onxx': did you mean onnx"),
        ("a.bin", {}, "does not say which format"),
        ("a.keras", {"format": "onnx"}, "'onnx' is a file that ends in .onnx, got"),
        ("a.tflite", {"format": "savedmodel"}, "'savedmodel' is a folder, got"),
        ("a.onnx", {"opset": 99}, "opset must be a whole number from 10 to 18, got 99"),
    ],
)
def test_wrong_format_is_refused(tuner, tmp_path, path, options, message):
    with pytest.raises(InputError, match=message):
        tuner.export(tmp_path / path, **options)
    assert contents(tmp_path) == {}


def test_place_that_is_taken_or_closed_is_refused_before_any_work(tuner, tmp_path, monkeypatch):
    monkeypatch.setattr(Classifier, "probabilities", None)
    (tmp_path / "a.keras").write_text("mine")
    with pytest.raises(RunError, match=r"a\.keras exists; .*--overwrite"):
        tuner.export(tmp_path / "a.keras")
    (tmp_path / "b.keras.card.md").write_text("mine")
    with pytest.raises(RunError, match=r"b\.keras\.card\.md exists"):
        tuner.export(tmp_path / "b.keras")
    (tmp_path / "photos").mkdir()
    with pytest.raises(
        RunError, match=r"no folder with assets\.extra/ktransfer\.json.*will not be overwritten"
    ):
        tuner.export(tmp_path / "photos", "savedmodel", overwrite=True)
    with pytest.raises(RunError, match=r"a\.keras is not a folder"):
        tuner.export(tmp_path / "a.keras" / "b.keras")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(RunError, match=f"no permission to write to {tmp_path}"):
        tuner.export(tmp_path / "new" / "c.keras")
    assert sorted(contents(tmp_path)) == ["a.keras", "b.keras.card.md", "photos"]


def test_overwriting_a_folder_leaves_alone_what_is_not_the_exports(tuner, tmp_path):
    tuner.export(tmp_path / "served")
    alone = contents(tmp_path / "served")
    mine = {
        "notes.txt": b"mine",
        ".git/HEAD": b"main",
        "variables/mine.txt": b"1",
        "assets/a": b"2",
    }
    for name, content in mine.items():
        (tmp_path / "served" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "served" / name).write_bytes(content)
    outdated = tmp_path / "served" / "variables" / "variables.data-00001-of-00002"
    outdated.write_bytes(b"of the model before")
    tuner.export(tmp_path / "served", overwrite=True)
    found = contents(tmp_path / "served")
    assert {name: found[name] for name in mine} == mine
    assert found.keys() == alone.keys() | mine.keys() | {".git"}
    assert load_export(tmp_path / "served", "savedmodel") is not None
    assert sorted(each.name for each in tmp_path.iterdir()) == ["served", "served.card.md"]


def test_folder_of_a_model_that_was_not_exported_is_never_overwritten(tuner, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "saved_model.pb").write_text("mine")
    with pytest.raises(RunError, match=r"a is no folder with assets\.extra/ktransfer\.json"):
        tuner.export(tmp_path / "a", overwrite=True)
    assert (tmp_path / "a" / "saved_model.pb").read_text() == "mine"


def test_neither_the_model_of_a_run_nor_an_image_is_exported_to(tuner, photos, tmp_path):
    tuner.save(tmp_path / "run")
    before = contents(tmp_path)
    (model,) = (tmp_path / "run").glob("model-*.keras")
    with pytest.raises(RunError, match=f"{model.name} is the model of a run"):
        tuner.export(model, overwrite=True)
    photo = write_pictures(tmp_path / "photos", 1) / "red" / "000.png"
    (tmp_path / "a.keras").symlink_to(photo)
    with pytest.raises(InputError, match=r"a\.keras' is '.*000\.png', which is read here"):
        tuner.export(tmp_path / "a.keras", validation=photo.parents[1], overwrite=True)
    assert before.items() <= contents(tmp_path).items()


def test_overwriting_replaces_the_export_and_its_card(tuner, tmp_path):
    (tmp_path / "a.keras").write_text("old")
    (tmp_path / "a.keras.card.md").write_text("old")
    result = tuner.export(tmp_path / "a.keras", overwrite=True)
    assert sorted(contents(tmp_path)) == ["a.keras", "a.keras.card.md"]
    assert result.sha256 in result.card.read_text()
    assert result.sha256 == hashlib.sha256(result.path.read_bytes()).hexdigest()


def test_missing_extra_is_named_before_any_work(tuner, tmp_path, monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tf2onnx" else found(name)
    )
    with pytest.raises(InputError, match=r'needs tf2onnx: pip install "ktransfer\[onnx\]"'):
        tuner.export(tmp_path / "a.onnx")


def test_before_fit_there_is_nothing_to_export(tmp_path):
    with pytest.raises(InputError, match=r"no model yet: call fit\(data\) first"):
        FineTuner(small_network(), verbose=False).export(tmp_path / "a.keras")


def test_loaded_run_is_proven_on_what_its_training_held_back(tuner, tmp_path):
    tuner.save(tmp_path / "run")
    loaded = FineTuner.load(tmp_path / "run", verbose=False)
    result = loaded.export(tmp_path / "a.keras")
    assert (result.agreement.part, result.agreement.num_images) == ("validation", 12)
    assert result.agreement.accuracy == tuner.result.val_accuracy


def test_run_whose_images_are_gone_asks_for_some(tuner, photos, tmp_path):
    tuner.save(tmp_path / "run")
    loaded = Classifier.load(tmp_path / "run", verbose=False)
    lost = {**loaded.data, "source": str(tmp_path / "gone")}
    with pytest.raises(RunError, match=r"no longer at .*gone; .* with validation= \(--data\)"):
        export(dataclasses.replace(loaded, data=lost), tmp_path / "a.keras")
    loaded = dataclasses.replace(loaded, data={**loaded.data, "source": None})
    with pytest.raises(RunError, match=r"does not say where its images are; .*validation="):
        export(loaded, tmp_path / "a.keras")
    assert not (tmp_path / "a.keras").exists()
    unlabelled = [str(each) for each in sorted(photos.rglob("*.png"))[:3]]
    result = export(loaded, tmp_path / "a.keras", validation=unlabelled)
    assert (result.agreement.num_images, result.agreement.accuracy) == (3, None)


def test_images_given_for_the_gate_may_be_arrays(tuner, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 30, 40, 3)).astype(np.uint8)
    result = tuner.export(tmp_path / "a.keras", validation=images)
    assert (result.agreement.num_images, result.agreement.accuracy) == (5, None)
    labelled = tuner.export(tmp_path / "b.keras", validation=(images, np.zeros(5, int)))
    assert labelled.agreement.accuracy is not None


def test_no_readable_image_for_the_gate_is_refused(tuner, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    with pytest.raises(InputError, match="there is no image to compare the export on"):
        tuner.export(tmp_path / "a.keras", validation=str(bad))


def test_mixed_precision_is_exported_in_float32_and_compared_with_that(photos, tmp_path):
    tuner = FineTuner(small_network(), verbose=False)
    tuner.fit(photos, plan="linear_probe", epochs=2)
    for layer in tuner.model._flatten_layers(include_self=False):
        layer.dtype_policy = "mixed_bfloat16"  # as a user may, or an older run has it
    before = {layer.compute_dtype for layer in tuner.model._flatten_layers()}
    result = tuner.export(tmp_path / "a")
    assert result.agreement.max_difference < 1e-5
    assert "computes in bfloat16, the export in float32" in result.notes[0]
    assert before == {layer.compute_dtype for layer in tuner.model._flatten_layers()}
    assert tuner.export(tmp_path / "a.keras").notes == ()
