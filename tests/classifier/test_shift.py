"""Evaluation under shift, against corrupting the decoded images one by one."""

import numpy as np
import pytest
from conftest import small_network, write_pictures
from PIL import Image

from ktransfer import FineTuner
from ktransfer.augment import CORRUPTIONS, STRENGTHS, corrupt, view_seed
from ktransfer.classifier.shift import predict_under_shift
from ktransfer.data import image_dataset, read_part

NAMES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("shift") / "pictures", 7)


def mean_colours(images):
    """Something that every corruption changes: the mean of each channel in a corner."""
    return np.asarray(images, np.float32)[:, :5, :5].mean(axis=(1, 2))


def test_every_version_is_the_decoded_image_corrupted_on_its_own(folder):
    part, _, _ = read_part(folder, NAMES)
    seen = []

    def forward(images):
        seen.append(images)
        return mean_colours(images)

    found = predict_under_shift(forward, part, (16, 12))
    images = np.concatenate([batch for batch, _ in image_dataset(part, (16, 12))])
    np.testing.assert_array_equal(found.indices, np.arange(21))
    np.testing.assert_allclose(found.plain, mean_colours(images), atol=1e-6)
    versions = np.concatenate(seen).reshape(21, 13, 16, 12, 3)
    np.testing.assert_array_equal(versions[:, 0], images)
    assert list(found.corrupted) == ["grey", "blur", "noise", "colour_shift"]
    at = 1
    for name in CORRUPTIONS:
        for row, strength in enumerate(STRENGTHS):
            made = [
                corrupt(image, name, strength, view_seed(0, index, 0)).numpy()
                for index, image in enumerate(images)
            ]
            # A graph adds up in another order now and then.
            np.testing.assert_allclose(versions[:, at].astype(int), made, atol=1)
            classes = mean_colours(versions[:, at]).argmax(axis=1)
            np.testing.assert_array_equal(found.corrupted[name][row], classes)
            at += 1


def test_only_a_few_images_are_held_at_a_time(folder):
    sizes = []
    part, _, _ = read_part(folder, NAMES)
    predict_under_shift(
        lambda images: sizes.append(len(images)) or mean_colours(images), part, (16, 16)
    )
    assert max(sizes) <= 32
    assert sum(sizes) == 21 * 13


def test_what_cannot_be_decoded_is_left_out_of_every_version(tmp_path):
    folder = write_pictures(tmp_path / "pictures", 4)
    whole = (folder / "blue" / "001.png").read_bytes()
    (folder / "blue" / "001.png").write_bytes(whole[: len(whole) // 2])
    tuner = FineTuner(small_network(), verbose=False)
    tuner.fit(write_pictures(tmp_path / "train", 8), epochs=2)
    found = tuner.evaluate(folder, corruptions=True)
    assert found.score.num_images == 11
    assert [each.path for each in found.skipped] == [str(folder / "blue" / "001.png")]
    assert {each.num_images for row in found.corruptions.values() for each in row} == {11}


@pytest.fixture(scope="module")
def tuner(tmp_path_factory):
    tuner = FineTuner(small_network(), verbose=False)
    tuner.fit(write_pictures(tmp_path_factory.mktemp("train") / "pictures", 20), epochs=30)
    return tuner


def test_plain_figures_are_those_without_corruptions(tuner, folder):
    plain, both = tuner.evaluate(folder), tuner.evaluate(folder, corruptions=True)
    assert both.score.to_dict() == plain.score.to_dict()
    assert plain.corruptions is None
    assert plain.mean_corruption_accuracy is None
    assert plain.to_dict()["corruptions"] is None


def test_accuracy_of_a_corruption_is_that_of_a_folder_of_corrupted_files(tuner, folder, tmp_path):
    found = tuner.evaluate(folder, corruptions=True)
    part, _, _ = read_part(folder, NAMES)
    ((images, _),) = image_dataset(part, (16, 16))
    for index, image in enumerate(images):
        made = corrupt(image, "grey", 3, view_seed(0, index, 0)).numpy()
        place = tmp_path / NAMES[part.labels[index]]
        place.mkdir(exist_ok=True)
        Image.fromarray(made).save(place / f"{index}.png")
    assert found.corruptions["grey"][2].accuracy == tuner.evaluate(tmp_path).accuracy
    # Colours are all that tells these classes.
    assert found.corruptions["grey"][2].accuracy < found.accuracy


def test_it_serialises_with_figures_for_every_strength(tuner, folder):
    found = tuner.evaluate(folder, corruptions=True)
    data = found.to_dict()
    rows = [row for name in CORRUPTIONS for row in data["corruptions"][name]]
    assert [row["strength"] for row in rows] == [1, 2, 3] * 4
    assert data["mean_corruption_accuracy"] == pytest.approx(np.mean([r["accuracy"] for r in rows]))
    for row in rows:
        assert row["interval"][0] <= row["accuracy"] <= row["interval"][1]


def test_the_same_pixels_are_judged_every_time(tuner, folder):
    one, other = (tuner.evaluate(folder, corruptions=True).to_dict() for _ in range(2))
    assert one == other


def test_none_readable_is_the_same_error_as_without(tuner, tmp_path):
    folder = write_pictures(tmp_path / "pictures", 1)
    for file in folder.glob("*/*.png"):
        file.write_bytes(file.read_bytes()[:400])
    with pytest.raises(ValueError, match=r"none of the 3 images of the data can be decoded"):
        tuner.evaluate(folder, corruptions=True)
