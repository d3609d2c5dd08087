"""Files of ours beside the run itself: damaged, of another kind, or wrong with right checksums."""

import json
import os

import numpy as np
import pytest

from ktransfer import InputError, RunError
from ktransfer.advisor import Advice
from ktransfer.cli.resume import command_to_resume
from ktransfer.cli.train import checked_plan
from ktransfer.features import FEATURE_SETS
from ktransfer.plan import linear_probe
from ktransfer.profile import Profile
from ktransfer.profile.profile import Columns
from ktransfer.training import Checkpoints
from ktransfer.tuner.records import DONE, Journal, Record
from ktransfer.tuner.search import read_command

COMMAND = {"data": "photos", "backbone": "VGG16", "weights": None, "backbone_options": []}


@pytest.fixture
def profile(tmp_path):
    features = np.arange(20, dtype=np.float32).reshape(4, 5)
    widths = dict(zip(FEATURE_SETS, (2, 5, 5), strict=True))
    columns = (Columns("one", 0, 0, 2), Columns("two", 1, 2, 5))
    return Profile(features, np.arange(4, dtype=np.int32), columns, widths, None, "nothing")


def resaved(profile, path, **changes):
    """The profile with parts of it changed, and right checksums."""
    for name, value in changes.items():
        object.__setattr__(profile, name, value)
    profile.save(path)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.arange(3)}, r"features of the shape \(4, 5\) and labels of \(3,\)"),
        ({"labels": np.zeros(4)}, "labels float64"),
        ({"features": np.zeros((4, 5), np.int32)}, "features are int32"),
        ({"columns": (Columns("one", 0, 0, 6),)}, "columns beyond its 5 features"),
        ({"columns": (Columns("one", 0, "0", 2),)}, r"columns\[0\].start is str, not int"),
        ({"widths": {"last": 2}}, "for 5 features"),
        ({"gap_source": None}, "gap_source is NoneType, not str"),
    ],
)
def test_profile_whose_parts_do_not_fit_is_refused(tmp_path, profile, changes, message):
    path = resaved(profile, tmp_path / "profile.npz", **changes)
    with pytest.raises(
        RunError, match=rf"profile\.npz is no profile, or a damaged one: .*{message}"
    ):
        Profile.load(path)


def test_profile_is_read_through_a_link_and_not_from_a_pipe(tmp_path, profile):
    profile.save(tmp_path / "profile.npz")
    (tmp_path / "link.npz").symlink_to("profile.npz")
    np.testing.assert_array_equal(Profile.load(tmp_path / "link.npz").features, profile.features)
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(RunError, match=r"pipe\.npz is a pipe or a device"):
        Profile.load(tmp_path / "pipe.npz")


def test_checkpoint_that_is_a_link_or_a_folder_is_refused_and_not_taken_for_none(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"a": np.zeros(2)}, {})
    state = checkpoints.folder / "state.npz"
    state.rename(tmp_path / "kept.npz")
    state.symlink_to(tmp_path / "kept.npz")
    with pytest.raises(RunError, match=r"damaged \(state\.npz: .*is a symbolic link"):
        checkpoints.load()
    state.unlink()
    state.mkdir()
    with pytest.raises(RunError, match=r"damaged \(state\.npz: .*is a folder"):
        checkpoints.load()
    (checkpoints.folder / "request.json").mkdir()
    with pytest.raises(RunError, match=r"request\.json is a folder"):
        checkpoints.read_request()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": "0"}, "a trial.seed is str, not int"),
        ({"curve": ["a"]}, r"a trial.curve\[0\] is str, not float"),
        ({"plan": {"name": "x", "stages": []}}, "is empty"),
        ({"name": "../0001"}, r"trial '\.\./0001' with the status 'done'"),
        ({"status": "finished"}, "trial '0000' with the status 'finished'"),
        ({"test": {"interval": []}}, "confusion"),
    ],
)
def test_trial_that_is_none_is_named(tmp_path, changes, message):
    plan = linear_probe().to_dict()
    Journal(tmp_path).write(Record("0000", {"unfreeze": 0}, plan, 0, DONE, curve=(0.5,)))
    path = tmp_path / "trials" / "0000.json"
    assert Journal(tmp_path).find("0000").curve == (0.5,)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(RunError, match=rf"0000\.json is damaged: .*{message}"):
        Journal(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": 1}, "'data' is 1"),
        ({"backbone": None}, "'backbone' is None"),
        ({"weights": 3}, "'weights' is 3"),
        ({"backbone_options": {"a": 1}}, "'backbone_options' is {'a': 1}"),
        ({"backbone_options": [["a"]]}, "'backbone_options' is"),
    ],
)
def test_noted_command_that_is_none_is_refused(changes, message):
    with pytest.raises(RunError, match=f"the command noted in runs/x is damaged: {message}"):
        command_to_resume({**COMMAND, **changes}, None, None, "runs/x")


def test_search_whose_command_lacks_an_option_names_it(tmp_path, pictures):
    (tmp_path / "command.json").write_text(json.dumps({**COMMAND, "data": str(pictures)}))
    with pytest.raises(RunError, match="it does not say test_fraction, seed, max_unfreeze"):
        read_command(str(tmp_path))


def test_advice_of_a_wrong_kind_is_refused():
    fields = {"cell": "between", "strategy": "lp_ft", "reasons": ["so"], "overfitting_risk": "low"}
    numbers = {"trainable_parameters": 3, "num_blocks": 2, "num_trainable_blocks": 1}
    assert Advice.from_dict({**fields, **numbers}).num_blocks == 2
    with pytest.raises(TypeError, match=r"advice\.num_blocks is str, not int"):
        Advice.from_dict({**fields, **numbers, "num_blocks": "2"})


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_plan_that_is_no_plain_file_is_refused(tmp_path, make):
    make(tmp_path / "plan.json")
    with pytest.raises(InputError, match=r"plan\.json' cannot be read: .*where a plain file"):
        checked_plan(str(tmp_path / "plan.json"))


def test_weights_that_lead_elsewhere_are_refused(tmp_path):
    import h5py

    from ktransfer import load_backbone

    path = tmp_path / "evil.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/passwd", "/")
    with pytest.raises(InputError, match=r"'evil\.weights\.h5' .*'layers' is a link that leads"):
        load_backbone("MobileNetV2", path, 32, alpha=0.35)
