"""Quantised exports: what the numbers become, what is judged, and what is refused."""

import dataclasses
import hashlib
import importlib
import importlib.util
import json
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import small_network, write_pictures
from onnx import numpy_helper

from ktransfer import FineTuner, InputError, OnnxClassifier, RunError
from ktransfer.classifier import Classifier
from ktransfer.data import decode_image, read_paths
from ktransfer.export import calibration, exporting
from ktransfer.export.agreement import Agreement
from ktransfer.export.formats import Request
from ktransfer.export.onnx import writing
from ktransfer.export.quantisation import judge
from ktransfer.export.quantising import onnx_file
from ktransfer.export.runtimes import load_export


def run_here(module, folder, job, what):
    """What is done aside in this process, which has TensorFlow imported already."""
    (folder / "job.json").write_text(json.dumps(job))
    importlib.import_module(module).main(folder)
    return json.loads((folder / "outcome.json").read_text())


@pytest.fixture(scope="module", autouse=True)
def _here():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "run_aside", run_here)
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("photos"), 20)


@pytest.fixture(scope="module")
def tuner(photos):
    # Of few features, a head is so steep that one step of 256 is another class.
    tuner = FineTuner(small_network(channels=64), verbose=False)
    tuner.fit(photos, plan="linear_probe", epochs=20)
    return tuner


@pytest.fixture(scope="module")
def files(tuner, tmp_path_factory):
    """The ONNX files by kind: None is float32."""
    folder = tmp_path_factory.mktemp("onnx")
    kinds = (None, "float16", "int8")
    return {each: tuner.export(folder / f"{each}.onnx", quantise=each) for each in kinds}


@pytest.fixture(scope="module")
def decoded(photos):
    return [decode_image(each) for each in read_paths(photos)[0].files][::7]


def weights_of(model):
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- the numbers ---------------------------------------------------------------------------------


def test_float16_computes_what_float32_does_with_rounded_weights(files, decoded):
    model = onnx.load(files[None].path)
    rounded = 0
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and value.ndim in (2, 4):
            near = value.astype(np.float16).astype(np.float32)
            rounded += not np.array_equal(near, value)
            tensor.CopyFrom(numpy_helper.from_array(near, tensor.name))
    assert rounded == 3  # two convolutions and the head
    session = onnxruntime.InferenceSession(model.SerializeToString())
    predict = load_export(files["float16"].path, "onnx")
    for image in decoded:
        (wanted,) = session.run(None, {"images": image[np.newaxis]})
        np.testing.assert_allclose(predict(image[np.newaxis]), wanted, atol=1e-6)
    stored = [each.data_type for each in onnx.load(files["float16"].path).graph.initializer]
    assert stored.count(onnx.TensorProto.FLOAT16) == 3


def test_int8_weights_are_the_nearest_steps_of_a_scale_for_each_channel(files):
    model = onnx.load(files["int8"].path)
    values = weights_of(model)
    (convolution, *_) = (each for each in model.graph.node if each.op_type == "Conv")
    (source,) = (each for each in model.graph.node if each.output[0] == convolution.input[1])
    steps, scale, zero = (values[each] for each in source.input)
    assert (steps.dtype, scale.shape, np.count_nonzero(zero)) == (np.int8, (4,), 0)
    given = onnx.load(files[None].path)
    (plain, *_) = (each for each in given.graph.node if each.op_type == "Conv")
    wanted = weights_of(given)[plain.input[1]]
    # A batch norm that the quantiser fused scales each channel.
    found = steps * scale[:, None, None, None]
    ratio = np.abs(found).max((1, 2, 3)) / np.abs(wanted).max((1, 2, 3))
    error = np.abs(found - wanted * ratio[:, None, None, None])
    assert (error.max((1, 2, 3)) <= 1.01 * scale).all()
    assert np.abs(steps).max((1, 2, 3)).tolist() == [127] * 4


def test_resizing_and_softmax_stay_in_float32(files):
    image = np.random.default_rng(0).integers(0, 256, (1, 61, 75, 3)).astype(np.uint8)
    pixels = []
    for kind in (None, "int8"):
        model = onnx.load(files[kind].path)
        front, network, _ = onnx_file.split(model)
        assert not any("Linear" in each.op_type for each in front.graph.node)
        (softmax,) = (each for each in network.graph.node if each.op_type == "Softmax")
        assert softmax.output[0] == "probabilities"
        session = onnxruntime.InferenceSession(front.SerializeToString())
        pixels.append(session.run(None, {"images": image})[0])
    np.testing.assert_array_equal(*pixels)
    assert pixels[0].std() > 10


def test_int8_has_only_operators_of_onnx_itself(files):
    model = onnx.load(files["int8"].path)
    assert {each.domain for each in model.graph.node} == {""}
    assert [(each.domain, each.version) for each in model.opset_import if not each.domain] == [
        ("", 17)
    ]
    kinds = [each.op_type for each in model.graph.node]
    assert {"QuantizeLinear", "DequantizeLinear"} <= set(kinds)


