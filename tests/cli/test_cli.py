"""The command line: what it prints, writes and refuses."""

import csv
import functools
import json
import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
import tensorflow  # noqa: F401 - before click's runner replaces the standard streams
from click.testing import CliRunner

from ktransfer import Evaluation, FineTuner, cli
from ktransfer.backbones import list_backbones
from ktransfer.cli.resume import resumable
from ktransfer.cli.terminal import print_json, printable, show
from ktransfer.demo import draw_demo_photos
from ktransfer.metrics import score

MINI = ("--weights", "mini", "--epochs", "3")


def run(*args):
    return CliRunner().invoke(cli.main, [os.fspath(each) for each in args])


def last_json(result):
    return json.loads(result.stdout.splitlines()[-1])


def words(text):
    return " ".join(text.split())


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = draw_demo_photos(tmp_path_factory.mktemp("photos"), share=0.1)
    (folder / "train" / "rose" / "bro\nken.jpg").write_bytes(b"no picture")
    (folder / "train" / "rose" / os.fsdecode(b"\xff\xfe.jpg")).touch()
    return folder


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "flowers"
    return out, run("train", photos, *MINI, "--out", out, "--json")


@pytest.fixture(scope="module")
def tuner(trained):
    return FineTuner.load(trained[0], verbose=False)


def test_train_ends_with_one_json_object_of_all_it_found(trained, photos):
    out, result = trained
    assert result.exit_code == 0, result.stderr
    found = last_json(result)
    assert found["classes"] == ["bluebell", "daisy", "rose", "sunflower", "tulip"]
    assert found["num_images"] == 30
    assert 0.0 <= found["val_accuracy"] <= 1.0
    assert (found["cell"], found["strategy"]) == ("small_similar", "linear_probe")
    assert len(found["reasons"]) == 5
    assert found["advice"]["candidates"][0]["name"] == "linear_probe"
    assert (found["trainable_parameters"], found["total_parameters"]) == (6_405, 416_613)
    assert (found["out"], found["backbone"]) == (str(out), "MobileNetV2")
    phases = {"import", "scan", "decode_and_extract", "train", "score", "save", "total"}
    assert phases <= found["seconds"].keys()
    assert found["seconds"]["total"] >= max(found["seconds"].values())
    skipped = {each["path"]: each["reason"] for each in found["skipped"]}
    assert skipped[str(photos / "train" / "rose" / "bro\nken.jpg")].startswith("not an image")
    assert skipped[str(photos / "train" / "rose" / "\udcff\udcfe.jpg")] == "empty file (0 bytes)"


def test_train_prints_the_decision_for_people(photos, tmp_path):
    options = ("--out", tmp_path / "run", "--similarity", "0.9", "-v")
    result = run("train", photos, *MINI, *options)
    assert result.exit_code == 0, result.stderr
    text = words(result.stdout)
    assert "linear_probe, as the images are small and similar: - 20 training images of" in text
    assert "6,405 of 416,613 parameters trained" in text
    assert "95 % interval" in text
    assert "mean over classes" in text
    assert "macro F1 on validation images" in text
    assert "2 files" in text
    assert "bro\\nken.jpg: not an image" in text
    assert f"ktransfer predict {shlex.quote(str(tmp_path / 'run'))}" in text


def test_a_first_training_says_at_most_14_lines(photos, tmp_path):
    out = tmp_path / "run"
    result = run("train", photos, *MINI, "--out", out, "--similarity", "0.9")
    lines = result.stdout.splitlines()
    assert len(lines) <= 14
    assert lines[0].startswith("Accuracy")
    assert [line.split()[0] for line in lines[-2:]] == ["Saved", "Next"]
    assert [name for name in ("Done", "Because", "To look at") if name not in result.stdout] == []
    assert "unreadable" in result.stderr  # an error in the images is told as soon as it is found
    quiet = run("train", photos, *MINI, "--out", out, "--similarity", "0.9", "--overwrite", "-q")
    assert quiet.stdout.splitlines()[0] == lines[0]


