"""Plain files of a bounded size, and JSON without surprises."""

import json
import math
import os

import pytest

from ktransfer import InputError, RunError
from ktransfer.files.reading import MOST_DEPTH, open_plain, parse_json, read_json, read_plain


def test_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1_024)
    assert read_plain(path, most_mb=1 / 1_024) == b"x" * 1_024
    path.write_bytes(b"x" * 1_025)
    with pytest.raises(RunError, match=r"larger than 0\.000976562 MB"):
        read_plain(path, most_mb=1 / 1_024)


def test_link_is_followed_only_where_the_user_names_it(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    assert read_plain(tmp_path / "link", most_mb=1, follow_links=True) == b"x"
    with pytest.raises(RunError, match="link is a symbolic link where a plain file"):
        read_plain(tmp_path / "link", most_mb=1)


@pytest.mark.parametrize("follow_links", [False, True])
def test_what_is_no_plain_file_is_never_opened(tmp_path, follow_links):
    os.mkfifo(tmp_path / "pipe")
    for path, kind in (
        (tmp_path / "pipe", "a pipe"),
        (tmp_path, "a folder"),
        ("/dev/zero", "a pi"),
    ):
        with pytest.raises(RunError, match=f"is {kind}"):
            open_plain(type(tmp_path)(path), follow_links=follow_links)


def test_file_that_cannot_be_opened_is_one_clear_error(tmp_path):
    with pytest.raises(RunError, match="gone cannot be read: No such file"):
        open_plain(tmp_path / "gone")
    with pytest.raises(RunError, match="cannot be read: embedded null byte"):
        open_plain(tmp_path / "nul\0")


def test_link_that_took_the_place_of_a_file_meanwhile_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"x")
    before = os.lstat(tmp_path / "file")
    (tmp_path / "link").symlink_to("file")
    monkeypatch.setattr(os, "lstat", lambda path: before)
    with pytest.raises(RunError, match="link cannot be read: Too many levels of symbolic links"):
        open_plain(tmp_path / "link")


def test_figures_that_are_not_finite_and_lone_surrogates_are_read():
    assert math.isnan(parse_json("NaN"))
    assert parse_json(json.dumps(["\udcff", math.inf])) == ["\udcff", math.inf]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"\xff\xfe1\0", "'utf-8' codec can't decode"),
        (b"[" * 100_000, "nests too deep"),
        (b"[" * MOST_DEPTH + b"[1]" + b"]" * MOST_DEPTH, "nests more than 60 deep"),
        (b"1" * 5_000, "Exceeds the limit"),
        (b'{"a": 1, "a": 2}', "'a' is given twice"),
        (b"{}{}", "Extra data"),
        (b"", "Expecting value"),
    ],
)
def test_json_that_is_none_is_refused(tmp_path, text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_json(text)
    (tmp_path / "file.json").write_bytes(text)
    with pytest.raises(RunError, match=rf"file\.json is damaged: .*{reason}"):
        read_json(tmp_path / "file.json", most_mb=1)


def test_nesting_up_to_the_limit_is_read():
    value = parse_json("[" * (MOST_DEPTH - 1) + "]" * (MOST_DEPTH - 1))
    assert isinstance(value, list)
    with pytest.raises(InputError, match="given twice"):
        parse_json('{"b": {"a": 1, "a": 1}}')