@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_classifier_runs_the_file_on_images_of_any_size(kind, files, tuner, photos):
    result = files[kind]
    found = OnnxClassifier(result.path).predict(photos)
    wanted = tuner.predict(photos)
    assert found.classes == tuner.class_names
    difference = np.abs(found.probabilities - wanted.probabilities).max()
    assert 1e-6 < difference < {"float16": 2e-3, "int8": 0.1}[kind]
    held = {each.key: each.value for each in onnx.load(result.path).metadata_props}
    assert json.loads(held["ktransfer"])["quantisation"] == kind
    predict = load_export(result.path, "onnx")
    assert predict(np.zeros((3, 40, 30, 3), np.uint8)).shape == (3, 3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_litert_file_is_quantised_and_says_the_same_classes(kind, tuner, tmp_path, decoded):
    result = tuner.export(tmp_path / "a.tflite", quantise=kind)
    assert result.agreement.top1_agreement == 1.0
    assert 1e-6 < result.agreement.max_difference < {"float16": 2e-3, "int8": 0.1}[kind]
    with zipfile.ZipFile(result.path) as archive:
        assert json.loads(archive.read("ktransfer.json"))["quantisation"] == kind
        assert archive.read("labels.txt").decode().split("\n") == list(tuner.class_names)
    from ai_edge_litert.interpreter import Interpreter

    held = {each["dtype"] for each in Interpreter(str(result.path)).get_tensor_details()}
    assert {"float16": np.float16, "int8": np.int8}[kind] in held
    predict = load_export(result.path, "litert")
    assert np.isfinite(predict(decoded[0][np.newaxis])).all()


# --- the figures ---------------------------------------------------------------------------------


def test_result_and_card_have_the_figures_before_and_after(files):
    result = files["int8"]
    judged = result.quantised
    assert (result.quantisation, judged.kind, judged.judged_by) == ("int8", "int8", "accuracy")
    assert judged.num_calibration_images == 48
    # TensorFlow numbers the names of a model that is traced once more.
    assert judged.float32_size_bytes == pytest.approx(files[None].size_bytes, rel=0.05)
    assert judged.lost == result.agreement.model_accuracy - result.agreement.accuracy
    assert judged.float32.max_difference <= judged.float32.bound == 1e-4
    assert result.agreement.bound is None
    assert result.seconds.keys() == {"convert", "compare", "quantise"}
    plain = json.loads(json.dumps(result.to_dict()))
    assert plain["quantised"]["float32"]["num_images"] == 12
    assert "times smaller than in float32" in str(result)
    card = result.card.read_text()
    assert "Quantised to int8: " in card
    assert "Calibrated on 48 training images" in card
    assert f"| {judged.float32_size_bytes:,} | {result.size_bytes:,} |" in card.replace("  ", " ")
    assert "opset 17, int8" in card


AGREEMENT = Agreement(
    part="test",
    num_images=200,
    top1_agreement=0.97,
    max_difference=0.3,
    mean_difference=0.01,
    bound=None,
    accuracy=0.93,
    model_accuracy=0.94,
    in_full_agreement=0.9,
    in_full_difference=0.3,
    images_per_second=1.0,
    model_images_per_second=1.0,
    ms_per_image=1.0,
    model_ms_per_image=1.0,
)


@pytest.mark.parametrize(
    ("changes", "max_loss", "passes"),
    [
        ({}, 0.01, True),  # two of 200 images, exactly the point
        ({"accuracy": 0.925}, 0.01, False),
        ({"accuracy": 0.95}, 0.0, True),
        ({}, 0.0, False),
        ({"accuracy": float("nan")}, 0.5, False),
        ({"accuracy": None, "model_accuracy": None}, 0.03, True),
        ({"accuracy": None, "model_accuracy": None}, 0.02, False),
    ],
)
def test_what_loses_more_than_the_budget_is_refused(changes, max_loss, passes):
    found = dataclasses.replace(AGREEMENT, **changes)
    figures = {"max_loss": max_loss, "num_calibration_images": 7}
    if passes:
        assert judge("int8", found, AGREEMENT, 10, **figures).lost <= max_loss + 1e-9
        return
    with pytest.raises(RunError, match=r"loses .* so nothing was written.*float16.*7 were used"):
        judge("int8", found, AGREEMENT, 10, **figures)


def test_export_whose_calibration_is_no_good_is_refused_and_leaves_all_as_it_was(tuner, tmp_path):
    black = np.zeros((4, 16, 16, 3), np.uint8)
    images = np.random.default_rng(0).integers(0, 256, (200, 16, 16, 3)).astype(np.uint8)
    (tmp_path / "a.onnx").write_bytes(b"an earlier one")
    said = (
        r"quantised to int8 the export loses \d+\.\d points of accuracy, so nothing was written: "
        r"100\.0% of 200 images right before, \d+\.\d% after; at most 0 points may be lost\. "
        r"\d+\.\d% of the images get another class.*float16.*\(calibration=; 4 were used\)"
    )
    with pytest.raises(RunError, match=said):
        tuner.export(
            tmp_path / "a.onnx",
            quantise="int8",
            max_loss=0,
            calibration=black,
            validation=(images, tuner.predict(images).indices),
            overwrite=True,
        )
    assert contents(tmp_path) == {"a.onnx": b"an earlier one"}


def test_images_without_labels_are_judged_by_agreement(tuner, tmp_path, decoded):
    images = np.stack([each[:16, :16] for each in decoded])
    result = tuner.export(tmp_path / "a.onnx", quantise="float16", validation=images)
    assert result.quantised.judged_by == "agreement"
    assert result.quantised.lost == 1 - result.agreement.top1_agreement
    assert f"0.0% of {len(images)} images without labels get another class" in str(result)
    assert result.quantised.num_calibration_images == 0
    assert "| accuracy " not in result.card.read_text().split("Quantised to")[1]


# --- the images to calibrate on ------------------------------------------------------------------


def digests(images):
    return {hashlib.sha256(each.tobytes()).hexdigest() for each in images}


def test_calibration_takes_as_many_training_images_of_each_class_and_no_others(
    tuner, tmp_path, monkeypatch
):
    monkeypatch.setattr(calibration, "MOST_IMAGES", 12)
    size = tuner.backbone.input_size

    def pixels(part, rows):
        return [calibration._pixels(part, row, size) for row in rows]

    train = tuner.classifier.train
    found = digests(calibration.calibration_images(tuner.classifier, None))
    for label in range(3):
        assert len(found & digests(pixels(train, np.flatnonzero(train.labels == label)))) == 4
    tuner.save(tmp_path / "run")
    validation = tuner.classifier.validation
    held_back = digests(pixels(validation, range(len(validation))))
    loaded = Classifier.load(tmp_path / "run", verbose=False)
    again = digests(calibration.calibration_images(loaded, None))
    assert again == found
    assert not again & held_back


def test_calibration_images_may_have_no_labels(tuner, photos):
    paths = [str(each) for each in sorted(photos.rglob("*.png"))[:5]]
    assert calibration.calibration_images(tuner.classifier, paths).shape == (5, 16, 16, 3)
    assert len(calibration.calibration_images(tuner.classifier, photos / "red")) == 20


def test_images_that_are_gone_are_asked_for(tuner, tmp_path):
    tuner.save(tmp_path / "run")
    loaded = FineTuner.load(tmp_path / "run", verbose=False)
    for source, said in ((str(tmp_path / "gone"), "no longer at .*gone"), (None, "does not say")):
        record = {**loaded.classifier.data, "source": source}
        with pytest.raises(InputError, match=f"{said}.*calibration= .*float16"):
            calibration.check_calibration(None, record)
        lost = dataclasses.replace(loaded.classifier, data=record)
        with pytest.raises(InputError, match=f"{said}.*calibration="):
            calibration.calibration_images(lost, None)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    with pytest.raises(InputError, match="no image to calibrate on that can be decoded"):
        calibration.calibration_images(loaded.classifier, str(bad))


# --- what is refused at once -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("a.onnx", {"quantise": "int9"}, "unknown quantisation 'int9': did you mean int8"),
        ("a.keras", {"quantise": "int8"}, "the format keras cannot be quantised: .*onnx or litert"),
        ("a", {"quantise": "float16"}, "the format savedmodel cannot be quantised"),
        ("a.onnx", {"quantise": "int8", "opset": 12}, "int8 needs opset 13 or higher, got opset 1"),
        ("a.onnx", {"max_loss": 1.0}, r"from 0 to below 1 .*in points\), got 1\.0"),
        ("a.onnx", {"max_loss": -0.1}, r"got -0\.1"),
        ("a.onnx", {"max_loss": "1"}, "got '1'"),
        ("a.onnx", {"max_loss": float("nan")}, "got nan"),
    ],
)
def test_wrong_quantisation_is_refused(tmp_path, path, options, message):
    with pytest.raises(InputError, match=message):
        Request.of(tmp_path / path, None, **{"opset": 17, "overwrite": False, **options})


def test_missing_quantiser_is_named(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if "quantizer" in name else found(name)
    )
    with pytest.raises(InputError, match=r'ai-edge-quantizer: pip install "ktransfer\[litert\]"'):
        Request.of(tmp_path / "a.tflite", None, 17, overwrite=False, quantise="int8")


def test_quantiser_that_fails_is_one_error_and_leaves_nothing(tuner, tmp_path, monkeypatch):
    def fail(source, path, *rest):
        path.write_bytes(b"half of it")
        raise RunError("it cannot be quantised to float16: out of luck")

    monkeypatch.setattr(exporting, "quantise_file", fail)
    with pytest.raises(RunError, match=r"cannot be quantised to float16: out of luck"):
        tuner.export(tmp_path / "a.onnx", quantise="float16")
    assert contents(tmp_path) == {}
