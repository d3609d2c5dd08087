import errno
import os

import keras
import numpy as np
import pytest
from conftest import small_network, write_pictures

from ktransfer import InputError
from ktransfer.data import image_dataset, read_folder
from ktransfer.features import allocate, compile_forward, extract, extract_part, pool


def pooled_network():
    network = small_network()
    return keras.Model(network.inputs, pool(network.output, "avg"))


def random_images(count):
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def test_compiled_forward_equals_the_model():
    model, images = pooled_network(), random_images(5)
    found = compile_forward(model)(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, model.predict(images, verbose=0), atol=1e-5)


def test_compiled_forward_keeps_the_weights_it_was_made_with():
    model, images = pooled_network(), random_images(3)
    forward = compile_forward(model)
    before = forward(images)
    for variable in model.variables:
        variable.assign(variable + 1.0)
    np.testing.assert_array_equal(forward(images), before)
    assert np.abs(compile_forward(model)(images) - before).max() > 0.1


def test_extraction_equals_the_model_on_the_decoded_images(pictures):
    part, model = read_folder(pictures).train, pooled_network()
    features, kept, failed = extract_part(compile_forward(model), part, (16, 16))
    images = np.concatenate([batch for batch, _ in image_dataset(part, (16, 16))])
    np.testing.assert_allclose(features.values, model.predict(images, verbose=0), atol=1e-5)
    np.testing.assert_array_equal(features.indices, np.arange(len(part)))
    assert kept.files == part.files
    assert failed == ()


def test_truncated_image_has_no_row_and_is_named(pictures):
    part = read_folder(pictures).train
    broken = part.files[7].path
    with open(broken, "r+b") as file:
        file.truncate(os.path.getsize(broken) // 2)
    features, kept, failed = extract_part(compile_forward(pooled_network()), part, (16, 16))
    assert [each.path for each in failed] == [broken]
    assert "truncated" in failed[0].reason
    assert len(features.values) == len(kept) == len(part) - 1
    expected = [file.path for file in part.files if file.path != broken]
    assert [file.path for file in kept.files] == expected
    np.testing.assert_array_equal(kept.labels, np.delete(part.labels, 7))


def test_features_over_the_budget_are_memory_mapped_and_equal(tmp_path):
    part = read_folder(write_pictures(tmp_path / "pictures", 40)).train
    forward = compile_forward(pooled_network())
    in_memory, _, _ = extract_part(forward, part, (16, 16), budget_mb=1)
    mapped, _, _ = extract_part(forward, part, (16, 16), budget_mb=0)
    assert in_memory.in_memory
    assert not mapped.in_memory
    np.testing.assert_array_equal(mapped.values, in_memory.values)


def test_memory_mapped_file_has_no_name_that_could_be_left_behind(tmp_path, pictures):
    part = read_folder(pictures).train
    dataset = image_dataset(part, (16, 16))
    forward = compile_forward(pooled_network())
    mapped = extract(forward, dataset, len(part), budget_mb=0, directory=tmp_path / "pictures")
    assert not mapped.in_memory
    names = sorted(each.name for each in pictures.iterdir())
    assert names == ["blue", "green", "red"]


def test_full_disk_is_an_error_before_anything_is_written(pictures, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    part, forward = read_folder(pictures).train, compile_forward(pooled_network())
    with pytest.raises(InputError, match=r"need 0 MB of disk in .*No space left.*TMPDIR"):
        extract_part(forward, part, (16, 16), budget_mb=0)


def test_progress_ends_at_the_number_of_images(pictures):
    part, seen = read_folder(pictures).train, []
    forward = compile_forward(pooled_network())
    extract_part(forward, part, (16, 16), on_progress=lambda done, of: seen.append((done, of)))
    assert seen[-1] == (len(part), len(part))
    assert seen == sorted(seen)


def test_features_are_written_where_the_caller_wants_them(pictures):
    part, forward = read_folder(pictures).train, compile_forward(pooled_network())
    dataset = image_dataset(part, (16, 16))
    target = np.full((len(part), 6), np.nan, np.float16)
    features = extract(forward, dataset, len(part), into=target)
    assert np.shares_memory(features.values, target)
    expected = extract(forward, dataset, len(part)).values
    np.testing.assert_array_equal(target, expected.astype(np.float16))


def test_what_is_allocated_is_in_memory_up_to_the_budget_and_mapped_beyond(tmp_path):
    one_mb = (2**18,)
    held = allocate(one_mb, budget_mb=1, directory=tmp_path)
    assert not isinstance(held, np.memmap)
    mapped = allocate((2**18 + 1,), budget_mb=1, directory=tmp_path)
    assert isinstance(mapped, np.memmap)
    assert (mapped.shape, mapped.dtype) == ((2**18 + 1,), np.float32)
    mapped[-1] = 3.0
    assert mapped[-1] == 3.0
    assert list(tmp_path.iterdir()) == []
    small = allocate(one_mb, np.uint8, budget_mb=0.25, directory=tmp_path)
    assert small.dtype == np.uint8
    assert not isinstance(small, np.memmap)
