"""What the stages read: equal to what the network says, found again by content, never stale."""

import errno
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import write_pictures
from training_networks import (
    SIZE,
    all_values,
    make_plan,
    make_stage,
    network_of,
    source_of,
    three_blocks,
    training_of,
    two_tensor_cells,
)

from ktransfer import InputError, RunError
from ktransfer.augment import augment, source_size, view_seed
from ktransfer.cache import Store
from ktransfer.data import image_dataset, read_folder
from ktransfer.data.batches.streaming import ImageRows
from ktransfer.features import NoSpaceError, Views, allocate
from ktransfer.features import forward as features
from ktransfer.features import network as network_module
from ktransfer.features import row_target as target_module
from ktransfer.features import rows as rows_module
from ktransfer.features import views as views_module
from ktransfer.freezing import digest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("rows") / "pictures", 8)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def images_of(part, size=SIZE):
    return np.concatenate([images for images, _ in image_dataset(part, size)])


def directly(source, cut, images):
    """What the ordinary Keras model of the first blocks says."""
    return np.asarray(source.network.prefix(cut)(tf.cast(images, "float32"), training=False))


def forbid_running(monkeypatch):
    def fail(model):
        raise AssertionError("the network ran")

    monkeypatch.setattr(rows_module, "compile_forward", fail)


def found_in(store, folder, monkeypatch, *, part="train", cut=2, views=rows_module.PLAIN, **make):
    """Whether the store has the rows: whether they come without running the network."""
    with monkeypatch.context() as patch:
        forbid_running(patch)
        try:
            source_of(folder, store=store, **make).rows(part, cut, views)
        except AssertionError:
            return False
    return True


# What rows are.


def test_rows_at_every_cut_are_what_the_network_says(folder):
    source = source_of(folder)
    images = images_of(source.splits.train)
    np.testing.assert_array_equal(source.rows("train", 0), images)
    for cut in (3, 1, 2):
        np.testing.assert_allclose(
            source_of(folder).rows("train", cut), directly(source, cut, images), atol=1e-5
        )


def test_rows_made_of_earlier_rows_equal_those_made_of_images(folder, monkeypatch):
    source, images = source_of(folder), source_of(folder).rows("train", 0)
    source.rows("train", 1)
    monkeypatch.setattr(features, "image_dataset", None)  # no image is decoded again
    for cut in (2, 3):
        np.testing.assert_allclose(
            source.rows("train", cut), directly(source, cut, images), atol=1e-5
        )


@pytest.mark.parametrize("before", [0, 1])
def test_rows_of_two_tensor_cuts_are_packed_and_unpacked(folder, before):
    network = network_of(two_tensor_cells())
    source = source_of(folder, network)
    images = images_of(source.splits.train)
    if before:
        source.rows("train", before)
    last = network.num_blocks
    found = source.rows("train", 2)
    assert found.ndim == 2
    tensors = [np.asarray(each) for each in network.backbone.prefix(2)(tf.cast(images, "float32"))]
    flat = np.concatenate([each.reshape(len(images), -1) for each in tensors], axis=1)
    np.testing.assert_allclose(found, flat, atol=1e-5)
    np.testing.assert_allclose(
        source.rows("train", last), directly(source, last, images), atol=1e-5
    )


def test_rows_are_made_once(folder, monkeypatch):
    source = source_of(folder)
    first = source.rows("train", 2)
    forbid_running(monkeypatch)
    assert source.rows("train", 2) is first


def test_rows_at_cuts_to_keep_are_kept_on_the_way_and_read_by_the_next(folder, store, monkeypatch):
    images = images_of(source_of(folder).splits.train)
    source = source_of(folder, store=store, kept=(1, 2))
    np.testing.assert_allclose(
        source.rows("train", 3), directly(source, 3, images), atol=1e-5, rtol=1e-5
    )
    assert found_in(store, folder, monkeypatch, cut=1)
    assert found_in(store, folder, monkeypatch, cut=2)
    assert not found_in(store, folder, monkeypatch, cut=2, part="validation")
    # Another process decodes nothing: it goes on from block 1.
    again = source_of(folder, store=store, kept=(1,))
    monkeypatch.setattr(features, "image_dataset", None)
    shutil.rmtree(store.folder / again._key("train", 2, rows_module.PLAIN))
    np.testing.assert_allclose(
        again.rows("train", 2), directly(source, 2, images), atol=1e-5, rtol=1e-5
    )


