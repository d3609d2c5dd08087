import errno
import hashlib
import json
import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from hostile import members_of, packed

from ktransfer import RunError
from ktransfer.classifier.loading import read_run
from ktransfer.cli.train import check_no_training
from ktransfer.runs.saving import check_output_folder, write_run
from ktransfer.runs.unfinished import (
    clear_training,
    forget_command,
    is_unfinished,
    read_command,
    write_command,
)

RECORD = {
    "class_names": ["a", "b"],
    "backbone": {"name": "small", "last_operation": "dense", "weights": None, "options": {}},
    "pooling": "avg",
    "dropout": 0.0,
    "seed": 0,
    "data": {},
    "blocks": [["block", 1, 0]],
    "request": {},
}


@pytest.fixture
def model():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])


@pytest.fixture
def run(tmp_path, model):
    return write_run(tmp_path / "run", model, RECORD)


def weights_of(run):
    return read_run(run)[0].get_weights()


def edit_record(run, **changes):
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, **changes}))


def test_what_was_written_is_read_back(run, model):
    found, record = read_run(run)
    assert {key: record[key] for key in RECORD} == RECORD
    for one, other in zip(found.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_run_is_an_ordinary_keras_file_and_a_json_file(run):
    names = sorted(each.name for each in run.iterdir())
    assert len(names) == 2
    assert names[1] == "run.json"
    assert keras.models.load_model(run / names[0]).output_shape == (None, 2)


def test_overwriting_replaces_the_run_and_leaves_nothing_of_the_old(run, model):
    model.set_weights([each + 1 for each in model.get_weights()])
    write_run(run, model, RECORD, overwrite=True)
    np.testing.assert_array_equal(weights_of(run)[0], model.get_weights()[0])
    assert len(list(run.iterdir())) == 2


def test_overwriting_deletes_models_of_ours_alone(run, model):
    notes = {"model-of-the-house.keras": b"mine", "model-01234567.keras": b"mine", "a.txt": b"b"}
    for name, content in notes.items():
        (run / name).write_bytes(content)
    (old,) = [each for each in run.glob("model-*.keras") if each.name not in notes]
    left = b"of a save that a kill broke off"
    orphan = run / f"model-{hashlib.sha256(left).hexdigest()[:8]}.keras"
    orphan.write_bytes(left)
    model.set_weights([each + 1 for each in model.get_weights()])
    write_run(run, model, RECORD, overwrite=True)
    assert {name: (run / name).read_bytes() for name in notes} == notes
    assert not old.exists()
    assert not orphan.exists()


def test_overwriting_keeps_the_weights_that_the_training_began_with(run, model):
    (old,) = run.glob("model-*.keras")
    model.set_weights([each + 1 for each in model.get_weights()])
    backbone = {**RECORD["backbone"], "weights": str(old)}
    write_run(run, model, {**RECORD, "backbone": backbone}, overwrite=True)
    assert old.exists()


def test_run_is_not_overwritten_unasked(run, model):
    with pytest.raises(RunError, match=r"output folder .*run is not empty.*--overwrite"):
        write_run(run, model, RECORD)


def test_folder_that_is_no_run_is_never_overwritten(tmp_path, model):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"holds no run.json: it is no run"):
        write_run(tmp_path, model, RECORD, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_record_of_another_program_is_never_overwritten(tmp_path, model):
    (tmp_path / "run.json").write_text('{"project": "mine"}')
    with pytest.raises(RunError, match=r"the run\.json in .* is of another program"):
        write_run(tmp_path, model, RECORD, overwrite=True)
    assert [each.name for each in tmp_path.iterdir()] == ["run.json"]


def test_a_damaged_run_may_be_overwritten(run, model):
    (run / "run.json").write_text("half of it")
    write_run(run, model, RECORD, overwrite=True)
    assert read_run(run)[1]["class_names"] == ["a", "b"]


def test_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(RunError, match="taken is a file; name a folder"):
        check_output_folder(tmp_path / "taken")


def test_place_without_write_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(RunError, match=f"no permission to write to {tmp_path}"):
        check_output_folder(tmp_path / "new" / "deeper")


FILL_THE_DISK = """
    import resource, sys
    import keras
    from ktransfer import RunError
    from ktransfer.runs.saving import write_run

    model = keras.Sequential([keras.Input((300,)), keras.layers.Dense(300)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        write_run(sys.argv[1], model, {}, overwrite=True)
    except RunError as error:
        sys.exit(f"refused: {error}")
"""


@pytest.mark.slow
def test_run_is_whole_after_a_write_that_failed_half_way(run):
    before = weights_of(run)
    script = textwrap.dedent(FILL_THE_DISK)
    # A limit on the size of a file fails a real write half-way, as a full disk does.
    done = subprocess.run([sys.executable, "-c", script, str(run)], capture_output=True, text=True)
    assert "refused: the run could not be saved" in done.stderr
    assert "the run that was there before is untouched" in done.stderr
    np.testing.assert_array_equal(weights_of(run)[0], before[0])
    assert len(list(run.iterdir())) == 2


def test_nothing_is_left_of_a_first_save_that_failed(tmp_path, model, monkeypatch):
    def fail(path):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model, "save", fail)
    with pytest.raises(RunError, match=r"could not be saved to .*No space left on device"):
        write_run(tmp_path / "run", model, RECORD)
    assert not (tmp_path / "run").exists()


