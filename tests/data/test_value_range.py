"""Images of more than 8 bits that use a part of them: read as their 8-bit twins, everywhere."""

import json
import re

import numpy as np
import pytest
import served_models
import tensorflow  # noqa: F401 - before click's runner replaces the standard streams
from click.testing import CliRunner
from conftest import small_network
from PIL import Image

from ktransfer import FineTuner, InputError, OnnxClassifier, RunError, examine
from ktransfer.classifier.evaluating import evaluate_file
from ktransfer.cli import main
from ktransfer.data import image_dataset, read_data, read_images
from ktransfer.data.images import depth
from ktransfer.data.images.host import read_on_host
from ktransfer.data.images.value_range import Extremes, check_value_range, choose, scaled
from ktransfer.doctor import inspect_data, preflight
from ktransfer.serving.metadata import ModelMetadata

CLASSES = ("clear", "shadow")
TWELVE = (0.0, 4095.0)
# Of a network whose answer depends on how light an image is.
OF_LIGHT = np.array([[0.0, 0.01, 0.02]] * 3, np.float32)


def picture(seed, shadow):
    """Grey uint8 (20, 24): soft light, with a dark half where there is a shadow."""
    random = np.random.default_rng(seed)
    light = 150 + 60 * np.sin(np.linspace(0, 3, 24)) + random.normal(0, 12, (20, 24))
    light[:, 12:] -= 90 * shadow
    light[0, :2] = 0, 255
    return np.clip(light, 0, 255).astype(np.uint8)


def twelve(grey):
    """The same picture by a 12-bit sensor."""
    return np.rint(grey * (4095 / 255)).astype(np.uint16)


def write(folder, make, *, per_class=8, suffix=".png"):
    for at, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            image = Image.fromarray(make(picture(10 * number + at, at)))
            image.save(folder / name / f"{number:02}{suffix}")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("x_rays")
    return write(root / "eight", lambda grey: grey), write(root / "twelve", twelve)


def pixels(part, size=(20, 24)):
    return np.concatenate([images.numpy() for images, _ in image_dataset(part, size)])


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(0, 4012, "16-bit"), (90, 700, "16-bit")], (0, 4095)),
        ([(0, 200, "16-bit")], (0, 255)),
        ([(0, 16_000, "16-bit")], (0, 16_383)),
        ([(0, 16_384, "16-bit")], None),
        ([(0, 0, "16-bit")], None),
        ([(0, 3_000, "32-bit"), (0, 100, "16-bit")], (0, 4095)),
        ([(0, 70_000, "32-bit")], (0, 2**31 - 1)),
        ([(-1024, 3071, "32-bit"), (-1000, 900, "32-bit")], (-1024, 3071)),
        ([(0, 0.9, "float"), (0, 0.2, "float")], (0, 1)),
        ([(0, 1.5, "float")], (0, 255)),
        ([(-1, 1, "float")], (-1, 1)),
        ([(0, 1e6, "float")], (0, 1e6)),
        ([(0, 0.9, "float"), (0, 900, "16-bit")], None),
        ([], None),
    ],
)
def test_the_range_is_the_smallest_usual_depth_that_holds_all_images(found, expected):
    assert choose([Extremes(*each) for each in found]) == expected


@pytest.mark.parametrize(
    "value", ["bright", (5, 5), (9, 1), (0, float("nan")), (1, 2, 3), 4095, ("a", "b")]
)
def test_what_is_no_range_is_refused_with_what_was_received(value):
    received = repr(value).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(InputError, match=f"value_range must be 'auto'.*got {received}"):
        check_value_range(value)


def test_values_are_scaled_to_the_nearest_level_and_clipped():
    values = np.array([-50, 0, 8, 9, 2048, 4095, 60_000])
    assert scaled(values, TWELVE).tolist() == [0, 0, 0, 1, 128, 255, 255]


