"""Every field of run.json that anything rests on is checked, and the first wrong one named."""

import json
import os

import pytest

from ktransfer import RunError
from ktransfer.runs.record import read_record

DIGEST = "0123456789abcdef" * 4
VALID = {
    "format": 1,
    "model_file": "model-01234567.keras",
    "model_sha256": DIGEST,
    "class_names": ["a", "b"],
    "backbone": {"name": "small", "last_operation": "relu", "weights": None, "options": {}},
    "pooling": "avg",
    "dropout": 0,
    "seed": 0,
    "data": {"source": None, "images": 4, "contents": "00", "held_back": ["01"]},
    "blocks": [["block", 1, 0]],
    "request": {},
    "result": None,
}


def written(folder, record):
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def test_valid_record_is_read(tmp_path):
    assert read_record(written(tmp_path, VALID)) == VALID


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_file", ["model-01234567.keras"]),
        ("model_sha256", DIGEST.upper()),
        ("model_sha256", DIGEST[:-1]),
        ("class_names", []),
        ("class_names", ["a", 1]),
        ("class_names", ["a", "a"]),
        ("class_names", ["a", ""]),
        ("class_names", "ab"),
        ("blocks", []),
        ("blocks", [["block", 1]]),
        ("blocks", [["block", 1, -1]]),
        ("blocks", [["block", 1.0, 0]]),
        ("blocks", [[None, 1, 0]]),
        ("pooling", None),
        ("dropout", True),
        ("dropout", 1),
        ("dropout", float("nan")),
        ("seed", -1),
        ("seed", True),
        ("seed", 10**30),
        ("data", {"source": 1}),
        ("data", {**VALID["data"], "images": "4"}),
        ("data", {**VALID["data"], "held_back": [1]}),
        ("learnt", "learnt-01234567.npz"),
        ("learnt", {"file": "learnt-01234567.npz", "sha256": DIGEST[:-1]}),
        ("learnt", {"file": "../learnt-01234567.npz", "sha256": DIGEST}),
        ("request", []),
        ("result", 0),
        ("backbone", "small"),
    ],
)
def test_wrong_field_is_named_with_what_it_says(tmp_path, field, value):
    with pytest.raises(RunError, match=rf"its field '{field}' is missing or not .*: got "):
        read_record(written(tmp_path, {**VALID, field: value}))


@pytest.mark.parametrize("field", ["name", "last_operation", "weights", "options"])
def test_wrong_field_of_the_backbone_is_named(tmp_path, field):
    backbone = {**VALID["backbone"], field: ["x"]}
    with pytest.raises(RunError, match=rf"its field '{field}' is missing or not .*: got "):
        read_record(written(tmp_path, {**VALID, "backbone": backbone}))


@pytest.mark.parametrize("name", ["..", "a\\b.keras", "/etc/passwd", "model-01234567.h5"])
def test_model_that_is_none_of_the_run_is_refused(tmp_path, name):
    with pytest.raises(RunError, match="leads out of the run, or is no name of a model"):
        read_record(written(tmp_path, {**VALID, "model_file": name}))


def test_model_is_named_by_its_checksum(tmp_path):
    with pytest.raises(RunError, match="is not that of its checksum"):
        read_record(written(tmp_path, {**VALID, "model_file": "model-11111111.keras"}))


@pytest.mark.parametrize("version", ["1", 1.0, True, None, 3])
def test_unknown_version_is_named(tmp_path, version):
    with pytest.raises(RunError, match=rf"has format {version!r}; this version .* reads format 1"):
        read_record(written(tmp_path, {**VALID, "format": version}))


def test_record_that_is_a_link_or_a_pipe_is_refused(tmp_path):
    written(tmp_path, VALID)
    (tmp_path / "run.json").rename(tmp_path / "elsewhere.json")
    (tmp_path / "run.json").symlink_to("elsewhere.json")
    with pytest.raises(RunError, match=r"run\.json is a symbolic link"):
        read_record(tmp_path)
    (tmp_path / "run.json").unlink()
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(RunError, match=r"run\.json is a pipe or a device"):
        read_record(tmp_path)


def test_run_may_be_reached_by_a_link(tmp_path):
    (tmp_path / "run").mkdir()
    written(tmp_path / "run", VALID)
    (tmp_path / "link").symlink_to("run")
    assert read_record(tmp_path / "link") == VALID
