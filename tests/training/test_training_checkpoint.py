"""The state of a training on disk: whole or not at all."""

import errno
import json
import os
import zipfile

import numpy as np
import pytest

from ktransfer import RunError
from ktransfer.training import Checkpoints
from ktransfer.training import checkpoint as checkpoint_module

ARRAYS = {
    "network/0": np.arange(12, dtype=np.float32).reshape(3, 4),
    "optimizer/0": np.array(7, np.int64),
    "generators/0": np.array([3, 2**31 + 5], np.uint32),
    "half": np.array([1.5, -0.0, np.nan], np.float16),
}
PLAIN = {"epoch": 3, "lowest_loss": 0.1 + 0.2, "nothing": None, "words": ["ü", "b"]}


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "run")


def numbered(number):
    return {"weights": np.full(3, number, np.float32)}, {"epoch": number}


def epoch_of(found):
    arrays, plain = found
    np.testing.assert_array_equal(arrays["weights"], np.full(3, plain["epoch"], np.float32))
    return plain["epoch"]


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_is_saved_is_loaded_bit_for_bit(checkpoints):
    checkpoints.save(ARRAYS, PLAIN)
    arrays, plain = Checkpoints(checkpoints.folder.parent).load()
    assert plain == PLAIN
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()


def test_nothing_is_pickled(checkpoints):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        checkpoints.save({"bad": np.array([{}], object)}, {})
    checkpoints.save(ARRAYS, PLAIN)
    with zipfile.ZipFile(checkpoints.folder / "state.npz") as archive:
        assert all(name.endswith(".npy") for name in archive.namelist())


def test_infinite_and_missing_figures_survive(checkpoints):
    checkpoints.save({}, {"lowest_loss": float("inf"), "start": None})
    _, plain = checkpoints.load()
    assert plain == {"lowest_loss": float("inf"), "start": None}


def test_before_the_first_save_there_is_nothing(checkpoints):
    assert checkpoints.load() is None
    assert checkpoints.read_request() is None
    assert not checkpoints.folder.exists()


def test_the_newest_state_is_loaded_and_the_one_before_kept(checkpoints):
    for number in (1, 2, 3):
        checkpoints.save(*numbered(number))
    assert epoch_of(checkpoints.load()) == 3
    assert sorted(os.listdir(checkpoints.folder)) == ["state.npz", "state.previous.npz"]
    (checkpoints.folder / "state.npz").unlink()  # a kill between the two renames
    assert epoch_of(checkpoints.load()) == 2


def test_damage_anywhere_leads_to_the_state_before_or_changes_nothing(checkpoints):
    checkpoints.save(*numbered(1))
    checkpoints.save(*numbered(2))
    path = checkpoints.folder / "state.npz"
    whole = path.read_bytes()
    found = []
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        found.append(epoch_of(checkpoints.load()))
    # Some bytes of a zip file say nothing, such as the times of its members.
    assert set(found) == {1, 2}
    assert found.count(1) > len(whole) / 2


@pytest.mark.parametrize("bit", range(8))
def test_flipped_bits_lead_to_the_state_before_or_change_nothing(checkpoints, bit):
    checkpoints.save(*numbered(1))
    checkpoints.save(*numbered(2))
    path = checkpoints.folder / "state.npz"
    whole = path.read_bytes()
    for at in range(bit, len(whole), 5):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
        assert epoch_of(checkpoints.load()) in (1, 2)


def test_a_state_cut_short_leads_to_the_state_before(checkpoints):
    checkpoints.save(*numbered(1))
    checkpoints.save(*numbered(2))
    path = checkpoints.folder / "state.npz"
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert epoch_of(checkpoints.load()) == 1


def test_a_state_of_another_version_leads_to_the_one_before(checkpoints, monkeypatch):
    checkpoints.save(*numbered(1))
    monkeypatch.setattr(checkpoint_module, "FORMAT", 2)
    checkpoints.save(*numbered(2))
    monkeypatch.undo()
    assert epoch_of(checkpoints.load()) == 1


