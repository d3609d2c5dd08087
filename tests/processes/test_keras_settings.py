"""The library builds and trains the same, whatever Keras is set to in the process."""

import json
import os
import subprocess
import sys
import textwrap
import threading

import keras
import numpy as np
import pytest
from conftest import small_network, write_pictures

from ktransfer import FineTuner, InputError
from ktransfer.backbones import load_backbone
from ktransfer.classifier import Classifier
from ktransfer.errors.keras import check_keras
from ktransfer.export import export
from ktransfer.processes.keras_settings import own_settings
from ktransfer.tuner import UnfreezeTuner

PLAIN = {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}


def current():
    names = (*PLAIN, "max_epochs", "max_steps_per_epoch")
    said = {name: getattr(keras.config, name)() for name in names}
    return {**said, "policy": keras.config.dtype_policy().name}


@pytest.fixture
def hostile():
    """Everything that changes a network, set otherwise."""
    before = current()
    keras.config.set_dtype_policy("mixed_float16")
    keras.config.set_floatx("float16")
    keras.config.set_image_data_format("channels_first")
    keras.config.set_epsilon(0.1)
    keras.config.set_max_epochs(1)
    keras.config.set_max_steps_per_epoch(1)
    yield current()
    keras.config.set_dtype_policy(before.pop("policy"))
    for name, value in before.items():
        getattr(keras.config, f"set_{name}")(value)


def trained(photos):
    with own_settings():
        network = small_network()
    tuner = FineTuner(network, verbose=False)
    tuner.fit(photos, plan="last_blocks", unfreeze=1, epochs=2, check="off")
    return tuner


def test_settings_are_ours_within_and_the_users_again_afterwards(hostile):
    with own_settings():
        assert current() == {
            **PLAIN, "max_epochs": None, "max_steps_per_epoch": None, "policy": "float32"
        }  # fmt: skip
    assert current() == hostile
    with pytest.raises(KeyError), own_settings(), own_settings():
        raise KeyError
    assert current() == hostile


def test_settings_stay_ours_until_the_last_thread_has_left(hostile):
    inside, leave, seen = threading.Event(), threading.Event(), []

    def other():
        with own_settings():
            inside.set()
            leave.wait(30)
            seen.append(keras.config.floatx())

    thread = threading.Thread(target=other)
    with own_settings():
        thread.start()
        assert inside.wait(30)
    assert keras.config.floatx() == "float32"
    leave.set()
    thread.join(30)
    assert seen == ["float32"]
    assert current() == hostile


@pytest.mark.parametrize("ending", [".keras", pytest.param(".onnx", marks=pytest.mark.slow)])
def test_training_under_hostile_settings_is_the_training_without(ending, tmp_path):
    photos = write_pictures(tmp_path / "photos", 10)
    expected = trained(photos)
    script = """
        import json, sys
        import numpy as np
        from test_keras_settings import current, trained
        from ktransfer import FineTuner
        before = current()
        assert (before["floatx"], before["image_data_format"]) == ("float16", "channels_first")
        tuner = trained(sys.argv[1])
        tuner.save(sys.argv[2])
        tuner.export(sys.argv[2] + sys.argv[3])
        loaded = FineTuner.load(sys.argv[2], verbose=False)
        np.save(sys.argv[2] + ".npy", loaded.predict(sys.argv[1]).probabilities)
        assert current() == before
        print([len(stage.history) for stage in tuner.result.stages])
    """
    home = tmp_path / "home"
    home.mkdir()
    said = {"floatx": "float16", "image_data_format": "channels_first", "epsilon": 0.1}
    (home / "keras.json").write_text(json.dumps({**said, "backend": "tensorflow"}))
    environment = {**os.environ, "KERAS_HOME": str(home), "KERAS_MAX_EPOCHS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), photos, tmp_path / "run", ending],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.split("\n")[-2] == str(
        [len(stage.history) for stage in expected.result.stages]
    )
    probabilities = np.load(tmp_path / "run.npy")
    np.testing.assert_array_equal(probabilities, expected.predict(photos).probabilities)


@pytest.mark.parametrize(
    "each", [FineTuner, Classifier, UnfreezeTuner], ids=lambda each: each.__name__
)
def test_public_methods_that_build_or_run_a_network_have_our_settings(each):
    # Of these of KerasTuner none builds anything here.
    others = {"on_trial_begin", "run_trial", "load_model", "save", "results_summary"}
    others |= {"get_best_hyperparameters"}
    methods = {name: getattr(method, "__func__", method) for name, method in vars(each).items()}
    public = [name for name in methods if not name.startswith("_") and callable(methods[name])]
    bare = {name for name in [*public, "__init__"] if not hasattr(methods[name], "__wrapped__")}
    # A classifier's constructor takes what was built, and its summary counts.
    expected = {UnfreezeTuner: others, Classifier: {"__init__", "summary"}}
    assert bare == expected.get(each, set())


def test_an_export_has_our_settings_too():
    assert hasattr(export, "__wrapped__")


def test_named_backbone_is_float32_with_channels_last(hostile):
    backbone = load_backbone("MobileNetV2", None, 32, alpha=0.35)
    assert {each.dtype for each in backbone.model.weights} == {"float32"}
    assert {each.compute_dtype for each in backbone.model.layers} == {"float32"}
    assert backbone.model.input_shape == (None, 32, 32, 3)


