"""TensorFlow Datasets, offline: builders, prepared directories and names."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from conftest import write_pictures
from PIL import Image

from ktransfer.data import image_dataset, read_data, read_folder, read_images, read_labelled
from ktransfer.errors import InputError

tfds = pytest.importorskip("tensorflow_datasets")


def pixels(part):
    return [image for images, _ in image_dataset(part, (16, 16)) for image in images.numpy()]


def by_content(part, class_names):
    return sorted(
        (each.tobytes(), class_names[label])
        for each, label in zip(pixels(part), part.labels, strict=True)
    )


def jpegs(folder):
    """JPEG in place of PNG: its decoders differ, and TFDS's own would not give our pixels."""
    for file in sorted(folder.rglob("*.png")):
        with Image.open(file) as image:
            image.resize((200, 240)).save(file.with_suffix(".jpg"), quality=90)
        file.unlink()
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for at, name in enumerate(("train", "validation", "test")):
        jpegs(write_pictures(folder / name, 3, seed=at))
    return folder


@pytest.fixture(scope="module")
def prepared(photos, tmp_path_factory):
    """A data set of its own, prepared: the data directory and the builder."""

    class OwnPhotos(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        MODULE_NAME = "own"

        def _info(self):
            names = ["red", "green", "blue"]
            features = {
                "photo": tfds.features.Image(),
                "kind": tfds.features.ClassLabel(names=names),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {each: self._generate_examples(photos / each) for each in ("train", "test")}

        def _generate_examples(self, folder):
            for file in sorted(pathlib.Path(folder).rglob("*.jpg")):
                yield (
                    f"{file.parent.name}{file.name}",
                    {"photo": str(file), "kind": file.parent.name},
                )

    directory = tmp_path_factory.mktemp("tfds")
    builder = OwnPhotos(data_dir=directory)
    builder.download_and_prepare()
    return directory, builder


def test_image_folder_builder_gives_the_parts_of_the_folder(photos):
    found, expected = read_data(tfds.ImageFolder(str(photos))), read_folder(photos)
    assert found.class_names == expected.class_names
    for part, other in zip(found.parts, expected.parts, strict=True):
        assert by_content(part, found.class_names) == by_content(other, expected.class_names)


def test_prepared_data_is_read_by_builder_directory_and_name(photos, prepared, monkeypatch):
    directory, builder = prepared
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(directory))
    expected = read_folder(photos)
    first = None
    for source in (builder, builder.data_dir, "tfds:own_photos", "tfds:own_photos:1.0.0"):
        found = read_data(source)
        assert found.class_names == ("red", "green", "blue")
        assert (len(found.train), len(found.validation), len(found.test)) == (6, 3, 9)
        assert by_content(found.test, found.class_names) == by_content(
            expected.test, expected.class_names
        )
        first = first or found
        assert found.train.content_digest() == first.train.content_digest()
    # Its bytes are kept as they are, and decoded by our own decoder.
    assert {found.train.images.kind(at) for at in range(6)} == {"tensorflow"}


def test_model_of_a_folder_is_evaluated_on_tfds_by_the_names_of_classes(prepared):
    _, builder = prepared
    names = ("blue", "green", "red")
    part, _, _ = read_labelled(builder, names)
    assert part.name == "test"
    for image, label in zip(pixels(part), part.labels, strict=True):
        assert names[label] == ("red", "green", "blue")[image.reshape(-1, 3).mean(0).argmax()]
    alone, _ = read_images(builder)
    np.testing.assert_array_equal(pixels(alone), pixels(part))


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"unknown TFDS data set 'mnits': did you mean mnist"):
        read_data("tfds:mnits")
    with pytest.raises(InputError, match=r"'tfds:mnist:9\.9\.9': .*cannot be loaded at version"):
        read_data("tfds:mnist:9.9.9")


def test_builder_without_data_and_of_other_data_are_refused(tmp_path, photos):
    with pytest.raises(
        InputError, match=r"'mnist/3\.0\.1' is not prepared: call builder\.download"
    ):
        read_data(tfds.builder("mnist", data_dir=tmp_path))
    builder = tfds.ImageFolder(str(photos))
    builder.info._supervised_keys = None
    builder.info.features._feature_dict.pop("label")
    with pytest.raises(InputError, match=r"is no image classification: .* 1 of them images and 0"):
        read_data(builder)
    (tmp_path / "more" / "a").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "more" / "a" / "a.png")
    with pytest.raises(InputError, match="has the splits 'more': expected train, and perhaps"):
        read_data(tfds.ImageFolder(str(tmp_path)))


def test_labels_that_were_never_published_leave_their_part_out(prepared, monkeypatch):
    from ktransfer.data.sources import tfds

    _, builder = prepared
    plain = tfds.dataset_of

    def unlabelled(builder, split):
        dataset = plain(builder, split)
        hidden = dataset.map(lambda image, label: (image, tf.fill([], tf.cast(-1, label.dtype))))
        return hidden if split == "test" else dataset

    monkeypatch.setattr(tfds, "dataset_of", unlabelled)
    found = read_data(builder)
    assert found.test is None
    assert any(note.endswith("test has no labels: not used") for note in found.notes)
