import json
import os

import keras
import numpy as np
import pytest
from conftest import COLOURS, small_network, write_pictures
from PIL import Image

from ktransfer import FineTuner, InputError, Plan, RunError, Stage, load_backbone
from ktransfer.data import decode_image, image_dataset, read_folder, read_paths


def tuner_of(network=None, **options):
    return FineTuner(network or small_network(), verbose=False, **options)


@pytest.fixture
def fitted(pictures):
    tuner = tuner_of()
    tuner.fit(pictures, epochs=5)
    return tuner


def test_folder_of_pictures_becomes_a_classifier_that_finds_their_colours(pictures, tmp_path):
    tuner = tuner_of()
    result = tuner.fit(pictures)
    assert result.classes == tuple(COLOURS)
    assert result.part_sizes == {"train": 48, "validation": 12}
    assert result.val_accuracy > 0.9
    fresh = write_pictures(tmp_path / "fresh", 10, seed=1)
    assert tuner.evaluate(fresh).accuracy > 0.9


def test_model_predicts_what_the_cached_features_predicted(fitted, pictures):
    part = read_folder(pictures).validation
    images = np.concatenate([batch for batch, _ in image_dataset(part, (16, 16))])
    predicted = fitted.model.predict(images, verbose=0).argmax(axis=1)
    by_class = [np.sum((predicted == label) & (part.labels == label)) for label in range(3)]
    np.testing.assert_array_equal(np.diag(fitted.result.validation.confusion), by_class)
    from_paths = fitted.predict([file.path for file in part.files]).probabilities
    np.testing.assert_allclose(fitted.model.predict(images, verbose=0), from_paths, atol=1e-5)


def test_backbone_does_not_move_and_only_the_head_trains(pictures):
    network = small_network()
    before = [np.array(each) for each in network.weights]
    tuner = tuner_of(network)
    tuner.fit(pictures, plan="linear_probe", epochs=5)
    for old, new in zip(before, network.weights, strict=True):
        np.testing.assert_array_equal(old, np.array(new))
    assert sum(np.prod(each.shape) for each in tuner.model.trainable_variables) == (6 + 1) * 3


def test_model_of_the_user_stays_trainable(pictures):
    network = small_network()
    count = len(network.trainable_variables)
    tuner_of(network).fit(pictures, epochs=1)
    assert len(network.trainable_variables) == count > 0


def test_early_features_are_used_for_a_small_and_different_domain(pictures):
    tuner = tuner_of(small_network(channels=50))
    result = tuner.fit(pictures, plan="textbook", similarity="different", epochs=2)
    assert result.carried_out == "earlier_linear_probe"
    assert tuner.summary().total_parameters == tuner.model.count_params()


