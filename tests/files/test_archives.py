"""What is looked through before a library reads it."""

import io
import zipfile

import h5py
import keras
import numpy as np
import pytest
from hostile import SECRET, hostile_models, members_of, packed
from training_networks import three_blocks

from ktransfer.files.archives import (
    DamageError,
    _as_damage,
    check_config,
    check_heaps,
    check_model_file,
    check_weights,
    read_arrays,
)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    three_blocks(dropout=0.2).save(path)
    return path


@pytest.fixture(scope="module")
def members(model_file):
    return members_of(model_file)


def archive_of(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file


def weights_of(fill):
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        fill(opened)
    return file


def test_what_keras_writes_passes_and_its_weights_are_counted(model_file):
    model = keras.models.load_model(model_file)
    counted = sum(np.asarray(each).nbytes for each in model.weights)
    assert check_model_file(model_file) == counted


@pytest.mark.parametrize(
    ("tries", "reason"),
    [
        ("a member named '../../evil'", "instead of 'config.json'"),
        ("no config.json", "instead of 'config.json'"),
        ("config.json twice", "two members of one name"),
        ("model.weights.h5 as a link", "is a link or no plain file"),
        ("compressed", "is compressed, which ours are not"),
        ("a bomb", "is compressed, which ours are not"),
        ("encrypted", "is encrypted"),
        ("weights of NumPy", "instead of 'config.json'"),
        ("a Lambda layer", "'Lambda' would run code of the file or read other files"),
        ("a vocabulary in a file", "'StringLookup' would run code of the file or read"),
        ("a class of os", "'system' of 'os' is none of Keras"),
        ("a function that downloads", "'function' of 'keras.utils' is none of Keras"),
        ("a function that loads", "'function' of 'keras.models' is none of Keras"),
        ("a configuration that nests deep", "nests more than 60 deep"),
        ("a configuration that nests too deep", "nests too deep"),
        ("a field twice", "'module' is given twice"),
        ("a link to another file", "'0' is a link that leads elsewhere"),
        ("a soft link", "'0' is a link that leads elsewhere"),
        ("an array in another file", "'0' lies in another file"),
        ("an array made of another file", "'0' lies in another file"),
        ("an array of 4 TB that is not there", "larger than what is stored of it"),
        ("groups in a circle", "go round in circles"),
        ("texts for weights", "'0' holds no numbers"),
    ],
)
def test_hostile_model_file_is_refused_for_what_it_tries(tmp_path, members, tries, reason):
    path = tmp_path / "model.keras"
    path.write_bytes(hostile_models(members)[tries]())
    with pytest.raises(DamageError, match=reason):
        check_model_file(path)


def test_external_storage_of_an_attack_really_reads_the_secret(members):
    # That the attack above is one: without the check HDF5 gives out what the other file holds.
    changed = hostile_models(members)["an array in another file"]()
    with zipfile.ZipFile(io.BytesIO(changed)) as archive:
        weights = archive.read("model.weights.h5")
    with h5py.File(io.BytesIO(weights)) as opened:
        first = (each["vars/0"] for each in opened["layers"].values() if "vars/0" in each)
        stolen = next(first)[()].tobytes()
    with open(SECRET, "rb") as file:
        assert stolen == file.read(len(stolen))


def test_class_that_the_user_registered_may_be_loaded():
    @keras.saving.register_keras_serializable("tests_of_archives")
    class Own(keras.layers.Layer):
        pass

    config = keras.saving.serialize_keras_object(Own())
    check_config(config)
    with pytest.raises(DamageError, match="'Own' of 'elsewhere' is none of Keras"):
        check_config({**config, "module": "elsewhere", "registered_name": "gone>Own"})


def test_damaged_member_is_found_by_its_checksum(tmp_path, members):
    changed = packed(members).replace(b'"filters": 4', b'"filters": 5')
    (tmp_path / "model.keras").write_bytes(changed)
    with pytest.raises(DamageError, match=r"Bad CRC-32 for file 'config\.json'"):
        check_model_file(tmp_path / "model.keras")


def test_members_that_say_to_be_larger_than_the_file_are_refused():
    file = archive_of(a=np.zeros(4), b=np.zeros(4))
    with zipfile.ZipFile(file) as archive:
        size, entries = len(file.getvalue()), archive.infolist()
    overlapping = bytearray(file.getvalue())
    at = overlapping.index(b"PK\x01\x02")
    for offset in (20, 24):  # both sizes of the first member in the directory
        overlapping[at + offset : at + offset + 4] = size.to_bytes(4, "little")
    assert len(entries) == 2
    with pytest.raises(DamageError, match="say to be larger than the file"):
        read_arrays(io.BytesIO(overlapping))


def test_arrays_are_read_back_and_nothing_is_unpickled():
    found = read_arrays(archive_of(a=np.arange(3), b=np.float32(2.5)))
    np.testing.assert_array_equal(found["a"], np.arange(3))
    assert found["b"] == np.float32(2.5)
    with pytest.raises(DamageError, match="Object arrays cannot be loaded"):
        read_arrays(archive_of(a=np.array([{}], object)))


def test_weights_that_are_packed_are_taken_and_bombs_are_not():
    random = np.random.default_rng(0).normal(size=(100, 100)).astype(np.float32)
    packed_well = weights_of(lambda each: each.create_dataset("w", data=random, compression="gzip"))
    assert check_weights(packed_well) == random.nbytes
    zeros = np.zeros((4_000, 4_000), np.float32)
    bomb = weights_of(lambda each: each.create_dataset("w", data=zeros, compression="gzip"))
    with pytest.raises(DamageError, match="far larger than the file"):
        check_weights(bomb)


def test_heap_in_which_hdf5_would_go_round_for_ever_is_refused():
    def named(opened):
        opened["w"] = np.zeros(3, np.float32)
        opened.attrs["layer_names"] = ["one", "two"]

    whole = weights_of(named)
    assert check_weights(whole) == 12
    contents = bytearray(whole.getvalue())
    start = contents.index(b"GCOL") + 16
    while int.from_bytes(contents[start : start + 2], "little"):  # up to the free space
        length = int.from_bytes(contents[start + 8 : start + 16], "little")
        start += 16 + (length + 7) // 8 * 8
    contents[start + 8 : start + 16] = bytes(8)
    with pytest.raises(DamageError, match="a heap of it is damaged"):
        check_weights(io.BytesIO(contents))
    with pytest.raises(DamageError, match="a heap of it is cut off"):
        check_heaps(bytes(contents[: start - 16]))


def test_long_cause_is_cut():
    with pytest.raises(DamageError, match=r"^x{2000} \.\.\.$"), _as_damage():
        raise ValueError("x" * 10_000)
