"""The runs of a folder side by side."""

import json
import shutil
import subprocess
import sys

import pytest
from nails.make import DATA

from ktransfer import InputError
from ktransfer.runs import compare_runs


def write_run(folder, accuracy, *, contents="one", seconds=1.0, **result):
    """The stored run, with another result."""
    shutil.copytree(DATA / "run", folder)
    record = json.loads((folder / "run.json").read_text())
    record["result"] |= {"val_accuracy": accuracy, "seconds": {"train": seconds}, **result}
    record["data"]["contents"] = contents
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def test_the_most_accurate_run_comes_first_and_of_equal_ones_the_cheaper(tmp_path):
    write_run(tmp_path / "a", 0.8)
    write_run(tmp_path / "deep" / "b", 0.9, seconds=2.0)
    write_run(tmp_path / "c", 0.9, test_accuracy=0.85)
    found = compare_runs(tmp_path)
    assert [each.path for each in found.rows] == [
        str(tmp_path / name) for name in ("c", "deep/b", "a")
    ]
    assert found.notes == ()
    head, _, *lines = str(found).splitlines()
    assert head.split()[:2] == ["run", "validation"]
    assert [line.split()[1] for line in lines] == ["90.0%", "90.0%", "80.0%"]
    assert "85.0%" in lines[0]
    assert json.loads(json.dumps(found.to_dict()))["runs"][0]["test_accuracy"] == 0.85


def test_runs_of_other_images_are_not_to_be_compared(tmp_path):
    write_run(tmp_path / "a", 0.8)
    write_run(tmp_path / "b", 0.9, contents="two")
    assert "other images" in str(compare_runs(tmp_path)).splitlines()[-1]


def test_what_is_damaged_or_unfinished_is_named_and_the_rest_is_compared(tmp_path):
    write_run(tmp_path / "a", 0.8)
    for name, spoil in (
        ("text", lambda record: "no record"),
        ("field", lambda record: json.dumps({**record, "blocks": 3})),
        ("result", lambda record: json.dumps({**record, "result": {"val_accuracy": "high"}})),
    ):
        file = write_run(tmp_path / name, 0.9) / "run.json"
        file.write_text(spoil(json.loads(file.read_text())))
    shutil.copytree(DATA / "killed", tmp_path / "unfinished")
    found = {each.path.rpartition("/")[2]: each for each in compare_runs(tmp_path).rows}
    assert found["a"].state == ""
    assert found["unfinished"].state == "unfinished: --resume goes on with it"
    assert "'blocks'" in found["field"].state
    assert found["text"].state
    assert found["result"].state.startswith("damaged: ValueError")
    assert len(str(compare_runs(tmp_path)).splitlines()) == 2 + len(found)


def test_a_run_without_a_result_is_shown_without_figures(tmp_path):
    folder = write_run(tmp_path / "a", 0.8)
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "result": None}))
    (row,) = compare_runs(folder).rows
    assert (row.val_accuracy, row.num_images, row.state) == (None, None, "")
    assert str(compare_runs(folder)).splitlines()[-1].split()[:2] == [".", "-"]


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_runs_is_told_how_to_get_one(name, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no such folder|train DATA --out .*NAME"):
        compare_runs(tmp_path / name)


def test_the_command_prints_the_table_and_imports_no_tensorflow(tmp_path):
    write_run(tmp_path / "a", 0.8)
    program = (
        "import sys; from ktransfer.cli import main\n"
        "try: main(sys.argv[1:])\nfinally: print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "runs", str(tmp_path)], capture_output=True, text=True
    )
    *table, imported = done.stdout.splitlines()
    assert table == str(compare_runs(tmp_path)).splitlines()
    assert imported == "False"
