"""The command line: `ktransfer tune`."""

import json
import shlex
import socket
import subprocess
import sys

import pytest
import tensorflow  # noqa: F401 - before click's runner replaces the standard streams
from click.testing import CliRunner

from ktransfer import Plan, cli
from ktransfer.demo import draw_demo_photos
from ktransfer.plan import linear_probe

MINI = ("--weights", "mini", "--input-size", "32")
FEW = (
    *("--max-unfreeze", 0, "--oracle", "grid", "--trials", 2, "--repeats", 0),
    *("--values", "head_rate=0.002,0.02", "--values", "head_epochs=3"),
    *("--values", "dropout=0", "--values", "weight_decay=0", "--values", "features=last"),
)


def run(*args):
    return CliRunner().invoke(cli.main, [str(each) for each in args])


def last_json(result):
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return draw_demo_photos(tmp_path_factory.mktemp("photos"), share=0.1)


@pytest.fixture(scope="module")
def searched(photos, tmp_path_factory):
    """The folder of a search and what it said."""
    out = tmp_path_factory.mktemp("runs") / "search"
    return out, run("tune", photos, *MINI, *FEW, "--out", out, "--json")


@pytest.mark.slow
def test_a_search_ends_with_the_best_plan_as_json(searched):
    out, result = searched
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1
    found = last_json(result)
    assert {each["values"]["head_rate"] for each in found["trials"]} == {0.002, 0.02}
    for trial in found["trials"]:
        assert trial["status"] == "done"
        assert trial["unfreeze"] == 0
        assert trial["learning_rate"] == trial["values"]["head_rate"]
        assert 0 <= trial["val_accuracy"] <= 1
        assert trial["seconds"] > 0
    assert 0 <= found["test_accuracy"] <= 1
    assert found["seconds"] > 0
    best = max(
        found["trials"], key=lambda each: (each["val_accuracy"], -each["val_calibrated_loss"])
    )
    expected = linear_probe(3, best["learning_rate"]).with_settings(dropout=0.0).resolve(19)
    assert found["best_plan"] == expected.to_dict()
    assert Plan.from_json((out / "best_plan.json").read_text()) == expected


@pytest.mark.slow
def test_each_trial_is_said_on_standard_error(searched):
    _, result = searched
    for name in ("0", "1", "final"):
        assert f"{name}: unfreeze 0, learning rate" in result.stderr


@pytest.mark.slow
def test_resume_of_a_finished_search_says_the_same_and_what_to_type_next(searched, photos):
    out, result = searched
    again = run("tune", "--resume", out)
    assert again.exit_code == 0, again.stderr
    assert "unfreeze 0" not in again.stderr, "nothing is trained"
    found = last_json(result)
    assert f"{found['chosen']['mean']:.1%}" in again.stdout
    assert f"{found['test_accuracy']:.1%} right" in again.stdout
    predict = shlex.split(again.stdout.splitlines()[-2])[1:]  # behind "Next"
    assert predict == ["ktransfer", "predict", found["model"], "photo.jpg"]
    assert found["model"] == str(out / "best")
    photo = next(photos.rglob("*.jpg"))
    assert len(last_json(run("predict", found["model"], photo, "--json"))["predictions"]) == 1
    command = shlex.split(again.stdout.splitlines()[-1])[1:]
    assert command[:2] == ["train", str(photos)]
    trained = run(*command[:-1], out.parent / "best", "--json", "--no-check")
    assert trained.exit_code == 0, trained.stderr
    assert last_json(trained)["plan"] == found["best_plan"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "{out}", "--max-unfreeze", 40), "max_unfreeze=40, but MobileNetV2 has 19 bloc"),
        (("--out", "{out}", "--values", "unfreeze"), "'unfreeze' is not of the form NAME=VALUE"),
        (("--out", "{out}", "--backbone", "resnet5"), "unknown backbone 'resnet5'"),
        (("--out", "{out}", "--folds", 1), "folds must be at least 2, got 1"),
        (("--out", "{out}", "--folds", 3, "--repeats", 1), "repeats=1 and folds=3"),
        (("--out", "{out}", "--folds", 300, "--epochs", 1), "folds=300, but class"),
        ((), "tune needs --out DIR"),
    ],
)
def test_bad_commands_leave_nothing(photos, tmp_path, options, message):
    out = tmp_path / "search"
    options = [str(out) if each == "{out}" else each for each in options]
    result = run("tune", photos, *MINI, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not [each for each in out.rglob("*") if each.is_file()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--oracle", "hyperband"), "(the brackets for 10 epochs), got --trials 12: give --trials"),
        (("--oracle", "grid", "--max-unfreeze", 0), "at least 90 trials (the points of the grid"),
        (("--oracle", "best"), "unknown oracle 'best': did you mean"),
        (("--values", "depth=3"), "unknown hyperparameter 'depth'"),
    ],
)
def test_what_options_tell_is_said_before_anything_slow_is_imported(tmp_path, options, message):
    code = (
        "import sys\n"
        "from ktransfer.cli import main\n"
        "sys.argv = ['ktransfer', *sys.argv[1:]]\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    assert not {'tensorflow', 'keras', 'keras_tuner'} & set(sys.modules)\n"
    )
    words = ["tune", str(tmp_path), "--out", str(tmp_path / "out"), *map(str, options)]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert message in " ".join(done.stderr.split())