@pytest.mark.parametrize(
    ("dtype", "shift", "suffix"),
    [
        ("uint16", 0, ".png"),
        ("uint16", 0, ".tif"),
        (">u2", 0, ".tif"),
        ("int32", 0, ".tif"),
        ("int32", -1024, ".tif"),
        ("float32", 0, ".tif"),
    ],
)
def test_every_deep_grey_is_read_as_its_8_bit_twin(tmp_path, folders, dtype, shift, suffix):
    made = write(
        tmp_path / "deep", lambda grey: (twelve(grey).astype(int) + shift).astype(dtype),
        suffix=suffix,
    )  # fmt: skip
    found, twin = read_data(made), read_data(folders[0])
    assert found.value_range == (shift, shift + 4095)
    for part, other in zip(found.parts, twin.parts, strict=True):
        np.testing.assert_array_equal(pixels(part), pixels(other))
        for row in range(len(part)):
            expected = read_on_host(other.images, row, (16, 16))
            np.testing.assert_array_equal(read_on_host(part.images, row, (16, 16)), expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_fractions_that_are_no_numbers_are_named(tmp_path, value):
    values = np.full((8, 8), 0.5, np.float32)
    values[3, 3] = value
    Image.fromarray(values).save(tmp_path / "x.tif")
    part, _ = read_images(tmp_path / "x.tif", value_range=(0, 1))
    assert "some of its values are no numbers" in part.images.fault(0)


def test_a_note_says_what_was_measured_and_full_reads_the_whole_of_16_bits(folders):
    found = read_data(folders[1])
    said = "16 16-bit images hold values from 0 to 4095: 0 is black and 4095 is white"
    assert any(said in note for note in found.notes)
    full = read_data(folders[1], value_range="full")
    assert full.value_range is None
    assert full.notes == read_data(folders[0]).notes
    assert pixels(full.train).max() == 16


def test_a_given_range_holds_for_files_and_says_nothing(folders):
    found = read_data(folders[1], value_range=(0, 8190))
    twin = read_data(folders[0])
    assert found.value_range == (0, 8190)
    assert found.notes == twin.notes
    halved = pixels(twin.train) / 2
    assert np.abs(pixels(found.train) - halved).max() <= 0.5


def test_images_that_use_their_16_bits_are_read_as_ever_and_not_all_looked_at(
    tmp_path, monkeypatch
):
    deep = write(
        tmp_path / "full", lambda grey: grey.astype(np.uint16) * 257, per_class=depth._CHUNK
    )
    opened = []

    def counted(stream):
        opened.append(stream.name)
        return own(stream)

    own = depth._looked_at
    monkeypatch.setattr(depth, "_looked_at", counted)
    found = read_data(deep)
    assert found.value_range is None
    assert not any("value_range" in each for each in found.notes)
    assert len(opened) <= depth._CHUNK


def test_fractions_among_whole_numbers_are_said(tmp_path):
    root = write(tmp_path / "both", twelve, suffix=".tif")
    Image.fromarray(picture(3, 0).astype(np.float32) / 255).save(root / "clear" / "x.tif")
    found = read_data(root)
    assert found.value_range is None
    assert any("both of whole numbers and of fractions" in note for note in found.notes)


def test_arrays_of_16_bits_are_read_as_files_of_16_bits(folders):
    part = read_data(folders[1], value_range="full").train
    values = np.stack([np.asarray(Image.open(file.path)) for file in part.files])
    for value_range in ("auto", "full", (100, 4000)):
        arrays = read_data((values, part.labels), value_range=value_range)
        files = read_data(folders[1], value_range=value_range)
        assert arrays.value_range == files.value_range
        whole = np.concatenate([pixels(each) for each in (arrays.train, arrays.validation)])
        expected = pixels(part.with_range(files.value_range))
        rows = lambda found: sorted(map(bytes, found))  # noqa: E731
        assert rows(whole) == rows(expected)


def test_a_range_holds_for_arrays_of_fractions(folders):
    grey = np.stack([picture(at, at % 2) for at in range(8)])
    labels = np.arange(8) % 2
    found = read_data((grey / 255.0, labels), value_range=(0, 1)).train
    np.testing.assert_array_equal(pixels(found), pixels(read_data((grey, labels)).train))


def test_8_bits_in_arrays_of_16_are_refused_where_all_would_be_black():
    dark = np.full((2, 8, 8), 200, np.uint16)
    with pytest.raises(InputError, match=r"uint16 with values up to 200.*as uint8"):
        read_images((dark, np.zeros(2)))


def test_12_bits_in_other_integers_are_refused_with_the_way_out():
    values = np.full((4, 8, 8), 4000, np.int64)
    with pytest.raises(InputError, match=r"from 4000 to 4000.*as uint16.*value_range=\(low, high"):
        read_data((values, [0, 0, 1, 1]))


def test_what_is_computed_of_one_range_is_not_taken_for_another(folders):
    part = read_data(folders[1]).train
    other = part.with_range((0.0, 1023.0))
    assert part.content_digest() != other.content_digest()
    eight = read_data(folders[0]).train
    assert eight.content_digest() == eight.with_range(TWELVE).content_digest()


@pytest.fixture(scope="module")
def trained(folders, tmp_path_factory):
    """A tuner of the 8-bit folder, and one of its 12-bit twin, saved and loaded."""
    run = tmp_path_factory.mktemp("run") / "twelve"
    options = {"plan": "linear_probe", "epochs": 2, "cache": "off", "check": "off"}
    eight, deep = (FineTuner(small_network(), verbose=False) for _ in folders)
    eight.fit(folders[0], **options)
    deep.fit(folders[1], out=run, **options)
    return eight, FineTuner.load(run, verbose=False), run


def test_a_run_predicts_and_evaluates_its_range_whatever_the_new_files_hold(trained, tmp_path):
    eight, deep, run = trained
    assert deep.value_range == TWELVE
    grey = picture(77, 1) // 20  # alone it would be taken for 8 bits
    Image.fromarray(grey).save(tmp_path / "eight.png")
    Image.fromarray(twelve(grey)).save(tmp_path / "twelve.png")
    expected = eight.predict(tmp_path / "eight.png").probabilities
    np.testing.assert_array_equal(deep.predict(tmp_path / "twelve.png").probabilities, expected)
    np.testing.assert_array_equal(deep.predict(tmp_path / "eight.png").probabilities, expected)
    assert json.loads((run / "run.json").read_text())["format"] == 2


def test_evaluation_is_that_of_the_8_bit_twin(trained, folders):
    eight, deep, _ = trained
    one, other = eight.evaluate(folders[0]), deep.evaluate(folders[1])
    assert one.score.confusion.tolist() == other.score.confusion.tolist()
    assert one.part == other.part == "validation"


def of_ten_bits(folder):
    """The 8-bit pictures of the folders, as of another device whose white is 1023."""
    return write(folder, lambda grey: np.rint(grey * (1023 / 255)).astype(np.uint16))


def test_images_of_another_device_are_read_by_the_range_that_is_given(trained, folders, tmp_path):
    eight, deep, _ = trained
    other, whole = of_ten_bits(tmp_path / "ten"), tmp_path / "whole"
    write(whole, lambda grey: grey.astype(np.uint16) * 257)
    expected = {tuner: tuner.predict(folders[0]).probabilities for tuner in (eight, deep)}
    for tuner, found in expected.items():
        for model in (tuner, tuner.classifier):
            again = model.predict(other, value_range=(0, 1023)).probabilities
            np.testing.assert_array_equal(again, found)
            again = model.predict(whole, value_range="full").probabilities
            np.testing.assert_array_equal(again, found)
            assert (model.predict(other).probabilities != found).any()
        one = np.zeros((2, 2), int)
        np.add.at(one, (np.repeat([0, 1], 8), found.argmax(axis=1)), 1)
        assert tuner.evaluate(other, value_range=(0, 1023)).score.confusion.tolist() == one.tolist()
        assert (
            tuner.evaluate(other, value_range=(5000, 5001)).score.confusion.tolist() != one.tolist()
        )
    with pytest.raises(InputError, match=r"value_range must be .* got \(9, 1\)"):
        deep.predict(other, value_range=(9, 1))


def test_a_file_takes_the_range_that_is_given(tmp_path, folders):
    metadata = served_models.describe(format=2, value_range=[0, 4095])
    model = OnnxClassifier(served_models.write(tmp_path / "x.onnx", metadata, weights=OF_LIGHT))
    other = of_ten_bits(tmp_path / "ten")
    expected = model.predict(folders[0]).probabilities
    found = model.predict(other, value_range=(0, 1023)).probabilities
    np.testing.assert_array_equal(found, expected)
    streamed = [each.probabilities for each in model.stream(other, value_range=(0, 1023))]
    np.testing.assert_array_equal(np.concatenate(streamed), expected)
    assert (model.predict(other).probabilities != expected).any()
    named = served_models.describe(class_names=[*CLASSES, "other"])
    judged = served_models.write(tmp_path / "y.onnx", named, weights=OF_LIGHT)
    evaluated = evaluate_file(judged, other, value_range=(0, 1023), verbose=False)
    np.testing.assert_array_equal(evaluated.predictions.probabilities, expected)
    with pytest.raises(InputError, match=r"value_range must be .* got 'bright'"):
        model.stream(other, value_range="bright")


def test_the_command_line_predicts_and_evaluates_by_a_given_range(trained, folders, tmp_path):
    _, _, run = trained
    other = of_ten_bits(tmp_path / "ten")
    exported = served_models.write(tmp_path / "x.onnx", weights=OF_LIGHT)
    for model, expected in (
        (run, eight_bits(trained[1], folders)),
        (exported, eight_bits(OnnxClassifier(exported), folders)),
    ):
        arguments = ["predict", str(model), str(other), "--value-range", "0,1023", "--json"]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout.splitlines()[-1])["predictions"]
        assert [each["probability"] for each in found] == pytest.approx(expected, abs=1e-7)
    for given, accuracy in (("0,1023", 1.0), ("5000,5001", 0.5)):
        arguments = ["evaluate", str(run), str(other), "--value-range", given, "--json"]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout.splitlines()[-1])["accuracy"] == accuracy


