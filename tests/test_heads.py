import keras
import numpy as np
import pytest

from ktransfer import InputError
from ktransfer.data.batches import epoch_order
from ktransfer.heads import attach, build_classifier, pool, train_classifier


def random_relu_features(num_images, seed):
    """A fixed random matrix with ReLU as the frozen body: 12 numbers to 8 features."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(num_images, 12)).astype(np.float32)
    body = np.random.default_rng(99).normal(size=(12, 8)).astype(np.float32)
    labels = (inputs[:, :3].argmax(axis=1)).astype(np.int32)
    return np.maximum(inputs @ body, 0), labels


def gradient_descent(values, labels, num_classes, *, epochs, batch_size, rate, seed):
    """A softmax layer trained by plain gradient descent, batch by batch, in float64."""
    scale = 1 / np.sqrt(np.mean(values.astype(np.float64) ** 2))
    values = values * scale
    kernel, bias = np.zeros((values.shape[1], num_classes)), np.zeros(num_classes)
    for epoch in range(epochs):
        order = epoch_order(len(labels), seed, epoch)
        for start in range(0, len(labels), batch_size):
            rows = order[start : start + batch_size]
            logits = values[rows] @ kernel + bias
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            error = odds / odds.sum(axis=1, keepdims=True) - np.eye(num_classes)[labels[rows]]
            kernel -= rate * values[rows].T @ error / len(rows)
            bias -= rate * error.mean(axis=0)
    return kernel * scale, bias


def test_head_equals_plain_gradient_descent_in_numpy():
    train, validation = random_relu_features(70, 1), random_relu_features(40, 2)
    trained = train_classifier(
        train,
        validation,
        3,
        epochs=6,
        batch_size=16,  # 70 = 4 * 16 + 6: the last batch is smaller
        optimizer=keras.optimizers.SGD(0.1),
        seed=5,
    )
    assert trained.best_epoch == 6  # so that the weights kept are the last ones
    kernel, bias = trained.classifier.get_layer("head").get_weights()
    expected = gradient_descent(*train, 3, epochs=6, batch_size=16, rate=0.1, seed=5)
    np.testing.assert_allclose(kernel, expected[0], atol=1e-5)
    np.testing.assert_allclose(bias, expected[1], atol=1e-5)


def test_best_epoch_is_kept_and_not_the_last():
    train, validation = random_relu_features(20, 1), random_relu_features(200, 2)
    trained = train_classifier(
        train, validation, 3, epochs=40, patience=None, optimizer=keras.optimizers.Adam(0.3)
    )
    losses = [epoch["val_loss"] for epoch in trained.history]
    assert trained.best_epoch == 1 + int(np.argmin(losses)) < len(losses) == 40
    logits = trained.classifier.predict(validation[0], verbose=0).astype(np.float64)
    log_sum = np.log(np.exp(logits).sum(axis=1))
    loss = np.mean(log_sum - logits[np.arange(200), validation[1]])
    assert loss == pytest.approx(min(losses), abs=1e-5)


def test_training_ends_after_patience_epochs_without_a_better_one():
    train, validation = random_relu_features(20, 1), random_relu_features(200, 2)
    trained = train_classifier(
        train, validation, 3, epochs=40, patience=3, optimizer=keras.optimizers.Adam(0.3)
    )
    assert len(trained.history) == trained.best_epoch + 3


def test_same_seed_same_head():
    data = random_relu_features(60, 1), random_relu_features(30, 2)
    first, again, other = (
        train_classifier(*data, 3, epochs=3, dropout=0.3, seed=seed).classifier.get_weights()[0]
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-6


def test_memory_mapped_features_give_the_same_head(tmp_path):
    values, labels = random_relu_features(60, 1)
    mapped = np.memmap(tmp_path / "values", np.float32, "w+", shape=values.shape)
    mapped[:] = values
    validation = random_relu_features(30, 2)
    in_memory = train_classifier((values, labels), validation, 3, epochs=4)
    from_disk = train_classifier((mapped, labels), validation, 3, epochs=4)
    for one, other in zip(
        in_memory.classifier.get_weights(), from_disk.classifier.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_interrupted_training_keeps_the_best_weights_so_far():
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 4:
                raise KeyboardInterrupt

    data = random_relu_features(60, 1), random_relu_features(30, 2)
    arguments = {"epochs": 20, "patience": None, "optimizer": keras.optimizers.SGD(0.1)}
    trained = train_classifier(*data, 3, callbacks=[Interrupt()], **arguments)
    assert trained.interrupted
    assert len(trained.history) == trained.best_epoch == 5
    arguments |= {"epochs": 5, "optimizer": keras.optimizers.SGD(0.1)}
    expected = train_classifier(*data, 3, **arguments).classifier.get_weights()
    np.testing.assert_array_equal(trained.classifier.get_weights()[0], expected[0])


def test_interrupt_before_the_first_epoch_ends_is_passed_on():
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            raise KeyboardInterrupt

    data = random_relu_features(60, 1), random_relu_features(30, 2)
    with pytest.raises(KeyboardInterrupt):
        train_classifier(*data, 3, epochs=2, callbacks=[Interrupt()])


@pytest.mark.parametrize("pooling", ["avg", "max", "avgmax"])
def test_attached_model_predicts_what_the_classifier_predicts(network, pooling):
    body = network
    features = keras.Model(body.inputs, pool(body.output, pooling))
    classifier = build_classifier(features.output_shape[-1], 3)
    random = np.random.default_rng(0)
    classifier.set_weights([random.normal(size=w.shape) for w in classifier.get_weights()])
    images = random.integers(0, 256, (5, 16, 16, 3)).astype(np.float32)
    logits = classifier.predict(features.predict(images, verbose=0), verbose=0)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    model = attach(body, classifier, pooling=pooling)
    np.testing.assert_allclose(
        model.predict(images, verbose=0), odds / odds.sum(axis=1, keepdims=True), atol=1e-6
    )
    assert [each.path for each in model.trainable_variables] == ["head/kernel", "head/bias"]


def test_token_pooling_takes_the_first_token():
    tokens = keras.Input((4, 2))
    model = keras.Model(tokens, pool(tokens, "token"))
    values = np.arange(8, dtype=np.float32).reshape(1, 4, 2)
    np.testing.assert_array_equal(model.predict(values, verbose=0), [[0, 1]])


def test_unknown_pooling_and_pooling_that_does_not_fit_are_refused():
    feature_map = keras.Input((4, 4, 2))
    with pytest.raises(InputError, match="unknown pooling 'average': did you mean avg"):
        pool(feature_map, "average")
    with pytest.raises(InputError, match=r"'token' does not fit .*\(None, 4, 4, 2\)"):
        pool(feature_map, "token")


@pytest.mark.parametrize("name", ["epochs", "batch_size", "patience"])
def test_counts_under_one_are_refused(name):
    data = random_relu_features(10, 1)
    with pytest.raises(InputError, match=f"{name} must be at least 1, got 0"):
        train_classifier(data, data, 3, **{name: 0})


def test_dropout_outside_its_range_is_refused():
    with pytest.raises(InputError, match=r"dropout must lie in \[0, 1\), got 1.0"):
        build_classifier(4, 2, dropout=1.0)


def test_features_that_are_not_finite_are_refused():
    values, labels = random_relu_features(10, 1)
    values[3, 2] = np.nan
    with pytest.raises(InputError, match="not finite"):
        train_classifier((values, labels), (values, labels), 3)