def test_options_reach_the_fine_tuner(photos, tmp_path):
    out = tmp_path / "run"
    options = ("--backbone-option", "alpha=0.5", "--weights", "none", "--input-size", "64")
    more = ("--pooling", "max", "--dropout", "0.25", "--seed", "7", "--epochs", "1")
    more += ("--balance", "sampling")
    more += ("--class-names", "tulip, sunflower,rose,daisy,bluebell")
    assert run("train", photos, "--out", out, *options, *more).exit_code == 0
    record = json.loads((out / "run.json").read_text())
    described = record["backbone"]
    assert described["options"] == {"alpha": 0.5}
    assert (described["weights"], described["input_size"]) == (None, [64, 64])
    assert (record["pooling"], record["dropout"], record["seed"]) == ("max", 0.25, 7)
    assert record["class_names"] == ["tulip", "sunflower", "rose", "daisy", "bluebell"]
    assert len(record["result"]["history"]) == 1
    assert record["request"]["settings"]["balance"] == "sampling"


def test_evaluate_agrees_with_the_fine_tuner(trained, tuner, photos, capsys):
    found = last_json(run("evaluate", trained[0], photos, "--json"))
    evaluation = tuner.evaluate(photos)
    expected = evaluation.to_dict()
    assert {name: found[name] for name in expected} == json.loads(json.dumps(expected))
    assert found["part"] == "test"
    show(evaluation.printed("photos"))
    text = words(capsys.readouterr().out)
    assert f"Accuracy {expected['accuracy']:.1%} on 5 test images" in text


def test_corruptions_are_a_table_for_people_and_figures_for_programs(
    trained, tuner, photos, capsys
):
    found = last_json(run("evaluate", trained[0], photos, "--corruptions", "--json"))
    evaluation = tuner.evaluate(photos, corruptions=True)
    expected = json.loads(json.dumps(evaluation.to_dict()))
    assert {name: found[name] for name in expected} == expected
    show(evaluation.printed("photos"))
    text = words(capsys.readouterr().out)
    rows = expected["corruptions"]
    for name in ("grey", "blur", "noise", "colour_shift"):
        shares = " ".join(f"{row['accuracy']:.1%}" for row in rows[name])
        assert f"{name.replace('_', ' ')} {shares}" in text
    assert f"{expected['mean_corruption_accuracy']:.1%} on average" in text


def test_figures_of_classes_are_printed_the_worst_first(capsys):
    found = score(np.array([0, 0, 0, 1, 1, 0]), np.array([0, 0, 0, 1, 1, 1]), ("ant", "bee", "cat"))
    print(Evaluation(found, "test", (), ()))
    text = words(capsys.readouterr().out)
    assert "83.3% mean over classes, 82.9% macro F1" in text
    assert "recall precision F1 66.7% 100.0% 80.0% bee 100.0% 75.0% 85.7% ant" in text
    assert "cat" not in text


def test_predict_csv_holds_what_the_fine_tuner_predicts(trained, tuner, photos, tmp_path):
    file = tmp_path / "predictions.csv"
    result = run("predict", trained[0], photos / "test", "--csv", file)
    assert result.exit_code == 0, result.stderr
    with file.open(newline="") as stream:
        header, *rows = csv.reader(stream)
    expected = tuner.predict(photos / "test")
    assert header == ["path", "label", "probability", *expected.classes, "unfamiliar"]
    assert [row[0] for row in rows] == list(expected.paths)
    assert [row[1] for row in rows] == expected.labels
    shares = np.array([row[3:-1] for row in rows], np.float32)
    far = [row[-1] == "true" for row in rows]
    assert far == expected.unfamiliar.tolist()
    np.testing.assert_array_equal(shares, expected.probabilities)
    np.testing.assert_array_equal(np.array([row[2] for row in rows], np.float32), shares.max(1))
    assert os.listdir(tmp_path) == ["predictions.csv"]
    assert "Wrote" in result.stdout


def test_predict_json_names_what_was_skipped(trained, photos):
    found = last_json(run("predict", trained[0], photos / "train" / "rose", "--json"))
    assert len(found["predictions"]) == 4
    of_each = {"path", "label", "probability", "probabilities", "top", "unsure", "unfamiliar"}
    assert found["predictions"][0].keys() == of_each
    assert len(found["skipped"]) == 2