def eight_bits(model, folders):
    return model.predict(folders[0]).probabilities.max(axis=1)


@pytest.mark.slow
def test_an_exported_file_reads_by_the_range_of_its_run(trained, folders, tmp_path):
    _, deep, _ = trained
    result = deep.export(tmp_path / "x.onnx")
    classifier = OnnxClassifier(tmp_path / "x.onnx")
    assert classifier.metadata.value_range == TWELVE
    found, expected = classifier.predict(folders[1]), deep.predict(folders[1])
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)
    values = np.stack([twelve(picture(at, 1)) for at in range(3)])[..., None]
    twins = np.stack([picture(at, 1) for at in range(3)])[..., None]
    one, other = classifier.predict(values), classifier.predict(twins)
    np.testing.assert_array_equal(one.probabilities, other.probabilities)
    card = (tmp_path / "x.onnx.card.md") if (tmp_path / "x.onnx.card.md").exists() else result.card
    assert "0 is black and 4095 is white" in card.read_text()


def test_a_training_is_not_resumed_by_another_range(trained, folders):
    _, _, run = trained
    tuner = FineTuner(small_network(), verbose=False)
    options = {"plan": "linear_probe", "epochs": 2, "cache": "off", "check": "off"}
    with pytest.raises(RunError, match=r"value_range: \[0.0, 4095.0\] then, \[0.0, 1023.0\] now"):
        tuner.fit(folders[1], out=run, resume=True, value_range=(0, 1023), **options)