def test_two_damaged_states_are_an_error_that_names_both(checkpoints):
    checkpoints.save(*numbered(1))
    checkpoints.save(*numbered(2))
    for name in ("state.npz", "state.previous.npz"):
        (checkpoints.folder / name).write_bytes(b"no archive")
    with pytest.raises(RunError, match=r"damaged \(state\.npz: .*; state\.previous\.npz: .*start"):
        checkpoints.load()


def test_a_request_is_read_back(checkpoints):
    request = {"data": {"train": {"images": 3}}, "classes": ["a", "b\udcff"]}
    checkpoints.write_request(request)
    read = checkpoints.read_request()
    assert read["data"] == request["data"]
    assert read["format"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 2}', r"request\.json has format 2; this version of ktransfer reads 1"),
        ('{"form', r"request\.json is damaged: "),
        ("{}", r"request\.json is damaged: 'format'"),
        ("[1]", r"request\.json is damaged: "),
        ("[" * 100_000, r"request\.json is damaged: "),
    ],
)
def test_a_request_that_is_none_is_an_error(checkpoints, text, message):
    checkpoints.write_request({})
    (checkpoints.folder / "request.json").write_text(text)
    with pytest.raises(RunError, match=message):
        checkpoints.read_request()


@pytest.mark.parametrize("where", [(os, "fsync"), (np, "savez")], ids=["fsync", "savez"])
def test_a_full_disk_is_an_error_and_leaves_the_old_states(checkpoints, monkeypatch, where):
    checkpoints.save(*numbered(1))
    checkpoints.save(*numbered(2))
    monkeypatch.setattr(*where, full_disk)
    with pytest.raises(
        RunError, match=r"could not be written to .*No space left.*one before is wh"
    ):
        checkpoints.save(*numbered(3))
    monkeypatch.undo()
    assert epoch_of(checkpoints.load()) == 2
    checkpoints.save(*numbered(4))
    assert epoch_of(checkpoints.load()) == 4


def test_half_a_state_does_not_keep_a_full_disk_full(checkpoints, monkeypatch):
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(RunError, match=r"No space left on device\. Free some space and resume"):
        checkpoints.save(*numbered(1))
    with pytest.raises(RunError, match="No space left on device"):
        checkpoints.write_request({"seed": 1})
    assert os.listdir(checkpoints.folder) == []


def test_a_request_on_a_full_disk_is_an_error(checkpoints, monkeypatch):
    checkpoints.write_request({"seed": 1})
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(RunError, match=r"could not be written to .*No space left"):
        checkpoints.write_request({"seed": 2})
    assert json.loads((checkpoints.folder / "request.json").read_text())["seed"] == 1


def test_a_place_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(RunError, match=r"could not be written to .*Not a directory"):
        Checkpoints(tmp_path / "run").save({}, {})


def test_saving_takes_at_most_a_twentieth_of_the_time(checkpoints, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(checkpoint_module.time, "perf_counter", lambda: clock[0])

    def slow_sync(_):
        clock[0] += 2.0

    monkeypatch.setattr(os, "fsync", slow_sync)
    assert checkpoints.is_due()
    checkpoints.save(*numbered(1))
    assert not checkpoints.is_due()
    clock[0] += 39.9
    assert not checkpoints.is_due()
    clock[0] += 0.2
    assert checkpoints.is_due()


def test_forgotten_states_are_gone_and_what_is_not_ours_stays(checkpoints):
    checkpoints.write_request({})
    for number in (1, 2):
        checkpoints.save(*numbered(number))
    (checkpoints.folder / "command.json").touch()
    checkpoints.forget()
    assert checkpoints.load() is None
    assert checkpoints.read_request() is None
    assert os.listdir(checkpoints.folder) == ["command.json"]


def test_removing_leaves_no_folder_and_can_be_done_twice(checkpoints):
    checkpoints.write_request({})
    checkpoints.save(*numbered(1))
    checkpoints.remove()
    assert not checkpoints.folder.exists()
    checkpoints.remove()