def test_predict_without_a_readable_image_names_the_files(trained, photos):
    result = run("predict", trained[0], photos / "train" / "rose" / "bro\nken.jpg")
    assert result.exit_code == 2
    assert "bro\\nken.jpg: not an image" in result.stderr
    assert result.stderr.count("\n") == 1


def test_demo_keeps_what_it_made(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ktransfer.demo.demonstration.PARTS", {"train": (20, 0), "val": (5, 1), "test": (5, 2)}
    )
    found = last_json(run("demo", "--out", tmp_path / "kept", "--json"))
    assert found["generated"]
    assert found["evaluation"]["num_images"] == 5
    assert [each["label"] in found["classes"] for each in found["examples"]] == [True] * 5
    assert (tmp_path / "kept" / "run" / "run.json").is_file()
    again = run("demo", "--out", tmp_path / "kept")
    assert (again.exit_code, "is not empty" in again.stderr) == (2, True)


@pytest.mark.slow
def test_demo_without_a_folder_says_that_all_is_removed(monkeypatch):
    monkeypatch.setattr(
        "ktransfer.demo.demonstration.PARTS", {"train": (20, 0), "val": (5, 1), "test": (5, 2)}
    )
    text = words(run("demo").stdout)
    assert "generated by formula" in text
    assert 'weights "mini" are for demonstrations only' in text
    assert "The pictures and the model were removed" in text
    assert text.count(" photos/test/") > 5, "the wrong ones twice, and one of each species"
    assert ".partial" not in text, "the folder that is gone tells nobody anything"