def test_missing_run_is_named(tmp_path):
    with pytest.raises(RunError, match=r"no such run: .*nowhere is not a folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"holds no run.json: .*never finished"):
        read_run(tmp_path)


@pytest.mark.parametrize("contents", ["", "{", "[" * 100_000, '"text"', "[]", "{}", "\0"])
def test_damaged_record_is_one_clear_error(run, contents):
    (run / "run.json").write_text(contents)
    with pytest.raises(RunError, match=r"run\.json is damaged"):
        read_run(run)


@pytest.mark.parametrize("field", ["model_file", "model_sha256", *RECORD])
def test_record_without_a_field_names_it(run, field):
    edit_record(run, **{field: None})
    with pytest.raises(RunError, match=f"its field '{field}' is missing"):
        read_run(run)


def test_record_without_a_field_of_the_backbone_names_it(run):
    edit_record(run, backbone={"name": "small", "weights": None, "options": {}})
    with pytest.raises(RunError, match="its field 'last_operation' is missing"):
        read_run(run)


def test_unknown_format_is_named(run):
    edit_record(run, format=99)
    with pytest.raises(RunError, match="has format 99; this version of ktransfer reads format 1"):
        read_run(run)
    edit_record(run, format=99, ktransfer="7.1")
    with pytest.raises(
        RunError, match=r"load it with version '7\.1' that wrote it, or train again"
    ):
        read_run(run)


def test_record_that_leads_out_of_the_run_is_refused(run):
    edit_record(run, model_file="../elsewhere.keras")
    with pytest.raises(RunError, match=r"'../elsewhere.keras' leads out of the run"):
        read_run(run)


def test_changed_and_missing_models_are_refused(run):
    (model_path,) = run.glob("*.keras")
    with model_path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(RunError, match="is not what was saved"):
        read_run(run)
    model_path.unlink()
    with pytest.raises(RunError, match=r"its model model-.* is missing"):
        read_run(run)


def with_model(run, change):
    """The run with a changed model and its right checksum, as an attacker would write it."""
    (path,) = run.glob("*.keras")
    contents = packed(change(members_of(path)))
    digest = hashlib.sha256(contents).hexdigest()
    path.unlink()
    (run / f"model-{digest[:8]}.keras").write_bytes(contents)
    edit_record(run, model_file=f"model-{digest[:8]}.keras", model_sha256=digest)


def with_config(old, new):
    return lambda members: {
        **members,
        "config.json": members["config.json"].replace(old, new),
    }


def test_right_checksum_does_not_open_the_door(run):
    with_model(run, lambda members: members)
    assert read_run(run)
    with_model(run, with_config(b'"Dense"', b'"TFSMLayer"'))
    with pytest.raises(RunError, match="'TFSMLayer' would run code of the file or read other"):
        read_run(run)


def test_model_that_asks_for_more_weights_than_it_holds_takes_no_memory(run):
    # 3 x 20,000,000,000 numbers; and Keras is as it was afterwards.
    before = keras.layers.Layer.add_weight
    with_model(run, with_config(b'"units": 2', b'"units": 20000000000'))
    with pytest.raises(RunError, match="asks for far more weights than it holds"):
        read_run(run)
    assert keras.layers.Layer.add_weight is before


def test_an_error_that_repeats_the_archive_is_cut_short(run, monkeypatch):
    def repeat(path):
        raise ValueError("x" * 10**6)

    monkeypatch.setattr("ktransfer.classifier.loading.check_model_file", repeat)
    with pytest.raises(RunError, match=r"cannot be loaded: x+ ") as error:
        read_run(run)
    assert len(str(error.value)) < 3_000


def test_damaged_weights_of_a_right_checksum_are_one_clear_error(run):
    with_model(run, lambda each: {**each, "model.weights.h5": each["model.weights.h5"][:-100]})
    with pytest.raises(RunError, match=r"cannot be loaded: .*truncated file"):
        read_run(run)


def test_model_that_is_a_link_is_refused(run):
    (path,) = run.glob("*.keras")
    path.rename(run / "elsewhere")
    path.symlink_to("elsewhere")
    with pytest.raises(RunError, match=r"keras is a symbolic link where a plain file"):
        read_run(run)


@pytest.mark.parametrize("text", ["[1]", "{}", '{"format": 2}', "{", '{"format": 1, "format": 1}'])
def test_damaged_command_is_one_clear_error(tmp_path, text):
    write_command(tmp_path, {"data": "photos"})
    assert read_command(tmp_path) == {"data": "photos"}
    (tmp_path / "training" / "command.json").write_text(text)
    with pytest.raises(RunError, match=r"command\.json is damaged"):
        read_command(tmp_path)


@pytest.mark.parametrize("where", ["write", "fsync"])
def test_first_write_on_a_full_disk_leaves_nothing(tmp_path, monkeypatch, where):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if where == "write":
        monkeypatch.setattr("ktransfer.runs.unfinished.write_whole", full)
    else:
        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"cannot write to .*training: No space left on device"):
        write_command(tmp_path / "run", {"data": "photos"})
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    write_command(tmp_path / "run", {"data": "photos"})
    assert is_unfinished(tmp_path / "run")


