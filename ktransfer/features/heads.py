"""The head: what stands on a backbone and is trained first, and often alone."""

from __future__ import annotations

import keras

from ktransfer.backbones import Backbone, has_class_token
from ktransfer.errors import InputError, unknown_name
from ktransfer.processes.keras_settings import own_settings

POOLINGS = ("avg", "max", "avgmax", "token")


@own_settings()
def pool(tensor: keras.KerasTensor, pooling: str) -> keras.KerasTensor:
    """Return the feature vector of a backbone's output.

    Args:
        tensor: `(batch, height, width, channels)` of a convolutional backbone, `(batch, tokens,
            width)` of a transformer, or `(batch, features)`, which stays as it is.
        pooling: `"avg"`, `"max"`, `"avgmax"` (both, side by side) or `"token"` (the class token,
            the first of a transformer).

    Returns:
        `(batch, features)`.

    Raises:
        InputError: unknown pooling, a rank that cannot be pooled, or `"token"` of an image-shaped
        tensor.
    """
    check_pooling_name(pooling)
    rank = len(tensor.shape)
    if rank == 2:
        return tensor
    if rank not in (3, 4) or (pooling == "token" and rank != 3):
        raise InputError(
            f"pooling {pooling!r} does not fit a backbone output of shape {tensor.shape}"
        )
    if pooling == "token":
        return tensor[:, 0]
    layers = keras.layers
    average = layers.GlobalAveragePooling1D if rank == 3 else layers.GlobalAveragePooling2D
    maximum = layers.GlobalMaxPooling1D if rank == 3 else layers.GlobalMaxPooling2D
    if pooling == "avg":
        return average()(tensor)
    if pooling == "max":
        return maximum()(tensor)
    return layers.Concatenate()([average()(tensor), maximum()(tensor)])


def check_pooling_name(pooling: str) -> None:
    """Raise an `InputError` for an unknown pooling."""
    if pooling not in POOLINGS:
        raise unknown_name("pooling", pooling, POOLINGS)


def check_pooling(pooling: str, backbone: Backbone) -> None:
    """Raise an `InputError` for `"token"` where the first token is that of a corner patch."""
    if (
        pooling == "token"
        and len(backbone.model.output.shape) == 3
        and not has_class_token(backbone)
    ):
        raise InputError(
            f"pooling='token' takes the class token, and {backbone.name} has none: its "
            f"{backbone.model.output.shape[1]} tokens are patches of the image; take 'avg', 'max' "
            "or 'avgmax'"
        )


@own_settings()
def build_classifier(
    num_features: int, num_classes: int, *, dropout: float = 0.0, seed: int = 0
) -> keras.Model:
    """Return a head without its pooling: optional dropout and a dense layer, features to logits.

    The dense layer starts at zero: the loss is convex, and random weights would only add noise to
    it.

    Raises:
        InputError: `dropout` outside [0, 1).
    """
    check_dropout(dropout)
    features = keras.Input((num_features,), name="features")
    kept = keras.layers.Dropout(dropout, seed=seed)(features) if dropout else features
    logits = keras.layers.Dense(num_classes, kernel_initializer="zeros", name="head")(kept)
    return keras.Model(features, logits, name="classifier")


@own_settings()
def attach(
    body: keras.Model, classifier: keras.Model, *, pooling: str, dropout: float = 0.0
) -> keras.Model:
    """Body and head as one ordinary Keras model, images in and class probabilities out.

    The body's layers are shared with the model that is returned, and frozen; the dense layer is
    new.

    Args:
        body: RGB images `(batch, height, width, 3)` in [0, 255] to features.
        classifier: from `build_classifier`, trained.
        pooling: as in `pool`; the one that the classifier's features were made with.
        dropout: dropout before the dense layer, for whoever trains the model on.

    Returns:
        A model whose predictions equal softmax(classifier(pool(body(images)))).
    """
    body.trainable = False
    features = pool(body.output, pooling)
    if dropout:
        features = keras.layers.Dropout(dropout)(features)
    trained = classifier.get_layer("head")
    # A layer of the user's own network may have the name already.
    taken = any(layer.name == "head" for layer in body.layers)
    dense = keras.layers.Dense(trained.units, name=None if taken else "head")
    logits = dense(features)
    dense.set_weights(trained.get_weights())
    # In float32 under any precision policy: bfloat16 probabilities have three digits.
    probabilities = keras.layers.Softmax(dtype="float32", name="probabilities")(logits)
    return keras.Model(body.inputs[0], probabilities, name="ktransfer_model")


def check_dropout(dropout: float) -> None:
    """Raise an `InputError` if `dropout` lies outside [0, 1)."""
    if not 0.0 <= dropout < 1.0:
        raise InputError(f"dropout must lie in [0, 1), got {dropout}")