def test_views_go_on_from_their_kept_rows(folder, store, monkeypatch):
    views = Views("light", 2, 5)
    expected = source_of(folder).rows("train", 2, views)
    source_of(folder, store=store, kept=(1,)).rows("train", 1, views)
    monkeypatch.setattr(views_module, "augment", None)
    found = source_of(folder, store=store, kept=(1,)).rows("train", 2, views)
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


def test_float16_rows_take_half_the_space_and_are_close(folder):
    exact, half = source_of(folder), source_of(folder, dtype="float16")
    found = half.rows("train", 2)
    assert found.dtype == np.float16
    assert half.itemsize * 2 == exact.itemsize == 4
    np.testing.assert_allclose(found, exact.rows("train", 2), rtol=1e-3, atol=1e-4)
    assert half.rows("train", 0).dtype == np.uint8


def test_without_a_memory_budget_rows_are_mapped_and_equal(folder, store):
    expected = source_of(folder).rows("train", 2)
    for where in (None, store, store):  # without a store, into one, out of one
        found = source_of(folder, store=where, budget_mb=0).rows("train", 2)
        assert isinstance(found, np.memmap)
        np.testing.assert_array_equal(found, expected)
    assert not isinstance(expected, np.memmap)


def test_memory_that_rows_take_is_no_longer_free(folder):
    source = source_of(folder, budget_mb=1)
    assert source.memory_left_mb() == 1
    rows = source.rows("train", 1)
    assert source.memory_left_mb() == pytest.approx(1 - rows.nbytes / 2**20)


# Views.


@pytest.mark.parametrize("augmentation", ["light", "standard"])
def test_views_are_those_rendered_one_by_one_first_view_first(folder, store, augmentation):
    source = source_of(folder, store=store)
    part, views = source.splits.train, Views(augmentation, 3, seed=5)
    originals = images_of(part, source_size(augmentation, SIZE))
    rendered = [
        augment(original, view_seed(5, row, view), augmentation, SIZE)
        for view in range(3)
        for row, original in enumerate(originals)
    ]
    expected = directly(source, 1, np.stack(rendered))
    np.testing.assert_allclose(source.rows("train", 1, views), expected, atol=1e-5)
    # And the same out of the store, with the labels of one view.
    again = source_of(folder, store=store)
    np.testing.assert_allclose(again.rows("train", 1, views), expected, atol=1e-5)
    assert len(again.splits.train) == len(part)


def test_views_are_found_in_the_store_again(folder, store, monkeypatch):
    views = Views("light", 2, seed=5)
    source_of(folder, store=store).rows("train", 2, views)
    assert found_in(store, folder, monkeypatch, views=views)
    for other in (Views("light", 3, 5), Views("light", 2, 6), Views("strong", 2, 5)):
        assert not found_in(store, folder, monkeypatch, views=other)


# The store.


def test_a_second_source_finds_the_rows_and_runs_nothing(folder, store, monkeypatch):
    expected = {cut: source_of(folder, store=store).rows("train", cut) for cut in (0, 2, 3)}
    forbid_running(monkeypatch)
    for cut, rows in expected.items():
        found = source_of(folder, store=store).rows("train", cut)
        np.testing.assert_array_equal(found, rows)


def test_a_copy_of_the_folder_is_the_same_images(folder, store, monkeypatch, tmp_path):
    source_of(folder, store=store).rows("train", 2)
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert found_in(store, tmp_path / "elsewhere", monkeypatch)


def test_one_other_picture_is_other_images(folder, store, monkeypatch, tmp_path):
    source_of(folder, store=store).rows("train", 2)
    copy = shutil.copytree(folder, tmp_path / "copy")
    file = read_folder(copy).train.files[3].path
    other = next(each for each in read_folder(copy).train.files if each.path != file)
    shutil.copy(other.path, file)
    assert not found_in(store, copy, monkeypatch)


def test_one_other_weight_of_the_prefix_is_another_network(folder, store, monkeypatch):
    source_of(folder, store=store).rows("train", 2)

    def nudged(at):
        model = three_blocks()
        weight = model.weights[at]
        values = np.array(weight)
        values.flat[0] = np.nextafter(values.flat[0], np.inf)
        weight.assign(values)
        return network_of(model)

    prefix = len(network_of(three_blocks()).backbone.prefix(2).weights)
    assert found_in(store, folder, monkeypatch, network=nudged(prefix))  # of the third block
    for at in range(prefix):
        assert not found_in(store, folder, monkeypatch, network=nudged(at))