def test_what_a_kill_before_the_first_write_leaves_is_no_training(tmp_path):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / ".command.json.partial").write_text("{")
    assert not is_unfinished(tmp_path)
    assert check_output_folder(tmp_path) == tmp_path
    check_no_training(str(tmp_path), overwrite=False)
    write_command(tmp_path, {})
    with pytest.raises(RunError, match="holds a training that was not finished"):
        check_no_training(str(tmp_path), overwrite=False)


def test_a_full_disk_speaks_of_a_run_before_only_where_there_is_one(run, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    new = tmp_path / "new"
    write_command(new, {})
    monkeypatch.setattr("ktransfer.runs.saving.save_model", full)
    for folder, kept in ((run, "; the run that was there before is untouched"), (new, "")):
        model, record = read_run(run)
        with pytest.raises(RunError, match=rf"{folder}: .*No space left on device{kept}$"):
            write_run(folder, model, record, overwrite=True)


def test_model_with_code_in_it_is_refused(tmp_path):
    images = keras.Input((3,))
    outputs = keras.layers.Lambda(lambda x: x * 2, output_shape=(3,))(images)
    run = write_run(tmp_path / "run", keras.Model(images, outputs), RECORD)
    with pytest.raises(RunError, match=r"cannot be loaded: .*Lambda"):
        read_run(run)


def test_oversized_record_is_refused_unread(run, monkeypatch):
    monkeypatch.setattr("ktransfer.runs.record.MAX_RECORD_MB", 0)
    with pytest.raises(RunError, match="larger than 0 MB"):
        read_run(run)


def test_folder_named_training_that_is_not_ours_is_never_touched(tmp_path):
    photo = tmp_path / "training" / "ants" / "photo.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"photo")
    for overwrite in (False, True):
        with pytest.raises(RunError, match="is not empty"):
            check_output_folder(tmp_path, overwrite=overwrite)
    clear_training(tmp_path)
    write_command(tmp_path, {})
    forget_command(tmp_path)
    assert photo.read_bytes() == b"photo"
