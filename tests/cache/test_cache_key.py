"""Keys of entries, and where a store lies."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from cache_entries import KEY

from ktransfer import InputError
from ktransfer.cache import CacheUnavailable, Store, content_key, default_folder


def test_key_is_the_same_on_every_machine_and_day():
    found = content_key(network="small", cut=3, size=(16, 16), mean=[0.5, None, True], more={})
    text = (
        '{"format":1,"parts":{"cut":3,"mean":[0.5,null,true],"more":{},"network":"small",'
        '"size":[16,16]}}'
    )
    expected = subprocess.run(["sha256sum"], input=text, capture_output=True, text=True, check=True)
    assert found == expected.stdout.split()[0]
    assert found == "50a81db3f0288dc60ea15f803ef07cf6dec397e8b28ce297549313a1d2b42487"


def test_order_of_the_parts_does_not_count():
    assert content_key(a=1, b={"c": 2, "d": 3}) == content_key(b={"d": 3, "c": 2}, a=1)


def test_every_change_of_a_part_changes_the_key():
    parts = [
        {},
        {"a": None},
        {"a": 1},
        {"a": 1.0},
        {"a": True},
        {"a": "1"},
        {"a": [1]},
        {"a": [[1]]},
        {"a": [1, 2]},
        {"a": [2, 1]},
        {"a": {"1": 1}},
        {"b": 1},
        {"a": 1, "b": 1},
        {"a": "\u00e9"},
        {"a": "e\u0301"},
        {"parts": {"a": 1}},
    ]
    assert len({content_key(**each) for each in parts}) == len(parts)


def test_format_enters_the_key(monkeypatch):
    monkeypatch.setattr("ktransfer.cache.key.FORMAT", 2)
    assert content_key(test="one") != KEY


ENDLESS: list = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (float("nan"), "nan"),
        ([{"x": float("inf")}], "inf"),
        (np.int64(3), r"np.int64\(3\) \(int64\)"),
        (np.zeros(1), r"array\(\[0.\]\) \(ndarray\)"),
        ({1: 2}, "the key 1"),
        (b"x", r"b'x' \(bytes\)"),
        ({"a"}, r"{'a'} \(set\)"),
        (Path("x"), "PosixPath"),
        (ENDLESS, "nesting without end"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_part_that_is_not_plain_data_is_named(value, found):
    with pytest.raises(InputError, match=rf"the part 'cut' of a cache key must .* got {found}"):
        content_key(network="small", cut=value)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"KTRANSFER_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"KTRANSFER_CACHE": "~/a"}, "/home/me/a"),
        ({"KTRANSFER_CACHE": "", "XDG_CACHE_HOME": "/b"}, "/b/ktransfer"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/ktransfer"),
        ({}, "/home/me/.cache/ktransfer"),
    ],
)
def test_default_folder_follows_the_environment(monkeypatch, variables, expected):
    for name in ("KTRANSFER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert default_folder() == Path(expected)
    assert Store().folder == Path(expected)


def test_user_without_a_home_is_told_what_to_set(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("KTRANSFER_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(CacheUnavailable, match=r"home directory\. Set KTRANSFER_CACHE"):
        default_folder()


def test_limit_comes_from_the_argument_the_environment_or_the_default(monkeypatch, tmp_path):
    monkeypatch.delenv("KTRANSFER_CACHE_MB", raising=False)
    assert Store(tmp_path).limit_mb == 20_000
    monkeypatch.setenv("KTRANSFER_CACHE_MB", "12.5")
    assert Store(tmp_path).limit_mb == 12.5
    assert Store(tmp_path, limit_mb=3).limit_mb == 3
    monkeypatch.setenv("KTRANSFER_CACHE_MB", "lots")
    with pytest.raises(InputError, match=r"KTRANSFER_CACHE_MB must be .* from 0, got 'lots'"):
        Store(tmp_path)
    with pytest.raises(InputError, match="limit_mb must be a number of megabytes from 0, got -1"):
        Store(tmp_path, limit_mb=-1)