def test_backbones_lists_the_catalog():
    found = last_json(run("backbones", "--json"))["backbones"]
    assert [each["name"] for each in found] == [each.name for each in list_backbones()]
    assert "MobileNetV2" in run("backbones").stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["train", "nowhere", "--out", "o"], "no such folder: 'nowhere'"),
        (["train", ".", "--out", "full"], "the output folder full is not empty"),
        (["train", ".", "--out", "full", "--overwrite"], "it is no run"),
        (
            ["train", ".", "--out", "o", "--backbone", "resnet5"],
            "unknown backbone 'resnet5': did you mean ResNet50, ResNet152, ResNet50V2?",
        ),
        (["train", ".", "--out", "o", "--weights", "w.h5"], "no weights file 'w.h5'"),
        (["train", ".", "--out", "o", "--similarity", "simlar"], "unknown similarity 'simlar'"),
        (["train", ".", "--out", "o", "--similarity", "1.5"], "must lie in [0, 1]"),
        (["train", ".", "--out", "o", "--epochs", "0"], "'--epochs': 0 is not in the range"),
        (["train", ".", "--out", "o", "--backbone-option", "alpha"], "not of the form KEY=VALUE"),
        (["train", ".", "--out", "o", "--patients", "3"], "No such option '--patients'"),
        (["train", "."], "train needs --out RUN"),
        (
            ["train", "folds", "--out", "o"],
            "'folds' can be read in two ways: as classes 'cv1', 'cv2'",
        ),
        (["evaluate", "nowhere", "."], "no such run: nowhere"),
        (["predict", "full", "."], "holds no run.json"),
        (["trane"], "No such command 'trane'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for fold in ("cv1", "cv2") if "folds" in args else ():
        (tmp_path / "folds" / fold).mkdir(parents=True)
        (tmp_path / "folds" / fold / "a.png").touch()
    result = run(*args, "--json")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert message in last_json(result)["error"]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["missing.jpg"], "no such file or folder: 'missing.jpg'"),
        ([".", "--csv", "nowhere/file.csv"], "there is no folder 'nowhere'"),
        ([".", "--csv", "folder"], "'folder' is a folder"),
        (["folder"], "there is no file in the folders given"),
    ],
)
def test_predict_refuses(paths, message, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    result = run("predict", trained[0], *paths)
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr


def test_an_interrupted_training_is_saved_and_said(photos, tmp_path, monkeypatch):
    interrupting = FineTuner.fit

    def fit(self, data, **options):
        import keras

        def stop(epoch, logs):
            if epoch == 1:
                raise KeyboardInterrupt

        callback = keras.callbacks.LambdaCallback(on_epoch_end=stop)
        return interrupting(self, data, **options, callbacks=[callback])

    monkeypatch.setattr(FineTuner, "fit", fit)
    result = run("train", photos, *MINI, "--out", tmp_path / "run")
    assert result.exit_code == 130
    assert "Interrupted" in result.stdout
    assert (tmp_path / "run" / "run.json").is_file()


def interrupted(*args, **options):
    raise KeyboardInterrupt


def test_an_interruption_before_the_training_begins_leaves_nothing(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("ktransfer.FineTuner.fit", interrupted)
    result = run("train", photos, *MINI, "--out", tmp_path / "run", "--json")
    assert result.exit_code == 130
    assert last_json(result)["error"] == "interrupted; nothing was written"
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_interruption_while_the_run_is_saved_can_be_resumed(photos, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("ktransfer.runs.saving.flush_to_disk", interrupted)
        result = run("train", photos, *MINI, "--out", out, "--json")
    assert result.exit_code == 130
    assert f"ktransfer train --resume {shlex.quote(str(out))}" in last_json(result)["error"]
    assert run("train", "--resume", out).exit_code == 0
    assert FineTuner.load(out, verbose=False).class_names[0] == "bluebell"


def test_json_is_ascii_whatever_the_data_hold(capsys):
    print_json({"path": "\udcff\n\u00e9", "loss": float("nan"), "shares": (1.0, float("inf"))})
    line = capsys.readouterr().out
    assert line.isascii()
    assert json.loads(line) == {"path": "\udcff\n\u00e9", "loss": None, "shares": [1.0, None]}


def test_printable_is_one_line_of_what_a_terminal_can_show():
    assert printable("a\nb\x1b[31m\udcff\u00e9") == "a\\nb\\x1b[31m\\udcff\u00e9"


@pytest.mark.parametrize("args", [["--help"], ["train", "--help"], ["backbones"], ["--version"]])
def test_help_imports_nothing_slow(args):
    code = (
        "import sys\n"
        "from ktransfer.cli import main\n"
        "try:\n"
        f"    main({args!r})\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "slow = {'tensorflow', 'keras', 'sklearn', 'rich', 'numpy', 'altair', 'vl_convert'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_a_closed_pipe_is_no_error_to_speak_of():
    command = f"{shlex.quote(sys.executable)} -m ktransfer backbones | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("level", [None, "1", "2"])
def test_the_terminal_is_spared_the_chatter_of_tensorflow(level, trained, photos):
    command = [sys.executable, "-m", "ktransfer", "predict", trained[0], photos / "test"]
    environment = {name: each for name, each in os.environ.items() if not name.startswith("TF_")}
    environment["PYTHONIOENCODING"] = "ascii"
    if level:
        environment["TF_CPP_MIN_LOG_LEVEL"] = level
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    predicted, _, counted = done.stdout.partition("Images ")
    assert len(predicted.splitlines()) == 5
    assert counted.split()[0] == "5:"


def test_real_errors_pass_the_sieve():
    code = (
        "import os, sys\n"
        "from ktransfer.cli.startup import hide_chatter\n"
        "hide_chatter()\n"
        "os.write(2, b'I0000 00:00:17.5   99 port.cc:153] oneDNN custom operations are on\\n')\n"
        "os.write(2, b'F0000 00:00:17.5   99 check.cc:1] Check failed\\n')\n"
        "print('from Python', file=sys.stderr)\n"
        "os.abort()\n"
    )
    environment = {name: each for name, each in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, env=environment)
    assert sorted(done.stderr.splitlines()) == [
        b"F0000 00:00:17.5   99 check.cc:1] Check failed",
        b"from Python",
    ]


@pytest.mark.parametrize(("resumed", "forgotten"), [(False, 1), (True, 0)])
def test_what_was_noted_is_forgotten_unless_it_could_be_resumed_before(resumed, forgotten):
    calls = []

    def begin():
        forget = functools.partial(calls.append, 1)
        with resumable("train", "run", lambda: False, forget, resumed=resumed):
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        begin()
    assert len(calls) == forgotten


@pytest.mark.slow
def test_what_is_slow_is_imported_before_a_command_works():
    code = (
        "import sys\n"
        "from ktransfer.cli.startup import at_work\n"
        "assert 'keras' not in sys.modules\n"
        "with at_work({}):\n"
        "    assert 'keras' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
