"""bfloat16 is used where it is measured to pay, and a training keeps what it began with."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from conftest import write_pictures
from resumed_training import KillAt, Killed, check_same, fit, make_alike
from training_networks import make_plan, make_stage, three_blocks, training_of

from ktransfer import FineTuner
from ktransfer.cache.place import default_folder
from ktransfer.training import devices, measures_bfloat16, precision

#: Images a second in float32 and in bfloat16, of three networks on one processor.
RESNET50, MOBILENETV2, EFFICIENTNETB0 = (14.5, 23.7), (76.0, 56.0), (40.0, 26.0)
PLAN = make_plan(make_stage(unfreeze=1, epochs=3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("precision") / "pictures", 8)


@pytest.fixture(autouse=True)
def _own_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("KTRANSFER_CACHE", str(tmp_path / "cache"))


def fake(monkeypatch, speeds, *, seconds=1e6):
    """Let these speeds be measured; returns what is measured, as it goes on."""
    measured = []

    def images_per_second(prepared, asked):
        measured.append(asked)
        return dict(zip(("float32", "mixed_bfloat16"), speeds, strict=True))[asked]

    monkeypatch.setattr(precision, "images_per_second", images_per_second)
    monkeypatch.setattr(precision, "estimated_seconds", lambda prepared, source: seconds)
    return measured


def run(folder, plan=PLAN, **settings):
    return training_of(plan, folder, measures_bfloat16=True, **settings).run()


def taken(result):
    return [
        each.split(" computes in ")[1].split(":")[0]
        for each in result.notes
        if " computes " in each
    ]


# Which processors are asked.


def processor_with(tmp_path, monkeypatch, flags):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: {flags}\n\n" * 2)
    monkeypatch.setattr(devices, "_CPU_INFO", path)


@pytest.mark.parametrize(
    ("flags", "asked"),
    [("fpu amx_bf16 amx_tile", True), ("avx512_bf16", True), ("avx2 avx512f amx_bf160", False)],
)
def test_only_processors_that_multiply_bfloat16_are_measured(tmp_path, monkeypatch, flags, asked):
    processor_with(tmp_path, monkeypatch, flags)
    assert measures_bfloat16("auto") is asked
    assert not measures_bfloat16("float32")
    assert devices.processor() == "Some CPU @ 2 GHz"


def test_where_the_system_says_nothing_of_its_processor_nothing_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "_CPU_INFO", tmp_path / "none")
    assert not measures_bfloat16("auto")
    assert devices.processor()


def test_an_accelerator_is_not_measured(tmp_path, monkeypatch):
    processor_with(tmp_path, monkeypatch, "amx_bf16")
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["cpu:0", "gpu:0"])
    assert not measures_bfloat16("auto")


# What is decided.


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        (RESNET50, "bfloat16"),
        (MOBILENETV2, "float32"),
        (EFFICIENTNETB0, "float32"),
        ((10.0, 11.9), "float32"),
        ((10.0, 12.0), "bfloat16"),
    ],
)
def test_it_is_used_where_it_is_measured_to_be_a_fifth_faster(
    folder, monkeypatch, speeds, expected
):
    fake(monkeypatch, speeds)
    (result,) = run(folder)
    assert taken(result) == [expected]
    (note,) = [each for each in result.notes if "computes" in each]
    assert f"{speeds[1]:.3g} images a second in bfloat16 and {speeds[0]:.3g} in float32" in note


def test_the_layers_compute_in_what_was_decided(folder, monkeypatch):
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(training.network.backbone.model.layers[-1].dtype_policy.name)

    for speeds, expected in ((RESNET50, "mixed_bfloat16"), (MOBILENETV2, "float32")):
        seen.clear()
        fake(monkeypatch, speeds)
        plan = make_plan(make_stage(unfreeze=1, batch_size=3 if speeds is RESNET50 else 4))
        training = training_of(plan, folder, measures_bfloat16=True, callbacks=(Look(),))
        training.run()
        assert set(seen) == {expected}
    assert {each.dtype_policy.name for each in training.network.backbone.model.layers} == {
        "float32"
    }


def test_a_stage_too_short_to_earn_it_back_is_not_measured(folder, monkeypatch):
    measured = fake(monkeypatch, RESNET50, seconds=precision.LEAST_STAGE_S - 1)
    (result,) = run(folder)
    assert (measured, taken(result)) == ([], [])


def estimated(folder, monkeypatch, epochs):
    """The estimate of a stage on 18 images whose blocks take half a second for a row."""
    clock, asked = [0.0], []

    def forward(cut, later_cut):
        asked.append((cut, later_cut))
        return lambda rows: clock.append(0.5 * len(rows))

    training = training_of(make_plan(make_stage(unfreeze=1, epochs=epochs)), folder)
    with training.before_last_stage(lambda stage: stage) as prepared:
        assert prepared.data.num_train == 18
        monkeypatch.setattr(precision, "time", SimpleNamespace(perf_counter=lambda: sum(clock)))
        return precision.estimated_seconds(prepared, SimpleNamespace(forward=forward)), asked


def test_a_long_stage_is_estimated_by_the_time_of_its_own_blocks(folder, monkeypatch):
    seconds, asked = estimated(folder, monkeypatch, epochs=100)
    assert seconds == pytest.approx(2.3 * 100 * 18 * 0.5)
    assert asked == [(2, 3)]


def test_of_few_images_not_even_the_time_is_taken(folder, monkeypatch):
    assert estimated(folder, monkeypatch, epochs=55) == (0.0, [])  # 990 views


def test_a_head_alone_is_never_measured(folder, monkeypatch):
    measured = fake(monkeypatch, RESNET50)
    (result,) = run(folder, make_plan(make_stage(unfreeze=0)))
    assert (measured, taken(result)) == ([], [])


@pytest.mark.parametrize("speeds", [(0.0, 9.0), (9.0, 0.0), (0.0, 0.0)])
def test_where_memory_does_not_do_for_the_measurement_it_stays_in_float32(
    folder, monkeypatch, speeds
):
    measured = fake(monkeypatch, speeds)
    assert taken(run(folder)[0]) == []
    run(folder)
    assert len(measured) == 4  # and it is not remembered


# What is remembered.


@pytest.mark.slow
def test_it_is_measured_once_for_a_machine_and_a_backbone(folder, monkeypatch):
    measured = fake(monkeypatch, RESNET50)
    assert [taken(run(folder)[0]) for _ in range(2)] == [["bfloat16"]] * 2
    assert measured == ["float32", "mixed_bfloat16"]
    # Remembered, it costs nothing: short stages take it, too.
    monkeypatch.setattr(precision, "estimated_seconds", lambda prepared, source: 0.0)
    assert taken(run(folder)[0]) == ["bfloat16"]
    monkeypatch.setattr(precision, "estimated_seconds", lambda prepared, source: 1e6)
    run(folder, make_plan(make_stage(unfreeze=2, epochs=3)))
    assert len(measured) == 4
    monkeypatch.setattr(precision, "processor", lambda: "another one")
    run(folder)
    assert len(measured) == 6


@pytest.mark.parametrize(
    "contents", [b"{", b"[1]", b"\xff\xfe", b"null", "of another kind", "of zeros", "a folder"]
)
def test_a_damaged_memory_is_measured_anew_and_mended(folder, monkeypatch, contents):
    measured = fake(monkeypatch, RESNET50)
    run(folder)
    path = default_folder() / "precision.json"
    known = json.loads(path.read_text())
    assert list(known.values()) == [list(RESNET50)]
    if contents == "a folder":
        path.unlink()
        path.mkdir()
    elif isinstance(contents, bytes):
        path.write_bytes(contents)
    else:
        bad = [0.0, 1.0] if contents == "of zeros" else {"float32": "fast"}
        path.write_text(json.dumps(dict.fromkeys(known, bad)))
    assert taken(run(folder)[0]) == ["bfloat16"]
    assert len(measured) == 4
    if contents != "a folder":
        assert json.loads(path.read_text()) == known


def test_without_a_cache_nothing_is_kept(folder, monkeypatch):
    measured = fake(monkeypatch, RESNET50)
    for _ in range(2):
        run(folder, cache="off")
    assert len(measured) == 4
    assert not (default_folder() / "precision.json").exists()


# What is measured.


@pytest.mark.slow
def test_measuring_leaves_the_training_as_it_would_have_been(folder, monkeypatch):
    stage = make_stage(
        unfreeze=2, epochs=2, batch_norm="train", dropout=0.3, augmentation="standard"
    )
    plan = make_plan(stage)

    def weights(speeds):
        model = three_blocks(dropout=0.2)
        training = training_of(plan, folder, model, measures_bfloat16=bool(speeds))
        training.run()
        return [np.array(each) for each in training.network.variables_from(0)]

    expected = weights(None)
    really, measured = precision.images_per_second, []
    monkeypatch.setattr(precision, "estimated_seconds", lambda prepared, source: 1e6)

    def slower(prepared, asked):
        measured.append(really(prepared, asked))
        return {"float32": 2.0, "mixed_bfloat16": 1.0}[asked]

    monkeypatch.setattr(precision, "images_per_second", slower)
    found = weights(MOBILENETV2)
    assert len(measured) == 2
    assert min(measured) > 0
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, two)


# Going on.


@pytest.mark.slow
@pytest.mark.parametrize("speeds", [RESNET50, MOBILENETV2])
def test_a_resumed_stage_keeps_the_precision_that_it_began_with(
    folder, tmp_path, monkeypatch, speeds
):
    make_alike(monkeypatch.setattr)
    processor_with(tmp_path, monkeypatch, "amx_bf16")
    fake(monkeypatch, speeds)
    expected = fit(folder, plan=PLAN, cache="off")
    with pytest.raises(Killed):
        fit(folder, plan=PLAN, cache="off", out=tmp_path / "run", more=[KillAt(epoch=1)])
    fake(monkeypatch, speeds[::-1])
    found = fit(folder, plan=PLAN, cache="off", out=tmp_path / "run", resume=True)
    assert taken(found.result.stages[0]) == taken(expected.result.stages[0])
    check_same(found, expected)


@pytest.mark.slow
def test_a_stage_of_an_earlier_version_goes_on_in_float32(folder, tmp_path, monkeypatch):
    make_alike(monkeypatch.setattr)
    processor_with(tmp_path, monkeypatch, "avx2")
    expected = fit(folder, plan=PLAN, cache="off")
    with pytest.raises(Killed):
        fit(folder, plan=PLAN, cache="off", out=tmp_path / "run", more=[KillAt(epoch=1)])
    processor_with(tmp_path, monkeypatch, "amx_bf16")
    fake(monkeypatch, RESNET50)
    check_same(fit(folder, plan=PLAN, cache="off", out=tmp_path / "run", resume=True), expected)


def test_a_fine_tuner_says_which_and_why(folder, tmp_path, monkeypatch):
    processor_with(tmp_path, monkeypatch, "amx_bf16")
    fake(monkeypatch, RESNET50)
    result = FineTuner(three_blocks(), verbose=False).fit(folder, plan=PLAN)
    (note,) = [each for each in result.notes if "computes in" in each]
    assert note == (
        "stage 'one' computes in bfloat16: on this processor a training step of it takes 23.7 "
        "images a second in bfloat16 and 14.5 in float32, measured; precision='float32' takes the "
        "other"
    )