def test_other_settings_are_other_rows(folder, store, monkeypatch):
    source_of(folder, store=store).rows("train", 2)
    assert found_in(store, folder, monkeypatch)
    assert found_in(store, folder, monkeypatch, network=network_of(three_blocks(), pooling="max"))
    assert not found_in(store, folder, monkeypatch, cut=1)
    assert not found_in(store, folder, monkeypatch, cut=3)
    assert not found_in(store, folder, monkeypatch, part="validation")
    assert not found_in(store, folder, monkeypatch, dtype="float16")
    assert not found_in(store, folder, monkeypatch, seed=1)  # another split
    assert not found_in(store, folder, monkeypatch, network=network_of(three_blocks(size=18)))


def test_same_weights_in_another_structure_are_another_network(folder, store, monkeypatch):
    source_of(folder, store=store).rows("train", 2)
    dropped = network_of(three_blocks(dropout=0.1))
    assert not found_in(store, folder, monkeypatch, network=dropped)
    source_of(folder, store=store).rows("train", 3)
    assert not found_in(
        store, folder, monkeypatch, cut=3, network=network_of(three_blocks(), pooling="max")
    )


def test_a_damaged_entry_is_made_anew(folder, store, monkeypatch):
    expected = source_of(folder, store=store).rows("train", 2)
    (values,) = store.folder.glob("*/values.bin")
    damaged = bytearray(values.read_bytes())
    damaged[100] ^= 1
    values.write_bytes(damaged)
    assert not found_in(store, folder, monkeypatch)
    np.testing.assert_array_equal(source_of(folder, store=store).rows("train", 2), expected)
    assert found_in(store, folder, monkeypatch)


def test_without_a_usable_store_rows_come_all_the_same_with_one_note(folder, tmp_path):
    expected = source_of(folder).rows("train", 2)
    source = source_of(folder, store=Store(tmp_path / "store", limit_mb=0))
    np.testing.assert_array_equal(source.rows("train", 2), expected)
    source.rows("validation", 2)
    (note,) = source.notes
    assert note.startswith("nothing is kept for later runs: the cache")
    assert "limit 0.0 MB" in note
    assert not (tmp_path / "store").exists()


# What trains is never stale.


@pytest.mark.parametrize("kept", [None, "store"])
def test_rows_behind_what_has_trained_are_the_new_ones(folder, kept, store):
    plan = make_plan(make_stage(unfreeze=1, learning_rate=0.1))
    training = training_of(plan, folder, store=store if kept else None)
    source = training.source
    before = np.array(source.rows("train", 3))
    images = source.rows("train", 0)
    training.run()
    after = source.rows("train", 3)
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_allclose(after, directly(source, 3, images), atol=1e-5)
    # What lies in front of the block that trained is still held.
    np.testing.assert_allclose(source.rows("train", 2), directly(source, 2, images), atol=1e-5)


# Images that cannot be read.