@pytest.mark.parametrize("damage", ["wide", [0], [5, 1], [0, "a"]])
def test_a_damaged_range_is_named(trained, tmp_path, damage):
    _, _, run = trained
    record = json.loads((run / "run.json").read_text())
    record["data"]["value_range"] = damage
    for each in run.iterdir():
        (tmp_path / each.name).write_bytes(each.read_bytes())
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match="damaged: its field 'data'"):
        FineTuner.load(tmp_path)


def test_a_damaged_range_of_an_exported_file_is_named():
    fields = {"format": 2, "class_names": ["a", "b"], "input_size": [8, 8], "resizing": "x"}
    text = json.dumps({**fields, "value_range": [9, 1]}).encode()
    with pytest.raises(ValueError, match=r"value_range of its metadata.*got \[9, 1\]"):
        ModelMetadata.parse(text)


def depth_findings(report):
    return [each for each in report.findings if each.kind == "bit_depth"]


def test_doctor_finds_12_bits_in_16_and_says_the_way_out(folders):
    (found,) = depth_findings(examine(folders[1]))
    assert found.severity == "warning"
    assert found.count == 16
    assert "values from 0 to 4095" in found.message
    assert "0 is black and 4095 is white" in found.advice
    assert depth_findings(examine(folders[0])) == []
    (full,) = depth_findings(examine(folders[1], value_range="full"))
    assert "up to 4,095, where 65,535 is white" in full.message
    assert "--value-range 0,4095" in full.advice