@pytest.mark.parametrize("policy", ["float16", "mixed_bfloat16", "mixed_float16", "float64"])
def test_own_model_of_another_precision_is_taken_in_float32(policy):
    keras.config.set_dtype_policy(policy)
    try:
        images = keras.Input((16, 16, 3))
        network = keras.Model(images, small_network()(images), name="nested")
    finally:
        keras.config.set_dtype_policy("float32")
    model = load_backbone(network, preprocessing="none").model
    assert {each.dtype for each in model.weights} == {"float32"}
    assert {each.compute_dtype for each in model._flatten_layers()} == {"float32"}
    assert keras.backend.standardize_dtype(model.inputs[0].dtype) == "float32"
    for one, other in zip(model.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other.astype(np.float32))
    assert policy in {each.dtype_policy.name for each in network._flatten_layers()}, "untouched"


def test_own_sequential_model_of_float16_is_taken_in_float32():
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(2, 3, name="only")]
    keras.config.set_dtype_policy("float16")
    try:
        layers[1] = keras.layers.Conv2D(2, 3, name="only")
        network = keras.Sequential([keras.Input((8, 8, 3), dtype="float16"), *layers])
    finally:
        keras.config.set_dtype_policy("float32")
    model = load_backbone(network, preprocessing="none").model
    assert keras.backend.standardize_dtype(model.inputs[0].dtype) == "float32"
    assert {each.dtype for each in model.weights} == {"float32"}


def test_kerashub_model_of_mixed_precision_is_taken_in_float32():
    keras_hub = pytest.importorskip("keras_hub")
    network = keras_hub.models.ViTBackbone(
        image_shape=(16, 16, 3), patch_size=8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16,
        dtype="mixed_bfloat16",
    )  # fmt: skip
    model = load_backbone(network, preprocessing="tf").model
    assert {each.compute_dtype for each in model._flatten_layers()} == {"float32"}


def test_own_model_with_channels_first_is_refused():
    first = keras.Input((3, 16, 16))
    network = keras.Model(first, keras.layers.Permute((2, 3, 1))(first))
    with pytest.raises(InputError, match=r"takes \(None, 3, 16, 16\): build it with channels last"):
        load_backbone(network, preprocessing="none")
    images = keras.Input((16, 16, 3))
    x = keras.layers.Permute((3, 1, 2))(images)
    x = keras.layers.MaxPooling2D(data_format="channels_first", name="pool")(x)
    with pytest.raises(InputError, match=r"layer 'pool' .* has data_format='channels_first'"):
        load_backbone(keras.Model(images, x), preprocessing="none")


def test_quantised_model_is_refused():
    images = keras.Input((8, 8, 3))
    network = keras.Model(images, keras.layers.Dense(2, name="inner")(images))
    network.layers[1].quantize("int8")
    with pytest.raises(InputError, match=r"layer 'inner' .* is quantised \(int8_from_float32\)"):
        load_backbone(network, preprocessing="none")


@pytest.fixture
def before_keras(monkeypatch, tmp_path):
    """As in a process that has not imported Keras yet; where its settings lie."""
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    return tmp_path / "keras.json"


def test_usual_settings_and_files_that_keras_passes_over_are_no_fault(before_keras, monkeypatch):
    check_keras()
    before_keras.write_text(json.dumps({**PLAIN, "backend": "tensorflow"}))
    check_keras()
    before_keras.write_text('{"backend": "tensor')
    check_keras()
    monkeypatch.setenv("KERAS_BACKEND", "")
    check_keras()


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("tensorfow", "KERAS_BACKEND is 'tensorfow', and ktransfer runs on tensorflow or jax"),
        ("torch", "KERAS_BACKEND is 'torch', and ktransfer runs on tensorflow or jax"),
        ("jax", "KERAS_BACKEND is 'jax', which is not installed"),
    ],
)
def test_other_backends_are_one_error(before_keras, monkeypatch, backend, message):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    with pytest.raises(InputError, match=message):
        check_keras()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([], r"keras.json are no JSON object"),
        ({"floatx": "half"}, "have floatx 'half', expected one of float16, float32, float64"),
        ({"image_data_format": 1}, "have image_data_format 1, expected one of channels_last"),
        ({"epsilon": 1}, "have epsilon 1, expected a number such as 1e-07"),
        ({"backend": "openvino"}, r"keras.json names the backend 'openvino', and ktransfer runs"),
    ],
)
def test_settings_that_keras_refuses_are_one_error(before_keras, said, message):
    before_keras.write_text(json.dumps(said))
    with pytest.raises(InputError, match=message):
        check_keras()


def test_settings_that_cannot_be_read_are_one_error(before_keras):
    before_keras.mkdir()
    with pytest.raises(InputError, match=r"keras.json cannot be read: .*directory"):
        check_keras()


def test_command_line_and_import_say_it_without_a_traceback(tmp_path):
    photos = write_pictures(tmp_path / "photos", 2)
    environment = {**os.environ, "KERAS_BACKEND": "torhc"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    words = ["train", str(photos), "--weights", "mini", "--out", str(tmp_path / "run")]
    found = subprocess.run(
        [sys.executable, "-m", "ktransfer", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    assert found.stderr.startswith("error: KERAS_BACKEND is 'torhc', and ktransfer runs on")
    assert found.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()
    found = subprocess.run(
        [sys.executable, "-c", "from ktransfer import FineTuner"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "InputError: KERAS_BACKEND is 'torhc'" in found.stderr.splitlines()[-1]
    assert "Unable to import backend" not in found.stderr
