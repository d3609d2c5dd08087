"""A loaded model's export is compared on what its training held back, and not on the test part."""

import numpy as np
import pytest
from conftest import write_pictures

from ktransfer.classifier import BackboneRecord, Classifier
from ktransfer.data import read_data
from ktransfer.export.images import images_to_compare
from ktransfer.runs.seen import record_of


def classifier_of(class_names, data):
    """One that is only asked for its classes and its images."""
    record = BackboneRecord("small", "last", None, (4, 4))
    return Classifier(None, class_names, record, (), "avg", 0.0, 0, data)


@pytest.mark.parametrize("parts", [("train", "test"), ("train", "val", "test"), ()])
def test_images_of_the_recorded_data_are_those_of_validation(tmp_path, parts):
    for seed, part in enumerate(parts or ("",)):
        write_pictures(tmp_path / "photos" / part, 6, seed=seed)
    data = str(tmp_path / "photos")
    splits = read_data(data)
    part, notes = images_to_compare(
        classifier_of(splits.class_names, record_of(data, splits)), None
    )
    assert (part.name, notes) == ("validation", ())
    assert part.content_digest() == splits.validation.content_digest()


@pytest.mark.parametrize(("most", "taken"), [(12, [5, 1, 6]), (2, [1, 0, 1])])
def test_a_rare_class_is_among_the_images_to_compare(most, taken):
    labels = np.repeat([0, 1, 2], [30, 2, 30])
    data = {"test": (np.zeros((62, 4, 4, 3), np.uint8), labels)}
    part, _ = images_to_compare(classifier_of(("a", "b", "c"), {}), data, most=most)
    assert np.bincount(part.labels).tolist() == taken
