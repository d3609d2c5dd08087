"""The command line: plans, and trainings that were killed."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow  # noqa: F401 - before click's runner replaces the standard streams
from click.testing import CliRunner

from ktransfer import FineTuner, cli
from ktransfer.demo import draw_demo_photos
from ktransfer.plan import lp_ft
from ktransfer.training.callbacks import StopAtNaN

MINI = ("--weights", "mini", "--input-size", "32")


def run(*args):
    return CliRunner().invoke(cli.main, [str(each) for each in args])


def last_json(result):
    return json.loads(result.stdout.splitlines()[-1])


def weights_of(run_folder):
    return FineTuner.load(run_folder, verbose=False).model.get_weights()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return draw_demo_photos(tmp_path_factory.mktemp("photos"), share=0.1)


def test_unfreeze_trains_the_last_blocks(photos, tmp_path):
    out = tmp_path / "run"
    options = ("--unfreeze", 2, "--epochs", 1, "--augmentation", "light", "--out", out)
    result = run("train", photos, *MINI, *options, "--json", "-v")
    assert result.exit_code == 0, result.stderr
    stages = last_json(result)["plan"]["stages"]
    assert [stage["augmentation"] for stage in stages] == ["light", "light"]
    found = last_json(result)
    assert found["carried_out"] == "last_blocks"
    assert [stage["unfreeze"] for stage in found["stages"]] == [0, 2]
    assert "frozen variables" in result.stderr
    assert "unchanged" in result.stderr


@pytest.mark.slow
def test_a_rate_a_name_and_seeds_survive_a_kill(photos, tmp_path, monkeypatch):
    out = tmp_path / "run"
    options = ("--unfreeze", "block_16", "--learning-rate", 1e-4, "--seeds", 2, "--seed", 4)
    with monkeypatch.context() as patch:
        kill_in_epoch(patch, 1)
        with pytest.raises(Killed):
            run("train", photos, *MINI, *options, "--epochs", 2, "--out", out)
    result = run("train", "--resume", out, "--json")
    assert result.exit_code == 0, result.stderr
    found = last_json(result)
    assert [each["unfreeze"] for each in found["stages"]] == [0, 2]
    assert [each["learning_rate"] for each in found["plan"]["stages"]] == [2e-3, 1e-4]
    assert [each["seed"] for each in found["seeds"]["scores"]] == [4, 5]
    assert not (out / "training").exists()
    again = last_json(run("train", "--resume", out, "--json"))
    assert again["seeds"] == found["seeds"]


def test_plan_from_a_file_is_carried_out(photos, tmp_path):
    plan = lp_ft(1, head_epochs=2)
    file = tmp_path / "plan.json"
    file.write_text(plan.to_json())
    result = run("train", photos, *MINI, "--plan", file, "--out", tmp_path / "run", "--json")
    assert result.exit_code == 0, result.stderr
    assert last_json(result)["plan"] == json.loads(plan.resolve(19).to_json())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--plan", "lpft"], "unknown plan 'lpft': did you mean lp_ft"),
        (["--plan", "gone.json"], "'gone.json' cannot be read"),
        (["--plan", "lp_ft", "--unfreeze", "2"], "says itself what it unfreezes, got unfreeze=2"),
        (["--unfreeze", "20"], "unfreezes 20 blocks, but the backbone has 19"),
        (["--unfreeze", "block_99"], "unknown block or layer 'block_99': did you mean block_"),
        (["--unfreeze", "-1"], "-1 is not in the range x>=0"),
        (["--learning-rate", "0"], "0.0 is not in the range x>0"),
        (["--learning-rate", "nan"], "nan is no finite number above 0"),
        (["--seeds", "0"], "0 is not in the range x>=1"),
        (["--resume", "runs/x", "--epochs", "3"], "leave out --epochs"),
        (["--resume", "runs/x", "--learning-rate", "1"], "leave out --learning-rate"),
        (["--resume", "runs/x", "--seeds", "2"], "leave out --seeds"),
        (["--resume", "runs/x"], "nothing to resume in runs/x"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(photos, tmp_path, options, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = [] if "--resume" in options else [photos, "--weights", "mini", "--out", "run"]
    result = run("train", *place, *options)
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "run").exists()


def test_training_needs_data_and_a_folder(tmp_path):
    assert "train needs DATA" in run("train").stderr
    assert "train needs --out RUN" in run("train", tmp_path).stderr


def test_plan_file_that_is_none_is_refused(photos, tmp_path):
    file = tmp_path / "plan.json"
    file.write_text('{"name": "x"}')
    result = run("train", photos, *MINI, "--plan", file, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "the field 'stages' is missing" in result.stderr
    assert not (tmp_path / "run").exists()


class Killed(BaseException):
    pass


def kill_in_epoch(monkeypatch, epoch):
    """Let a training stop dead in the middle of an epoch, as a kill would."""

    def batch_end(self, batch, logs=None):
        if self.params["epochs"] > 1 and len(self.model.history.epoch) == epoch:
            raise Killed

    monkeypatch.setattr(StopAtNaN, "on_train_batch_end", batch_end)


@pytest.mark.slow
def test_killed_training_goes_on_to_the_same_weights(photos, tmp_path, monkeypatch):
    command = ("train", photos, *MINI, "--unfreeze", 1, "--epochs", 4, "--dropout", 0.2)
    assert run(*command, "--out", tmp_path / "whole").exit_code == 0
    with monkeypatch.context() as patch:
        kill_in_epoch(patch, 2)
        with pytest.raises(Killed):
            run(*command, "--out", tmp_path / "killed")
    again = run(*command, "--out", tmp_path / "killed")
    assert again.exit_code == 2
    assert "holds a training that was not finished: --resume" in again.stderr
    # As if it had been begun before there were these options.
    noted = tmp_path / "killed" / "training" / "command.json"
    command = json.loads(noted.read_text())
    noted.write_text(
        json.dumps({k: v for k, v in command.items() if k not in ("check", "balance")})
    )
    resumed = run("train", "--resume", tmp_path / "killed", "--json")
    assert resumed.exit_code == 0, resumed.stderr
    for one, other in zip(
        weights_of(tmp_path / "whole"), weights_of(tmp_path / "killed"), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert sorted(each.suffix for each in (tmp_path / "killed").iterdir()) == [
        ".json",
        ".keras",
        ".npz",
        ".npz",
    ]
    once_more = run("train", "--resume", tmp_path / "killed", "--json")
    assert once_more.exit_code == 0
    assert last_json(once_more)["val_accuracy"] == last_json(resumed)["val_accuracy"]


@pytest.mark.slow
def test_resume_with_other_data_names_the_difference(photos, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_in_epoch(patch, 1)
        with pytest.raises(Killed):
            run("train", photos, *MINI, "--epochs", 3, "--out", tmp_path / "run")
    other = draw_demo_photos(tmp_path / "other", share=0.2)
    result = run("train", other, "--resume", tmp_path / "run")
    assert result.exit_code == 2
    assert "data train images: 20 then, 40 now" in result.stderr


@pytest.mark.slow
def test_process_killed_before_its_first_step_can_be_resumed(photos, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "ktransfer", "train", photos, *MINI, "--epochs", "1"]
    process = subprocess.Popen([*command, "--out", out], stderr=subprocess.DEVNULL)
    while not (out / "training" / "command.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    result = run("train", "--resume", out, "--json")
    assert result.exit_code == 0, result.stderr
    assert FineTuner.load(out, verbose=False).class_names[0] == "bluebell"