def test_unreadable_files_are_left_out_counted_and_named(pictures):
    (pictures / "red" / "page.jpg").write_text("<html>not found</html>")
    (pictures / "red" / "empty.png").touch()
    whole = (pictures / "blue" / "000.png").read_bytes()
    (pictures / "blue" / "half.png").write_bytes(whole[: len(whole) // 2])
    result = tuner_of().fit(pictures, epochs=1)
    assert sorted(os.path.basename(each.path) for each in result.skipped) == [
        "empty.png",
        "half.png",
        "page.jpg",
    ]
    assert all(each.reason for each in result.skipped)
    assert sum(result.part_sizes.values()) == 60


def test_file_that_cannot_be_decoded_is_no_change_of_the_folder(pictures):
    whole = (pictures / "blue" / "000.png").read_bytes()
    for number in range(5):  # some of these fall into the training part
        (pictures / "blue" / f"half{number}.png").write_bytes(whole[: len(whole) // 2])
    tuner = tuner_of()
    result = tuner.fit(pictures, epochs=1)
    assert len(result.skipped) == 5
    assert not any("has changed" in note for note in tuner.evaluate(pictures).notes)


def test_source_folder_is_not_written_to(pictures):
    def state():
        return {path: path.stat().st_mtime_ns for path in [pictures, *pictures.rglob("*")]}

    before = state()
    tuner_of().fit(pictures, epochs=1)
    assert state() == before


def test_class_whose_images_all_fail_to_decode_is_an_error(pictures):
    for file in (pictures / "red").iterdir():
        file.write_bytes(file.read_bytes()[:-900])
    with pytest.raises(InputError, match=r"no training image of class 'red' .*truncated"):
        tuner_of().fit(pictures, epochs=1)


def test_test_part_is_scored_apart(tmp_path):
    for name, count in (("train", 15), ("val", 5), ("test", 8)):
        write_pictures(tmp_path / name, count, seed=count)
    tuner = tuner_of()
    result = tuner.fit(tmp_path, epochs=5)
    assert result.part_sizes == {"train": 45, "validation": 15, "test": 24}
    assert result.test.num_images == 24
    assert tuner.evaluate(tmp_path).accuracy == result.test.accuracy
    assert tuner.evaluate(tmp_path / "test").accuracy == result.test.accuracy


def test_evaluating_the_folder_of_the_training_uses_what_was_held_back(fitted, pictures):
    evaluation = fitted.evaluate(pictures)
    assert evaluation.part == "validation"
    assert evaluation.score.num_images == 12
    assert evaluation.accuracy == fitted.result.val_accuracy
    Image.new("RGB", (20, 20)).save(pictures / "red" / "new.png")
    assert any("has changed" in note for note in fitted.evaluate(pictures).notes)


def test_saved_and_loaded_tuner_is_the_same(fitted, pictures, tmp_path):
    fitted.save(tmp_path / "run")
    loaded = FineTuner.load(tmp_path / "run", verbose=False)
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        loaded.predict(images).probabilities, fitted.predict(images).probabilities
    )
    assert loaded.class_names == fitted.class_names
    assert loaded.backbone.name == fitted.backbone.name
    assert str(loaded.summary()) == str(fitted.summary())
    assert loaded.evaluate(pictures).to_dict() == fitted.evaluate(pictures).to_dict()


def test_damaged_run_is_one_clear_error(fitted, tmp_path):
    fitted.save(tmp_path / "run")
    source = tmp_path / "run" / "run.json"
    whole = source.read_text()
    source.write_text(whole.replace('"red"', '"red", "pink"', 1))
    with pytest.raises(RunError, match="3 outputs for 4 classes"):
        FineTuner.load(tmp_path / "run")
    last = fitted.backbone.blocks[-1].name
    source.write_text(whole.replace(f'"last_operation": "{last}"', '"last_operation": "gone"'))
    with pytest.raises(RunError, match="its model has no operation 'gone'"):
        FineTuner.load(tmp_path / "run")
    record = json.loads(whole)
    record["blocks"] += [["more", 1, 0]]
    source.write_text(json.dumps(record))
    with pytest.raises(RunError, match=r"it tells of \d blocks, and its model has \d"):
        FineTuner.load(tmp_path / "run")


def test_loaded_tuner_can_be_saved_and_fitted_again(fitted, pictures, tmp_path):
    fitted.save(tmp_path / "run")
    loaded = FineTuner.load(tmp_path / "run", verbose=False)
    loaded.save(tmp_path / "copy")
    result = loaded.fit(pictures, epochs=5)
    assert result.val_accuracy == fitted.result.val_accuracy
    assert FineTuner.load(tmp_path / "copy", verbose=False).class_names == tuple(COLOURS)


@pytest.mark.slow
def test_vision_transformer_of_kerashub_is_saved_loaded_and_saved_again(pictures, tmp_path):
    keras_hub = pytest.importorskip("keras_hub")
    vit = keras_hub.models.ViTBackbone(
        image_shape=(16, 16, 3),
        patch_size=8,
        num_layers=3,
        num_heads=2,
        hidden_dim=8,
        mlp_dim=16,
    )
    tuner = tuner_of(vit, preprocessing="tf", pooling="token")
    tuner.fit(pictures, epochs=2)
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    expected = tuner.predict(images).probabilities
    for name in ("first", "second"):
        tuner.save(tmp_path / name)
        tuner = FineTuner.load(tmp_path / name, verbose=False)
        np.testing.assert_allclose(tuner.predict(images).probabilities, expected, atol=1e-6)
    assert len(tuner.backbone.blocks) == len(load_backbone(vit, preprocessing="tf").blocks)


def test_same_seed_same_model(pictures):
    one, two = tuner_of(seed=3), tuner_of(seed=3)
    one.fit(pictures, epochs=3)
    two.fit(pictures, epochs=3)
    for first, second in zip(one.model.get_weights(), two.model.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_summary_reads_2565_for_512_features_and_5_classes():
    summary = tuner_of(small_network(channels=512)).summary(num_classes=5)
    assert summary.rows[-1].name == "head"
    assert summary.trainable_parameters == 2_565
    assert "2,565" in str(summary)


def test_summary_counts_what_keras_counts(fitted):
    summary = fitted.summary()
    trainable = sum(int(np.prod(each.shape)) for each in fitted.model.trainable_variables)
    assert summary.trainable_parameters == trainable
    assert summary.total_parameters == fitted.model.count_params()


def test_arrays_and_files_are_predicted_alike(fitted, pictures):
    part, _ = read_paths(pictures / "red")
    array = np.stack([decode_image(file) for file in part.files])
    from_array, from_files = fitted.predict(array), fitted.predict(pictures / "red")
    np.testing.assert_allclose(from_array.probabilities, from_files.probabilities, atol=1e-5)
    assert list(from_files.paths) == [file.path for file in part.files]
    assert [each.label for each in from_array] == from_files.labels
    one = fitted.predict(array[0])
    np.testing.assert_allclose(one.probabilities, from_array.probabilities[:1], atol=1e-6)


def test_prediction_of_uint8_and_float_pixels_is_equal(fitted):
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        fitted.predict(images).probabilities,
        fitted.predict(images.astype(np.float32)).probabilities,
    )


def test_pixels_in_0_to_1_are_refused(fitted):
    images = np.random.default_rng(0).random((2, 16, 16, 3), dtype=np.float32)
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        fitted.predict(images)


def test_unreadable_files_are_named_in_a_prediction(fitted, tmp_path):
    (tmp_path / "bad.jpg").write_text("no image")
    Image.new("RGB", (30, 30), "red").save(tmp_path / "good.jpg")
    predictions = fitted.predict([tmp_path / "bad.jpg", tmp_path / "good.jpg"])
    assert predictions.paths == (str(tmp_path / "good.jpg"),)
    assert [each.path for each in predictions.skipped] == [str(tmp_path / "bad.jpg")]
    assert len(predictions) == 1


def test_two_tensor_cuts_can_carry_a_head(pictures):
    images = keras.Input((16, 16, 3))
    layers = keras.layers
    x = layers.Conv2D(4, 3, strides=2)(layers.Rescaling(1 / 255)(images))
    y = layers.Conv2D(5, 3, padding="same")(x)
    for _ in range(3):  # every cell reads the two cells before it, as in NASNet
        x, y = y, layers.Concatenate()([layers.Conv2D(4, 3, padding="same")(y), x])
    tuner = tuner_of(keras.Model(images, layers.Concatenate()([x, y])))
    result = tuner.fit(pictures, plan="textbook", similarity="different", epochs=2)
    assert result.carried_out == "earlier_linear_probe"
    assert tuner.evaluate(pictures).accuracy == result.val_accuracy


@pytest.mark.parametrize("use", ["model", "evaluate", "predict", "save"])
def test_use_before_fit_says_to_fit_first(use, tmp_path):
    tuner = tuner_of()
    calls = {
        "model": lambda: tuner.model,
        "evaluate": lambda: tuner.evaluate(tmp_path),
        "predict": lambda: tuner.predict(tmp_path),
        "save": lambda: tuner.save(tmp_path / "run"),
    }
    with pytest.raises(InputError, match="no model yet: call fit"):
        calls[use]()


def test_wrong_arguments_are_errors_before_any_image_is_decoded(pictures, monkeypatch):
    monkeypatch.setattr("ktransfer.classifier.predicting.extract_part", None)
    tuner = tuner_of()
    with pytest.raises(InputError, match="epochs must be at least 1, got 0"):
        tuner.fit(pictures, epochs=0)
    with pytest.raises(InputError, match="got 2"):
        tuner.fit(pictures, similarity=2)
    with pytest.raises(InputError, match="no such folder"):
        tuner.fit(pictures / "nowhere")
    with pytest.raises(InputError, match="unknown pooling 'mean'"):
        tuner_of(pooling="mean")
    with pytest.raises(InputError, match=r"dropout must lie in \[0, 1\), got 1"):
        tuner_of(dropout=1)


@pytest.mark.shared
def test_ants_and_bees_are_told_apart(shared):
    tuner = FineTuner(
        "MobileNetV2",
        shared / "weights" / "mobilenetv2_0.35_224_notop.weights.h5",
        alpha=0.35,
        verbose=False,
    )
    result = tuner.fit(shared / "data" / "ants_bees", fine_tuning="off")
    # DATA.md: a logistic regression on these features reaches 0.908.
    assert result.val_accuracy >= 0.9
    assert result.part_sizes == {"train": 245, "validation": 153}


def test_model_has_the_temperature_that_suits_the_validation_images(pictures):
    tuner = tuner_of()
    result = tuner.fit(pictures, plan="linear_probe", epochs=3)
    assert 0.25 < result.temperature < 1.0  # three epochs leave a head too unsure
    part = read_folder(pictures).validation
    said = np.log(tuner.predict([file.path for file in part.files]).probabilities.astype(float))
    rows = np.arange(len(part))

    def loss(temperature):
        logits = said / temperature
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return -logits[rows, part.labels].mean()

    assert loss(1 / result.temperature) == pytest.approx(result.stages[0].val_loss, abs=1e-4)
    assert loss(1) < result.stages[0].val_loss
    # Not beyond what suits best: the prior holds it back.
    assert min(np.geomspace(0.1, 10, 200), key=loss) < 1.03


def test_guessing_the_larger_class_is_not_taken_for_learning(tmp_path, network):
    random = np.random.default_rng(0)
    for name, number in (("common", 40), ("rare", 10)):
        (tmp_path / name).mkdir()
        for at in range(number):
            noise = random.integers(0, 256, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(noise).save(tmp_path / name / f"{at}.png")
    tuner = tuner_of(network)
    head = Stage(name="head", unfreeze=0, epochs=3, learning_rate=1e-6)
    result = tuner.fit(tmp_path, plan=Plan("still", (head,)), balance="none")
    assert result.val_accuracy == 0.8
    assert result.diagnosis.verdict == "not_learning"
