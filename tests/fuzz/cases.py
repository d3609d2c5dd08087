"""A small valid run and its like, one damage for each number, and what comes of loading it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import random
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from conftest import write_pictures
from damage import damaged_bytes, damaged_json, damaged_text
from hostile import hostile_models, members_of, packed
from training_networks import make_plan, make_stage, three_blocks

from ktransfer import FineTuner, InputError, RunError
from ktransfer.backbones.weights import load_weights_file
from ktransfer.cli import terminal
from ktransfer.cli.train import checked_plan
from ktransfer.data.learnt import KINDS, Learnt
from ktransfer.features import FEATURE_SETS
from ktransfer.plan import named_plan
from ktransfer.profile import Profile
from ktransfer.profile.gap import DomainGap
from ktransfer.profile.profile import Columns
from ktransfer.runs.saving import read_side
from ktransfer.runs.unfinished import read_command, write_command
from ktransfer.training import Checkpoints
from ktransfer.tuner.records import DONE, Journal, Record

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.float32)

#: What may come of a case: an error of ours, the very same, or (where the damage comes with a
#: right checksum, so that nobody could know) something else that is whole.
REFUSED, SAME, OTHER = "refused", "the same", "another, whole"
#: Loaded, but Keras raises an error when it carries out what a forged configuration says.
FORGED = "another, does not run"


class FaultError(Exception):
    """A case came out as it must not."""


@dataclasses.dataclass(frozen=True)
class Base:
    """Valid files, and what a load of each says."""

    folder: Path
    weights: Path
    members: dict[str, bytes]
    predicted: np.ndarray
    states: dict[str, Any]


def make_base(folder: Path) -> Base:
    """Train a tiny network for two epochs, and write one of each kind of file."""
    run = folder / "run"
    network = three_blocks()
    tuner = FineTuner(network, None, verbose=False)
    plan = make_plan(make_stage(unfreeze=1))
    data = write_pictures(folder / "pictures", 8)
    tuner.fit(data, plan=plan, out=run, cache="off")
    tuner.backbone.model.save_weights(folder / "small.weights.h5")
    _write_others(folder / "others", plan)
    return read_base(folder)


def read_base(folder: Path) -> Base:
    """What `make_base` left in a folder."""
    states: dict[str, Any] = {}
    for name, load in _OTHERS.items():
        states[name] = load(folder / "others")
    (model,) = (folder / "run").glob("*.keras")
    predicted = _predicted(FineTuner.load(folder / "run", verbose=False))
    return Base(folder, folder / "small.weights.h5", members_of(model), predicted, states)


def _write_others(folder: Path, plan: Any) -> None:
    arrays = {"network/0": np.arange(12.0, dtype=np.float32).reshape(3, 4)}
    checkpoints = Checkpoints(folder)
    checkpoints.save(arrays, {"stages": [], "cut": 2, "in_stage": {"history": [{"loss": 0.5}]}})
    checkpoints.write_request({"plan": plan.to_dict(), "classes": ["a", "b"]})
    record = Record("0000", {"unfreeze": 1}, plan.to_dict(), 0, DONE, curve=(0.5, 0.75))
    Journal(folder).write(record)
    columns = (Columns("one", 0, 0, 2), Columns("two", 1, 2, 5))
    gap = DomainGap(0.1, (0.05, 0.2), False, (0.1, 0.1, 0.1), {"bn": 0.1}, 40)
    widths = dict(zip(FEATURE_SETS, (2, 5, 5), strict=True))
    features = np.arange(20, dtype=np.float32).reshape(4, 5)
    Profile(features, np.arange(4, dtype=np.int32), columns, widths, gap, "itself").save(
        folder / "profile.npz"
    )
    (folder / "plan.json").write_text(named_plan("lp_ft").to_json())
    digests = np.arange(7, dtype=np.uint64)
    (folder / "learnt.npz").write_bytes(Learnt(digests[:5], digests[5:], KINDS[:1]).to_bytes())
    # Last: it deletes what an earlier training left, which the checkpoint is not.
    kept = {each: each.read_bytes() for each in checkpoints.folder.iterdir()}
    write_command(folder, {"data": "photos", "backbone": "VGG16", "weights": None, "epochs": 3})
    for path, contents in kept.items():
        path.write_bytes(contents)


def _checkpoint(folder: Path) -> Any:
    arrays, plain = Checkpoints(folder).load()
    return {key: each.tolist() for key, each in arrays.items()}, plain


def _profile(folder: Path) -> Any:
    profile = Profile.load(folder / "profile.npz")
    for name in FEATURE_SETS:
        profile.features_of(name)
    return _plain(dataclasses.asdict(profile))


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=lambda each: each.tolist()))


def _learnt(folder: Path) -> Any:
    # As in a run whose record has the checksum of what lies there now.
    contents = (folder / "learnt.npz").read_bytes()
    digest = hashlib.sha256(contents).hexdigest()
    name = f"learnt-{digest[:8]}.npz"
    (folder / name).write_bytes(contents)
    found = read_side(folder, {"learnt": {"file": name, "sha256": digest}}, "learnt", Learnt.read)
    assert found is not None
    return found.train.tolist(), found.validation.tolist(), found.kinds


_OTHERS: dict[str, Callable[[Path], Any]] = {
    "training/state.npz": _checkpoint,
    "training/request.json": lambda folder: Checkpoints(folder).read_request(),
    "training/command.json": read_command,
    "trials/0000.json": lambda folder: [
        (each.row(), each.to_plan().to_dict()) for each in Journal(folder).all()
    ],
    "profile.npz": _profile,
    "learnt.npz": _learnt,
    "plan.json": lambda folder: checked_plan(str(folder / "plan.json")),
}


def _predicted(tuner: FineTuner) -> np.ndarray:
    with warnings.catch_warnings():
        # An input that came out as a list of one: Keras takes the images, and says so.
        warnings.simplefilter("ignore", UserWarning)
        return np.asarray(tuner.model(IMAGES, training=False))


def outcome(base: Base, number: int, seed: int) -> tuple[str, str]:
    """Do one damage, load what came of it, and say what came of that.

    Returns:
        The kind of damage, and one of `REFUSED`, `SAME`, `OTHER`, `FORGED`.

    Raises:
        FaultError: something else happened.
    """
    dice = random.Random(f"{seed}/{number}")
    kind = dice.choices(list(_KINDS), weights=[each[0] for each in _KINDS.values()])[0]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        return kind, _KINDS[kind][1](base, Path(folder), dice)


def _load_run(base: Base, run: Path, *, may_differ: bool = False) -> str:
    try:
        tuner = FineTuner.load(run, verbose=False)
    except RunError as error:
        _check_message(error)
        return REFUSED
    try:
        predicted = _predicted(tuner)
    except Exception:
        if not may_differ:
            raise
        return FORGED
    same = np.array_equal(predicted, base.predicted, equal_nan=True)
    # Whatever reads a run must be able to live with what was loaded.
    str(tuner.summary())
    if tuner.result:
        json.dumps(tuner.result.to_dict())
        str(tuner.result.plan)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            terminal.show(tuner.result.printed())
            terminal.show(tuner.result.details(tuner.backbone.name))
    if not same and not may_differ:
        raise FaultError("a run was loaded that predicts otherwise")
    return SAME if same else OTHER


def _check_message(error: Exception) -> None:
    if len(str(error)) > 20_000:
        raise FaultError(f"a message of {len(str(error)):,} characters")


def _copied(base: Base, folder: Path) -> tuple[Path, Path]:
    run = Path(shutil.copytree(base.folder / "run", folder / "run"))
    return run, next(run.glob("*.keras"))


def _with_model(base: Base, folder: Path, model: bytes) -> Path:
    """The run with another model and its right checksum, as an attacker would write it."""
    run, old = _copied(base, folder)
    old.unlink()
    digest = hashlib.sha256(model).hexdigest()
    (run / f"model-{digest[:8]}.keras").write_bytes(model)
    record = json.loads((run / "run.json").read_text())
    record |= {"model_sha256": digest, "model_file": f"model-{digest[:8]}.keras"}
    (run / "run.json").write_text(json.dumps(record))
    return run


def _record(base: Base, folder: Path, dice: random.Random) -> str:
    run, _ = _copied(base, folder)
    path = run / "run.json"
    path.write_bytes(damaged_text(json.loads(path.read_text()), dice))
    return _load_run(base, run)


def _model(base: Base, folder: Path, dice: random.Random) -> str:
    run, path = _copied(base, folder)
    path.write_bytes(damaged_bytes(path.read_bytes(), dice))
    return _load_run(base, run)


def _model_rehashed(base: Base, folder: Path, dice: random.Random) -> str:
    model = damaged_bytes(packed(base.members), dice)
    return _load_run(base, _with_model(base, folder, model), may_differ=True)


def _weights_rehashed(base: Base, folder: Path, dice: random.Random) -> str:
    changed = damaged_bytes(base.members["model.weights.h5"], dice)
    model = packed({**base.members, "model.weights.h5": changed})
    return _load_run(base, _with_model(base, folder, model), may_differ=True)


def _config_rehashed(base: Base, folder: Path, dice: random.Random) -> str:
    changed = damaged_text(json.loads(base.members["config.json"]), dice)
    model = packed({**base.members, "config.json": changed})
    return _load_run(base, _with_model(base, folder, model), may_differ=True)


def _hostile(base: Base, folder: Path, dice: random.Random) -> str:
    made = hostile_models(base.members)
    name = dice.choice(list(made))
    found = _load_run(base, _with_model(base, folder, made[name]()), may_differ=True)
    if found != REFUSED:
        raise FaultError(f"a hostile file was loaded: {name}")
    return found


def _file_kind(base: Base, folder: Path, dice: random.Random) -> str:
    run, model = _copied(base, folder)
    path = dice.choice((run / "run.json", model))
    contents = path.read_bytes()
    path.unlink()
    kind = dice.choice(("missing", "empty", "folder", "pipe", "link", "device", "loop", "secret"))
    if kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind != "missing":
        (folder / "kept").write_bytes(contents)
        targets = {"link": folder / "kept", "device": "/dev/zero", "loop": path}
        path.symlink_to(targets.get(kind, "/etc/passwd"))
    found = _load_run(base, run)
    if found != REFUSED:
        raise FaultError(f"{path.name} was read although it is {kind}")
    return found


def _other(base: Base, folder: Path, dice: random.Random) -> str:
    name = dice.choice(list(_OTHERS))
    copy = Path(shutil.copytree(base.folder / "others", folder / "others"))
    path, honest = copy / name, True
    if name.endswith(".npz") and dice.random() < 0.5:
        honest = False
        path.write_bytes(_damaged_archive(path, dice))
    elif name.endswith(".npz"):
        path.write_bytes(damaged_bytes(path.read_bytes(), dice))
    else:
        honest = False  # JSON has no checksum: another value is as good as the one before
        path.write_bytes(damaged_text(json.loads(path.read_text()), dice))
    try:
        found = _OTHERS[name](copy)
    except RunError as error:
        _check_message(error)
        return REFUSED
    except InputError:
        if name != "plan.json":  # the one file that people write themselves
            raise
        return REFUSED
    # Not ==: NaN is not equal to itself.
    same = repr(found) == repr(base.states[name])
    if honest and not same:
        raise FaultError(f"{name} was read and says something else")
    return SAME if same else OTHER


def _damaged_archive(path: Path, dice: random.Random) -> bytes:
    """An archive of arrays with one member damaged, and right checksums."""
    members = members_of(path)
    name = dice.choice(list(members))
    contents = members[name]
    if name in ("plain_data.npy", "about.npy") and dice.random() < 0.7:
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            text = np.lib.format.read_array(file).tobytes()
        changed = np.frombuffer(json.dumps(damaged_json(json.loads(text), dice)).encode(), np.uint8)
        target = path.with_name("member.npy")
        np.save(target, changed)
        members[name] = target.read_bytes()
        target.unlink()
    else:
        members[name] = damaged_bytes(contents, dice)
    return packed(members)


def _weights_file(base: Base, folder: Path, dice: random.Random) -> str:
    path = folder / "damaged.weights.h5"
    path.write_bytes(damaged_bytes(base.weights.read_bytes(), dice))
    network = _network()
    try:
        load_weights_file((network,), path, "three_blocks")
    except InputError as error:  # what the user gave
        _check_message(error)
        return REFUSED
    # Weights files have no checksum: a changed number is as good as the one before.
    return OTHER


_known: list[keras.Model] = []


def _network() -> keras.Model:
    if not _known:
        _known.append(three_blocks())
    return _known[0]


_KINDS: dict[str, tuple[float, Callable[[Base, Path, random.Random], str]]] = {
    "run.json": (25, _record),
    "model, checksum wrong": (12, _model),
    "model, checksum right": (12, _model_rehashed),
    "weights in the model, checksum right": (14, _weights_rehashed),
    "configuration in the model, checksum right": (9, _config_rehashed),
    "hostile model, checksum right": (6, _hostile),
    "links, pipes, folders": (4, _file_kind),
    "checkpoint, request, command, trial, profile, plan": (12, _other),
    "weights file": (6, _weights_file),
}


def attempt(base: Base, number: int, seed: int) -> tuple[str, str, str]:
    """`outcome` with what must not happen as a third word: empty where all is well."""
    try:
        kind, found = outcome(base, number, seed)
    except Exception as error:
        return "", "fault", f"{type(error).__name__}: {str(error)[:300]}"
    return kind, found, ""
