"""Zip archives whose writing does not depend on the clock."""

import time
import zipfile

import keras
import numpy as np
import pytest
from conftest import small_network

from ktransfer.files.archives import check_model_file
from ktransfer.files.archiving import append_members, save_model


@pytest.fixture
def in_1970(monkeypatch):
    """The clock of a machine that has lost the time."""
    now = time.localtime(1_000.0)
    monkeypatch.setattr(time, "localtime", lambda *_: now)
    with pytest.raises(ValueError, match="1980"), zipfile.ZipFile("/dev/null", "w") as archive:
        archive.writestr("any", b"")


def test_members_are_appended_in_1970(tmp_path, in_1970):
    path = tmp_path / "archive"
    path.write_bytes(b"a file of another kind")
    append_members(path, {"a": "\u00fc", "b": b"\xff"})
    assert path.read_bytes().startswith(b"a file of another kind")
    with zipfile.ZipFile(path) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "a": b"\xc3\xbc",
            "b": b"\xff",
        }
        assert all(each.external_attr >> 16 == 0o600 for each in archive.infolist())


def test_a_model_is_saved_in_1970_as_at_any_other_time(tmp_path, in_1970):
    model, path = small_network(), tmp_path / "model.keras"
    save_model(model, path)
    assert [each.name for each in tmp_path.iterdir()] == ["model.keras"]
    assert check_model_file(path) > 0
    again = keras.models.load_model(path, compile=False)
    images = np.ones((2, 16, 16, 3), np.float32)
    np.testing.assert_array_equal(again(images), model(images))
