import keras
import numpy as np
import pytest

from ktransfer import InputError
from ktransfer.features import attach, build_classifier, pool


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
    # Called as a function, too: Keras warns, and warnings are errors here, if its input is a list.
    np.testing.assert_allclose(np.sum(model(images), axis=1), 1, atol=1e-6)


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


def test_dropout_outside_its_range_is_refused():
    with pytest.raises(InputError, match=r"dropout must lie in \[0, 1\), got 1.0"):
        build_classifier(4, 2, dropout=1.0)


def test_a_new_head_says_nothing_yet():
    classifier = build_classifier(4, 3)
    features = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_array_equal(classifier.predict(features, verbose=0), np.zeros((5, 3)))


def test_dropout_acts_in_training_only_and_is_a_function_of_the_seed():
    features = np.ones((8, 64), np.float32)

    def trained(seed):
        classifier = build_classifier(64, 2, dropout=0.5, seed=seed)
        kernel = np.stack([np.arange(64), np.ones(64)], axis=1)
        classifier.set_weights([kernel, np.zeros(2)])
        np.testing.assert_allclose(classifier(features)[:, 1], np.full(8, 64.0))
        return np.array(classifier(features, training=True))

    assert np.abs(trained(1) - [[2016, 64]]).max() > 1
    np.testing.assert_array_equal(trained(1), trained(1))
    assert np.abs(trained(1) - trained(2)).max() > 1


def test_a_model_of_the_user_with_a_layer_called_head_gets_one_more():
    images = keras.Input((4, 4, 2))
    body = keras.Model(images, keras.layers.Conv2D(3, 1, name="head")(images))
    model = attach(body, build_classifier(3, 2), pooling="avg", dropout=0.3)
    assert model.get_layer("head") is body.get_layer("head")
    assert sum(layer.name.startswith("dropout") for layer in model.layers) == 1
    assert model.output_shape == (None, 2)