@pytest.mark.slow
def test_a_folder_that_holds_a_search_is_not_begun_again(searched, photos, tmp_path):
    out, _ = searched
    result = run("tune", photos, *MINI, "--out", out)
    assert result.exit_code == 2
    assert f"{out} holds a search: --resume {out} goes on with it" in result.stderr
    assert "leave out --trials" in run("tune", "--resume", out, "--trials", 9).stderr
    assert "there is no search to resume" in run("tune", "--resume", tmp_path).stderr


@pytest.mark.slow
def test_a_resume_with_other_data_is_refused(searched, tmp_path):
    out, _ = searched
    other = draw_demo_photos(tmp_path / "other", share=0.12)
    result = run("tune", other, "--resume", out)
    assert result.exit_code == 2
    assert "data train images: 20 then, " in result.stderr


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--role", "worker"), "--role worker needs --chief HOST:PORT"),
        (("--chief", "127.0.0.1:80"), "--chief 127.0.0.1:80 needs --role chief or --role worker"),
        (("--role", "worker", "--chief", "here"), "must be HOST:PORT"),
        (("--role", "worker", "--chief", "h:80", "--trials", 9), "leave out --trials"),
        (("--role", "worker", "--chief", "h:80", "--resume", "x"), "a worker has nothing to resum"),
        (("--role", "worker", "--chief", "h:80", "--out", "/dev/null/x"), "cannot write to /dev/n"),
    ],
)
def test_bad_commands_for_several_machines(photos, options, message):
    result = run("tune", photos, *MINI, *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_worker_without_images_is_refused():
    result = run("tune", "--role", "worker", "--chief", "127.0.0.1:80")
    assert result.exit_code == 2
    assert "a worker needs DATA" in result.stderr


def test_a_chief_whose_port_is_in_use_leaves_nothing(photos, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run(
            *("tune", photos, *MINI, "--out", tmp_path / "search"),
            *("--role", "chief", "--chief", address),
        )
    assert result.exit_code == 2
    assert f"the chief cannot listen at {address}: another process does" in result.stderr
    assert not (tmp_path / "search").exists()


def test_a_worker_whose_chief_is_not_there_gives_up(photos):
    address = free_address()
    result = run(
        *("tune", photos, *MINI, "--role", "worker", "--chief", address),
        *("--chief-timeout-s", 0.5),
    )
    assert result.exit_code == 2
    assert f"waiting for the chief at {address}" in result.stderr
    assert f"the chief at {address} has not answered for 0.5 s" in result.stderr


@pytest.mark.slow
def test_a_worker_carries_the_trials_of_a_chief_out(searched, photos, tmp_path):
    command = [sys.executable, "-m", "ktransfer", "tune", photos, *MINI, "--json"]
    out, place = tmp_path / "chief", ["--chief", free_address()]
    begun = [str(each) for each in (*command, *FEW, "--out", out, "--role", "chief", *place)]
    chief = subprocess.Popen(begun, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        worker = subprocess.run(
            [*map(str, command), "--role", "worker", *place], capture_output=True, timeout=240
        )
        output, _ = chief.communicate(timeout=240)
    finally:
        chief.kill()
        chief.communicate()
    assert worker.returncode == 0, worker.stderr
    assert json.loads(worker.stdout)["carried_out"] == 2
    assert b"the search is over: this worker has carried out 2 trials" in worker.stderr
    found, alone = json.loads(output), last_json(searched[1])
    for one, other in zip(found["trials"], alone["trials"], strict=True):
        assert (one["values"], one["val_accuracy"]) == (other["values"], other["val_accuracy"])
    assert found["best_plan"] == alone["best_plan"]
    again = run(*begun[3:])
    assert again.exit_code == 0, again.stderr
    assert last_json(again)["best_plan"] == found["best_plan"]
    resumed = run("tune", "--resume", out, "--json")
    assert f"the chief waits at {place[1]}" in resumed.stderr, "it is still a chief"
    assert last_json(resumed)["best_plan"] == found["best_plan"]
    other = run(*begun[3:], "--epochs", 3)
    assert other.exit_code == 2
    assert "epochs: 10 then, 3 now" in other.stderr