@pytest.fixture
def damaged(tmp_path):
    """A folder of which two training images and one validation image are cut short."""
    folder = write_pictures(tmp_path / "damaged", 8)
    splits = read_folder(folder)
    broken = [splits.train.files[at].path for at in (2, 9)] + [splits.validation.files[1].path]
    for path in broken:
        os.truncate(path, os.path.getsize(path) // 2)
    return folder, sorted(broken)


@pytest.mark.parametrize("cut", [0, 2])
def test_unreadable_images_are_dropped_with_their_labels_and_named(damaged, store, cut):
    folder, broken = damaged
    whole = read_folder(folder)
    for _ in range(2):  # made, then found in the store
        source = source_of(folder, store=store)
        rows = {name: source.rows(name, cut) for name in ("validation", "train")}
        assert sorted(each.path for each in source.splits.skipped) == broken
        assert all("truncated" in each.reason for each in source.splits.skipped)
        for part, then in zip(source.splits.parts, whole.parts, strict=False):
            kept = [at for at, each in enumerate(then.files) if each.path not in broken]
            np.testing.assert_array_equal(part.labels, then.labels[kept])
            assert [each.path for each in part.files] == [then.files[at].path for at in kept]
            images = images_of(part)
            expected = directly(source, cut, images) if cut else images
            np.testing.assert_allclose(rows[part.name], expected, atol=1e-5)


def test_views_of_what_can_be_read_only(damaged, store):
    folder, _ = damaged
    source = source_of(folder, store=store)
    views = Views("light", 2)
    rows = source.rows("train", 1, views)
    assert len(rows) == 2 * len(source.splits.train) == 2 * 16
    again = source_of(folder, store=store)
    np.testing.assert_array_equal(again.rows("train", 1, views), rows)
    assert again.splits.train.files == source.splits.train.files


def test_an_image_deleted_between_two_passes_is_an_error(tmp_path):
    folder = write_pictures(tmp_path / "pictures", 8)
    source = source_of(folder)
    source.rows("train", 2)
    os.unlink(source.splits.train.files[4].path)
    with pytest.raises(InputError, match=r"the train part changed .*00.\.png' \(does not exist\)"):
        source.rows("train", 1)


@pytest.mark.parametrize("cut", [0, 2])
@pytest.mark.parametrize("what", ["replaced", "deleted"])
def test_what_changes_between_digest_and_decoding_is_kept_nowhere(tmp_path, store, cut, what):
    folder = write_pictures(tmp_path / "pictures", 8)
    source = source_of(folder, store=store)
    path = Path(source.splits.train.files[-1].path)
    expected, content = source_of(folder).rows("train", cut), path.read_bytes()
    path.unlink()
    if what == "replaced":
        shutil.copy(source.splits.train.files[0].path, path)
    said = {"replaced": "its bytes are not those of before", "deleted": "does not exist"}[what]
    with pytest.raises(InputError, match=rf"train part changed .*{path}' \({said}\)"):
        source.rows("train", cut)
    path.write_bytes(content)
    np.testing.assert_array_equal(source_of(folder, store=store).rows("train", cut), expected)


def test_what_is_put_back_while_images_are_decoded_is_read_again(tmp_path, store, monkeypatch):
    folder = write_pictures(tmp_path / "pictures", 8)
    source, expected = source_of(folder, store=store), source_of(folder).rows("train", 2)
    path, extract, passes = source.splits.train.files[5].path, features.extract, []

    def extract_while_a_file_is_away(*arguments, **options):
        passes.append(len(passes))
        if passes == [0]:
            os.rename(path, tmp_path / "away")
        try:
            return extract(*arguments, **options)
        finally:
            if passes == [0]:
                os.rename(tmp_path / "away", path)

    monkeypatch.setattr(features, "extract", extract_while_a_file_is_away)
    np.testing.assert_array_equal(source.rows("train", 2), expected)
    assert passes == [0, 1]
    np.testing.assert_array_equal(source_of(folder, store=store).rows("train", 2), expected)


def test_an_image_that_flickers_for_ever_is_an_error(folder, monkeypatch):
    monkeypatch.setattr(features, "decodable", lambda part, lost, size: np.array([4]))
    with pytest.raises(InputError, match=r"006.png' cannot be read at one moment and can be at"):
        source_of(folder).rows("train", 1)


def test_an_entry_that_lacks_an_image_that_can_be_read_is_made_anew(folder, store):
    source = source_of(folder, store=store)
    expected = source_of(folder).rows("train", 2)
    key, kept = source._key("train", 2, rows_module.PLAIN), np.delete(np.arange(18), 7)
    with store.create(key, expected.shape, "float32", {}) as draft:
        draft.values[:17] = expected[kept]
        draft.commit(17, kept, budget_mb=1)
    np.testing.assert_array_equal(source.rows("train", 2), expected)
    (remark,) = store.remarks
    assert "was incomplete and is deleted: it lacks 1 of 18 images that can be read" in remark
    assert source.splits.train.files[7].path in remark
    np.testing.assert_array_equal(source_of(folder, store=store).rows("train", 2), expected)
    assert len(store.remarks) == 1


def test_a_class_without_a_readable_image_is_an_error(tmp_path, store):
    folder = write_pictures(tmp_path / "pictures", 4)
    for file in [*sorted((folder / "blue").iterdir())[:2], *(folder / "red").iterdir()]:
        os.truncate(file, 700)
    for _ in range(2):  # also where the store knows already
        with pytest.raises(
            InputError, match=r"no training image of class 'red' .*red/00.*truncated"
        ):
            source_of(folder, store=store).rows("train", 1)


# Weights at rest.


def count_digested(monkeypatch):
    """The paths of the weights that are digested for rows from now on, one after the other."""
    digested = []

    def counting(variables):
        digested.extend(each.path for each in variables)
        return digest(variables)

    monkeypatch.setattr(network_module, "digest", counting)
    return digested


def test_weights_at_rest_are_digested_once_and_any_others_before_every_use(folder, monkeypatch):
    source = source_of(folder)
    digested = count_digested(monkeypatch)
    with source.weights_at_rest():
        for cut in (1, 2, 1):
            source.rows("train", cut)
            source.forward(0, cut)
    assert len(digested) == len(set(digested)) == len(source.network.prefix(2).weights)
    first = source.rows("train", 2)
    kernel = source.network.prefix(1).weights[0]
    kernel.assign(kernel + 1.0)
    assert np.abs(source.rows("train", 2) - first).max() > 1e-3


def test_rows_of_a_stage_are_those_of_the_weights_that_its_proof_begins_with(folder, monkeypatch):
    training = training_of(make_plan(make_stage(), make_stage(name="two", unfreeze=1)), folder)
    digested = count_digested(monkeypatch)
    assert [result.proof.moved for result in training.run()] == [(), ()]
    assert digested == []
    training.logits("validation")  # and before any later use they are digested anew
    assert len(digested) == len(training.network.prefix(2).weights)


# Images that there is no room for.


@pytest.fixture
def no_room(monkeypatch):
    """A disk that has room for rows of blocks, but not for decoded images."""

    def allocate_rows(shape, dtype="float32", **options):
        if dtype == "uint8":
            raise NoSpaceError("the features need 7 MB of disk in /tmp: No space left on device")
        return allocate(shape, dtype, **options)

    monkeypatch.setattr(target_module, "allocate", allocate_rows)


def test_images_without_room_are_streamed_and_a_note_says_so(damaged, no_room):
    folder, broken = damaged
    source = source_of(folder, budget_mb=64)
    rows = source.rows("train", 0)
    assert isinstance(rows, ImageRows)
    np.testing.assert_array_equal(rows[:], images_of(source.splits.train))
    assert len(rows) == len(source.splits.train) == 16
    named = {each.path for each in source.splits.skipped}
    assert len(named) == 2
    assert named < set(broken)
    (note,) = source.notes
    assert "decoded train images are kept nowhere and decoded anew in every epoch: " in note
    assert "need 7 MB" in note
    assert source.memory_left_mb() == 64


def test_rows_behind_streamed_images_are_what_the_network_says(folder, no_room):
    source = source_of(folder)
    streamed = source.rows("train", 0)
    np.testing.assert_allclose(source.rows("train", 2), directly(source, 2, streamed[:]), atol=1e-5)


def test_rows_of_blocks_without_room_are_an_error(folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(NoSpaceError, match=r"need 0 MB of disk in .*No space left"):
        source_of(folder, budget_mb=0).rows("train", 2)


def test_streamed_training_ends_with_the_weights_of_a_held_one(folder, monkeypatch):
    plan = make_plan(make_stage(unfreeze=1, augmentation="standard"))

    def trained():
        training = training_of(plan, folder, cache="off")
        training.run()
        return training, all_values(training.network), training.logits("validation")

    _, weights, classes = trained()

    def nowhere(*_, **__):
        raise NoSpaceError("full")

    monkeypatch.setattr(target_module, "allocate", nowhere)
    streamed, streamed_weights, streamed_classes = trained()
    assert isinstance(streamed.source.sources("train", "standard"), ImageRows)
    np.testing.assert_array_equal(classes, streamed_classes)
    for one, other in zip(weights, streamed_weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_streamed_image_that_vanishes_in_training_is_named(tmp_path, no_room, part):
    folder = write_pictures(tmp_path / "pictures", 8)
    splits = read_folder(folder)
    path = {each.name: each for each in splits.parts}[part].files[1].path
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: os.unlink(path))
    stage = make_stage(unfreeze="all", epochs=4)
    training = training_of(make_plan(stage), folder, cache="off", callbacks=[watch])
    with pytest.raises(RunError, match=rf"cannot be read now: '{path}': does not exist"):
        training.run()


@pytest.mark.parametrize(("augmentation", "budget_mb"), [("none", 0), ("standard", 64)])
def test_held_images_are_decoded_once_and_then_read_as_pixels(tmp_path, augmentation, budget_mb):
    """Without the cache every epoch needs pixels: they come though all files are gone."""
    folder = write_pictures(tmp_path / "pictures", 8)
    stage = make_stage(unfreeze=1, augmentation=augmentation, epochs=3)
    epochs = []

    def delete(epoch, logs):
        epochs.append(epoch)
        shutil.rmtree(folder, ignore_errors=True)

    watch = keras.callbacks.LambdaCallback(on_epoch_end=delete)
    training = training_of(
        make_plan(stage), folder, cache="off", callbacks=[watch], budget_mb=budget_mb
    )
    training.run()
    assert epochs == [0, 1, 2]
    rows = training.source.sources("train", augmentation)
    assert rows.dtype == np.uint8
    assert isinstance(rows, np.memmap) == (budget_mb == 0)