def test_doctor_sees_by_the_range_what_was_black(folders):
    one, other = inspect_data(folders[0]), inspect_data(folders[1])
    levels = [each.records["thumbnail"].astype(float) for each in (one, other)]
    assert np.abs(levels[0].mean(axis=(1, 2)) - levels[1].mean(axis=(1, 2))).max() < 3
    assert levels[1].max() > 200
    assert not [each for each in other.report.findings if each.kind == "value_range"]


def test_one_12_bit_image_among_16_is_named(tmp_path):
    root = write(tmp_path / "mixed", lambda grey: grey.astype(np.uint16) * 257)
    Image.fromarray(twelve(picture(5, 0))).save(root / "clear" / "dark.png")
    (found,) = depth_findings(examine(root))
    assert [path.endswith("dark.png") for (path,) in found.paths] == [True]
    assert found.reasons == ("values up to 4,095",)


def test_dark_colours_of_16_bits_are_found(tmp_path, monkeypatch):
    from ktransfer.doctor import inspection

    root = write(tmp_path / "colour", lambda grey: np.repeat(grey[..., None] // 16, 3, axis=-1))
    assert depth_findings(examine(root)) == []
    # Pillow writes no 16-bit colour; it reads such a file as these, and says so only in its tiles.
    monkeypatch.setattr(inspection, "raw_mode", lambda image: "RGB;16B")
    (found,) = [each for each in preflight(read_data(root)) if each.kind == "bit_depth"]
    # Made larger, a thumbnail overshoots by a level or two.
    assert re.search("16 bits a colour and nothing lighter than 1[5-8] of 255", found.message)


def test_a_training_by_the_whole_of_16_bits_is_warned(folders):
    tuner = FineTuner(small_network(), verbose=False)
    options = {"plan": "linear_probe", "epochs": 1, "cache": "off"}
    result = tuner.fit(folders[1], value_range="full", **options)
    assert any("all but black" in each.message for each in result.findings)
    result = tuner.fit(folders[1], **options)
    assert not any(each.kind == "bit_depth" for each in result.findings)
    assert any("4095 is white" in note for note in result.notes)


def test_the_command_line_takes_and_checks_the_range(folders, tmp_path):
    run = CliRunner().invoke
    shown = run(main, ["doctor", str(folders[1]), "--value-range", "full"]).output
    assert "--value-range 0,4095" in " ".join(shown.split())
    refused = run(main, ["look", str(folders[1]), "--out", "a.png", "--value-range", "9,1"])
    assert refused.exit_code == 2
    assert "'9,1' is neither auto nor full" in " ".join(refused.output.split())
