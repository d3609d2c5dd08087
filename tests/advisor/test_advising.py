"""Looking at images and deciding, from the pictures to the trained model."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import small_network, write_pictures
from resumed_training import KillAt, Killed, make_alike
from training_networks import three_blocks

from ktransfer import Advice, FineTuner, InputError, RunError, load_backbone
from ktransfer.advisor import adviser as adviser_module
from ktransfer.advisor.trying import Tries
from ktransfer.cache import Store
from ktransfer.cli import main
from ktransfer.data import ImageFiles, image_dataset, read_data, read_folder
from ktransfer.features import RowSource
from ktransfer.finetuner import fit as fit_module
from ktransfer.plan import linear_probe, lp_ft
from ktransfer.profile import (
    Profile,
    columns_of,
    gap_or_reason,
    measure_gap,
    measuring,
    profile_part,
    reference,
)
from ktransfer.profile.probes import probe


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("advising") / "pictures", 20)


def tuner_of(model=None, **options):
    return FineTuner(model or three_blocks(), verbose=False, **options)


def said_by_blocks(images):
    """Averages of what each block says, the last one first, then what their convolutions read."""
    backbone = load_backbone(three_blocks(), preprocessing="none")
    outputs = [block.outputs[0] for block in backbone.blocks]
    said = keras.Model(backbone.model.inputs[0], outputs)(images.astype(np.float32))
    means = [np.asarray(each).mean(axis=(1, 2)) for each in said]
    return np.concatenate([means[-1], *means[:-1]], axis=1)


def look_of(folder, tuner=None, **options):
    tuner = tuner or tuner_of()
    return tuner._fit(options).profile_images(read_folder(folder))


def test_profile_holds_what_every_block_says_and_the_last_first(folder):
    look = look_of(folder)
    images = np.concatenate(
        [each for each, _ in image_dataset(read_folder(folder).train, (16, 16))]
    )
    expected = said_by_blocks(images)
    profile = look.profile
    assert profile.widths == {"last": 6, "all_blocks": 15, "all_blocks_and_inner": 15}
    np.testing.assert_allclose(profile.features_of("all_blocks"), expected, atol=1e-5)
    np.testing.assert_allclose(profile.features_of("last"), expected[:, :6], atol=1e-5)
    np.testing.assert_allclose(profile.features_of_block(1), expected[:, 10:], atol=1e-5)
    np.testing.assert_array_equal(profile.labels, read_folder(folder).train.labels)
    with pytest.raises(InputError, match="unknown feature set 'lst': did you mean last"):
        profile.features_of("lst")
    with pytest.raises(InputError, match=r"no features of block 7, but of \[0, 1, 2\]"):
        profile.features_of_block(7)


def test_profile_of_a_part_by_itself_is_the_same(folder):
    backbone = load_backbone(three_blocks(), preprocessing="none")
    found, failed = profile_part(backbone, read_folder(folder).train)
    look = look_of(folder)
    assert failed == ()
    np.testing.assert_allclose(found.features, look.profile.features, atol=1e-5)
    assert found.columns == look.profile.columns
    assert found.gap.value == pytest.approx(look.profile.gap.value)


def test_heads_are_judged_block_by_block_where_asked_for(folder):
    advice = tuner_of().advise(folder, depths=True)
    profile = look_of(folder).profile
    assert [each.block for each in advice.depths] == [0, 1, 2]
    assert [each.num_features for each in advice.depths] == [4, 5, 6]
    for each in advice.depths:
        expected = probe(profile.features_of_block(each.block), profile.labels)
        assert (each.accuracy, each.interval) == (expected.accuracy, expected.interval)
    assert Advice.from_dict(json.loads(json.dumps(advice.to_dict()))) == advice
    assert tuner_of().advise(folder).depths == ()


def test_saved_profile_is_plain_data_and_damage_is_told(folder, tmp_path):
    profile, file = look_of(folder).profile, tmp_path / "profile.npz"
    profile.save(file)
    loaded = Profile.load(file)
    np.testing.assert_array_equal(loaded.features, profile.features)
    np.testing.assert_array_equal(loaded.labels, profile.labels)
    for name in ("columns", "widths", "gap", "gap_source"):
        assert getattr(loaded, name) == getattr(profile, name)
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"PK\3\4 no archive", whole[:-200]):
        file.write_bytes(damaged)
        with pytest.raises(RunError, match="is no profile, or a damaged one"):
            Profile.load(file)
    with pytest.raises(RunError, match=r"missing\.npz cannot be read: No such file"):
        Profile.load(tmp_path / "missing.npz")
    with pytest.raises(InputError, match=r"folder\.npz': there is no folder"):
        profile.save(tmp_path / "no" / "folder.npz")


def test_profile_of_another_format_is_named(folder, tmp_path, monkeypatch):
    file = tmp_path / "profile.npz"
    monkeypatch.setattr("ktransfer.profile.profile._FORMAT", 9)
    look_of(folder).profile.save(file)
    monkeypatch.undo()
    with pytest.raises(RunError, match="has format 9, this version reads 1"):
        Profile.load(file)


def test_training_goes_on_from_the_look_and_runs_nothing_again(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("KTRANSFER_CACHE", str(tmp_path))
    runs = []
    original = RowSource._kept
    monkeypatch.setattr(
        RowSource, "_kept", lambda self, *asked: runs.append(asked[1:3]) or original(self, *asked)
    )
    tuner = tuner_of(seed=5)
    result = tuner.fit(folder, fine_tuning="off", epochs=3)
    assert runs == [("train", 3), ("validation", 3)]
    plan = dataclasses.replace(result.plan, name="mine")
    other = tuner_of(seed=5)
    other.fit(folder, plan=plan, cache="off")
    images = sorted(folder.glob("*/*.png"))[::7]
    np.testing.assert_allclose(
        tuner.predict(images).probabilities, other.predict(images).probabilities, atol=1e-4
    )


def test_unreadable_pictures_are_left_out_once_and_named(tmp_path):
    pictures = write_pictures(tmp_path / "pictures", 12)
    broken = sorted(pictures.glob("*/*.png"))[::9]
    for each in broken:
        each.write_bytes(each.read_bytes()[:-30])
    result = tuner_of().fit(pictures, epochs=2, check="off")
    assert sorted(each.path for each in result.skipped) == [str(each) for each in broken]
    assert sum(result.part_sizes.values()) == 36 - len(broken)


@pytest.mark.parametrize("limit", ["MOST_WHOLE_IMAGES", "MOST_WHOLE_MB"])
def test_of_many_images_a_sample_is_looked_at(folder, monkeypatch, limit):
    monkeypatch.setattr(
        adviser_module, limit, {"MOST_WHOLE_IMAGES": 59, "MOST_WHOLE_MB": 0.003}[limit]
    )
    monkeypatch.setattr(adviser_module, "MOST_IMAGES", 24)
    look = look_of(folder)
    assert (look.source, len(look.profile)) == (None, 24)
    assert np.bincount(look.profile.labels).tolist() == [8, 8, 8]
    assert "48 training images" in look.advice.reasons[0]
    result = tuner_of().fit(folder, epochs=3)
    assert result.part_sizes == {"train": 48, "validation": 12}


@pytest.mark.parametrize("faulty", [0, 2])
def test_a_rare_class_is_in_the_sample_and_need_not_be_readable_there(
    tmp_path, monkeypatch, faulty
):
    pictures = write_pictures(tmp_path / "pictures", 30)
    for at in range(5, 30):
        (pictures / "green" / f"{at:03}.png").unlink()
    train = read_folder(pictures).train
    greens = [
        file.path for file, label in zip(train.files, train.labels, strict=True) if label == 1
    ]
    for path in (greens[0], greens[-1])[:faulty]:  # those of the sample
        os.truncate(path, 700)
    monkeypatch.setattr(adviser_module, "MOST_WHOLE_IMAGES", 20)
    monkeypatch.setattr(adviser_module, "MOST_IMAGES", 12)
    profile = look_of(pictures).profile
    assert np.bincount(profile.labels, minlength=3).tolist() == [5, 2 - faulty, 5]
    result = tuner_of().fit(pictures, epochs=2, check="off")
    assert result.part_sizes["train"] == len(train) - faulty


def test_auto_tries_and_tells_afterwards(folder, tmp_path):
    tuner = tuner_of()
    result = tuner.fit(folder, fine_tuning="on", epochs=2, out=tmp_path / "run")
    assert [each.unfreeze for each in result.tries] == [1, 3, 3]
    assert {each.learning_rate for each in result.tries} == {3e-4, 5e-4, 1e-3}
    kept = [each for each in result.tries if each.kept]
    assert result.carried_out == ("lp_ft_refit" if kept else result.advice.strategy)
    assert result.unfrozen == (kept[0].unfreeze if kept else 0)
    assert "were expected of the head" in result.hindsight[0]
    assert "worth the try" in result.hindsight[-1] or "cost only time" in result.hindsight[-1]
    loaded = FineTuner.load(tmp_path / "run", verbose=False).result
    assert loaded.hindsight == result.hindsight
    assert loaded.tries == result.tries
    assert not (tmp_path / "run" / "training").exists()
    assert loaded.advice == result.advice
    assert str(result.trainable_parameters) in result.overfitting_risk.replace(",", "")


def test_a_plan_of_ones_own_is_not_looked_at(folder, monkeypatch):
    monkeypatch.setattr(fit_module.Fit, "profile_images", None)
    result = tuner_of().fit(folder, plan=linear_probe(epochs=2))
    assert result.hindsight == ()
    assert result.advice.candidates == ()
    assert result.advice.strategy == "linear_probe"
    assert tuner_of().fit(folder, plan="textbook", epochs=1).carried_out == "linear_probe"


@pytest.mark.parametrize("given", [{"plan": "lp_ft"}, {"unfreeze": 1}])
def test_fine_tuning_is_for_plans_that_are_decided(folder, given):
    with pytest.raises(InputError, match="fine_tuning='off' is for plan='auto'"):
        tuner_of().fit(folder, fine_tuning="off", **given)


@pytest.mark.slow
def test_a_resumed_training_keeps_the_plan_that_it_began_with(folder, tmp_path, monkeypatch):
    make_alike(lambda *given: monkeypatch.setattr(*given))
    how = {"fine_tuning": "on", "epochs": 2}
    expected = tuner_of()
    expected.fit(folder, **how)
    with pytest.raises(Killed):
        tuner_of().fit(folder, out=tmp_path / "run", callbacks=[KillAt(epoch=1)], **how)
    # On a machine where everything seems to take days, now.
    none = Tries((), "everything would take days", None)
    monkeypatch.setattr("ktransfer.advisor.deciding.tries_of", lambda *known: none)
    assert tuner_of().advise(folder, fine_tuning="on").tries == ()
    found = tuner_of()
    result = found.fit(folder, out=tmp_path / "run", resume=True, **how)
    assert [each.unfreeze for each in result.tries] == [1, 3, 3]
    for one, other in zip(expected.model.get_weights(), found.model.get_weights(), strict=True):
        assert one.tobytes() == other.tobytes()
    # Complete it is, too: the plan is compared, and not decided on anew.
    watch = KillAt()
    again = tuner_of().fit(folder, out=tmp_path / "run", resume=True, callbacks=[watch], **how)
    assert watch.counted["epochs"] == 0
    assert again.plan == result.plan


def test_plan_decides_without_training(folder):
    tuner = tuner_of()
    before = [np.array(each) for each in tuner.backbone.model.weights]
    advice = tuner.advise(folder)
    assert tuner.result is None
    assert advice.seconds > 0
    assert advice.plan.num_blocks == 3
    for old, new in zip(before, tuner.backbone.model.weights, strict=True):
        np.testing.assert_array_equal(old, np.array(new))
    result = tuner.fit(folder, epochs=2)
    assert result.advice.strategy == advice.strategy
    with pytest.raises(InputError, match=r"\[0, 1\].*got -1"):
        tuner.advise(folder, similarity=-1)
    with pytest.raises(InputError, match="unknown fine_tuning 'yes'"):
        tuner.advise(folder, fine_tuning="yes")


# The gap.


def part_of(folder):
    return read_folder(folder).train


def test_measured_gap_is_found_in_the_store(folder, tmp_path, monkeypatch):
    backbone = load_backbone(three_blocks(), preprocessing="none")
    store = Store(tmp_path / "store")
    first = measure_gap(backbone, part_of(folder), store=store)
    monkeypatch.setattr(measuring, "compile_moments", None)
    assert measure_gap(backbone, part_of(folder), store=store) == first
    with pytest.raises(TypeError):  # other images
        measure_gap(backbone, part_of(folder), seed=1, store=store)
    backbone.model.weights[0].assign_add(np.ones(backbone.model.weights[0].shape))
    with pytest.raises(TypeError):  # other weights
        measure_gap(backbone, part_of(folder), store=store)


def test_a_gap_is_kept_only_where_nothing_failed_that_can_be_read(folder, tmp_path, monkeypatch):
    backbone, store = (
        load_backbone(small_network(), preprocessing="none"),
        Store(tmp_path / "store"),
    )
    for layer in backbone.model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(0.5 * np.ones(layer.moving_variance.shape))
    part = read_folder(folder).train
    expected = measuring.measure_gap(backbone, part)
    decode, failed = ImageFiles.full_size, []

    def fail_once(files, index):
        if not failed:
            failed.append(index)
            raise MemoryError
        return decode(files, index)

    with monkeypatch.context() as patch:
        patch.setattr(ImageFiles, "full_size", fail_once)
        assert measuring.measure_gap(backbone, part, store=store).num_images == len(part) - 1
    assert measuring.measure_gap(backbone, part, store=store) == expected
    part, again = read_folder(folder).train, Store(tmp_path / "again")
    digests = part.images.digests().copy()
    digests[4] += 1  # as if its bytes had been others
    part.images._digests = digests
    said = f"{re.escape(part.files[4].path)}' changed while the images were read"
    with pytest.raises(InputError, match=said):
        measuring.measure_gap(backbone, part, store=again)
    assert not again.folder.exists()


def test_an_entry_that_is_repaired_is_said(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("KTRANSFER_CACHE", str(tmp_path / "cache"))
    options = {"plan": linear_probe(), "epochs": 2, "check": "off"}
    assert not any("cache entry" in each for each in tuner_of().fit(folder, **options).notes)
    for entry in (tmp_path / "cache").iterdir():
        (entry / "indices.bin").unlink()
    notes = tuner_of().fit(folder, **options).notes
    assert sum("was damaged and is deleted: indices.bin is missing" in each for each in notes) == 2


def test_64_images_are_enough_for_a_quick_gap():
    backbone = load_backbone(three_blocks(), preprocessing="none")
    random = np.random.default_rng(0)
    part = read_data(
        (random.integers(0, 256, (400, 16, 16, 3)).astype("uint8"), np.arange(400) % 2)
    )
    numbers = []
    for rows in (40, 120, 300):
        gap, source = gap_or_reason(backbone, part.train.select(range(rows)))
        numbers.append(gap.num_images)
        assert source == f"measured on {gap.num_images} images with its own batch norm"
    assert numbers == [40, 64, 64]


def test_a_backbone_without_batch_norm_is_measured_with_another(folder):
    plain = tuner_of(three_blocks(batch_norm=False), gap_backbone=None)
    unknown = plain.advise(folder)
    assert (unknown.gap, unknown.similar) == (None, None)
    assert "The domain gap is unknown" in unknown.reasons[1]
    assert "Say similarity='similar' or 'different'" in unknown.reasons[1]
    other = load_backbone(three_blocks(), preprocessing="none")
    measured = tuner_of(three_blocks(batch_norm=False), gap_backbone=other).advise(folder)
    assert measured.gap.value == pytest.approx(measure_gap(other, part_of(folder)).value)
    assert f"with that of {other.name}" in measured.reasons[1]


def test_too_few_images_leave_the_gap_unknown(tmp_path):
    few = tuner_of().advise(write_pictures(tmp_path / "few", 6))
    assert few.gap is None
    assert "at least 32 images that can be decoded" in few.reasons[1]


@pytest.mark.shared
def test_downloaded_weights_are_what_others_are_measured_with(shared, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert reference.reference_backbone() is None
    (tmp_path / "models").mkdir()
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    weights = shared / "weights" / "mobilenetv2_1.0_224_notop.weights.h5"
    shutil.copyfile(weights, tmp_path / "models" / name)
    found = reference.reference_backbone()
    assert (found.name, found.parameters) == ("MobileNetV2", 2_257_984)


@pytest.mark.slow
@pytest.mark.shared
def test_photos_read_the_last_features_and_chests_those_of_all_blocks(shared):
    weights = shared / "weights" / "mobilenetv2_0.35_224_notop.weights.h5"
    tuner = FineTuner("MobileNetV2", weights, alpha=0.35, verbose=False)
    photos = tuner.advise(shared / "data" / "ants_bees")
    assert (photos.similar, photos.plan.features) == (True, "last")
    assert photos.gap.value < 0.04
    chests = tuner.advise(shared / "data" / "chest_xray")
    assert (chests.similar, chests.plan.features) == (False, "all_blocks_and_inner")
    assert 0.1 < chests.gap.value < 0.2


def test_columns_of_a_backbone_cover_the_widest_set_once():
    backbone = load_backbone("MobileNetV2", None, alpha=0.35, input_size=96)
    columns, widths = columns_of(backbone)
    assert [each.start for each in columns[1:]] == [each.stop for each in columns[:-1]]
    assert (columns[0].start, columns[-1].stop) == (0, widths["all_blocks_and_inner"])
    assert widths == {"last": 1_280, "all_blocks": 1_840, "all_blocks_and_inner": 4_448}


# The command line.


def test_command_plan_prints_the_advice_and_json(folder):
    command = ["advise", str(folder), "--weights", "mini", "--backbone", "MobileNetV2"]
    command += ["--similarity", "different"]
    shown = CliRunner().invoke(main, command)
    assert shown.exit_code == 0, shown.output
    for word in ("Decision", "Candidates", "*linear_probe", "all_blocks_probe", "Next", "Plan"):
        assert word in shown.output.replace("*all", "*linear_probe all")
    found = CliRunner().invoke(main, [*command, "--depths", "--json"])
    assert found.exit_code == 0, found.output
    data = json.loads(found.stdout.splitlines()[-1])
    for name in ("domain_gap", "similar", "size", "cell", "strategy", "candidates", "plan"):
        assert name in data
    assert {"reasons", "seconds", "more_data"} <= set(data)
    assert len(data["depths"]) == 19
    assert (data["domain_gap"], data["similar"], data["size"]) == (None, False, "small")
    assert {"name", "accuracy", "interval", "seconds"} <= set(data["candidates"][0])
    assert data["seconds"]["total"] >= data["seconds"]["decide"]


def test_command_plan_refuses_at_once_what_is_wrong(folder):
    for more, said in (
        (["--backbone", "MobilNetV2"], "did you mean"),
        (["--similarity", "2"], "[0, 1]"),
        (["--weights", "missing.h5"], "no weights file"),
    ):
        found = CliRunner().invoke(main, ["advise", str(folder), *more])
        assert found.exit_code != 0
        assert said in found.output
    assert CliRunner().invoke(main, ["advise", "nowhere"]).exit_code != 0


@pytest.mark.parametrize("more", [["nowhere"], ["nowhere", "--similarity", "2"]])
def test_errors_of_plan_do_not_wait_for_tensorflow(more):
    code = (
        "import sys\n"
        "from ktransfer.cli import main\n"
        "try:\n"
        f"    main(['plan', *{more!r}])\n"
        "except SystemExit as end:\n"
        "    assert end.code == 2\n"
        "assert not {'tensorflow', 'keras', 'scipy', 'sklearn'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_lp_ft_may_try_the_last_blocks_first():
    plan = lp_ft(last_first=2, features="all_blocks").resolve(5)
    assert [stage.unfreeze for stage in plan.stages] == [0, 2, 5]
    assert plan.features == "all_blocks"
    assert [stage.unfreeze for stage in lp_ft().resolve(5).stages] == [0, 5]


def test_mini_weights_are_no_photos():
    backbone = load_backbone("MobileNetV2", "mini")
    images = np.random.default_rng(0).integers(0, 256, (40, 96, 96, 3)).astype("uint8")
    gap, source = gap_or_reason(backbone, read_data((images, np.arange(40) % 2)).train)
    assert gap is None
    assert "weights='mini' remembers nothing of photos" in source


def test_networks_of_the_user_are_measured_by_their_own_statistics(folder):
    model = small_network()
    assert tuner_of(model).advise(folder).gap is None  # statistics of nothing yet
    model(np.random.default_rng(0).uniform(0, 255, (64, 16, 16, 3)), training=True)
    assert tuner_of(model).advise(folder).gap is not None
