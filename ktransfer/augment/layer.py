"""The policies as a Keras layer, for a model or for `Dataset.map`."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from ktransfer.augment.mixing import mix
from ktransfer.augment.policies import policy_of
from ktransfer.augment.views import augment, checked_seed, checked_size, view_seed
from ktransfer.errors import InputError

#: What marks the seeds of whole batches; rows have smaller numbers.
_BATCH_ROW = 2**31 - 1


@keras.saving.register_keras_serializable(package="ktransfer")
class Augmentation(keras.layers.Layer):
    """Random views of images while training, the images as they are (but resized) otherwise.

    In a model every call makes new views: row r of call n is `augment(image, view_seed(seed, r,
    n), ...)`, where the number of calls is the state of a Keras `SeedGenerator`. In `Dataset.map`,
    where no state can be counted on, give `seeds`, and every view is a function of its seed alone:

        layer = Augmentation("standard", seed=1, input_size=(224, 224), dtype="uint8")
        views = images.enumerate().map(
            lambda row, image: layer(image, seeds=view_seed(1, row, view=0), training=True)
        )

    The operations are TensorFlow's: on that backend the layer runs anywhere, without XLA. On JAX it
    belongs into `Dataset.map`: in a model it keeps the training from being compiled.

    Args:
        augmentation: one of `AUGMENTATIONS`.
        seed: from 0, below 2^31.
        input_size: `(height, width)` of the views in pixels; None: the size of the images.
        **options: of a Keras layer; with `dtype="uint8"` it returns uint8.

    Raises:
        InputError: the policy is unknown, or the seed or the size is out of range.

    Example:
        >>> layer = Augmentation("light", seed=3)
        >>> layer(tf.zeros((2, 8, 8, 3)), training=True).shape
        TensorShape([2, 8, 8, 3])
    """

    def __init__(
        self,
        augmentation: str = "standard",
        seed: int = 0,
        input_size: tuple[int, int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.policy = policy_of(augmentation)
        self.augmentation = augmentation
        self.seed = checked_seed(seed)
        self.input_size = None if input_size is None else checked_size(input_size)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        # The crops have shapes that are known only when they are drawn.
        self.supports_jit = False

    def __call__(self, images: Any, **options: Any) -> Any:
        """Return the views; see `call`."""
        if keras.backend.backend() != "tensorflow" and _all_of_tensorflow(images):
            # In `Dataset.map` another backend would make its own tensors of TensorFlow's.
            return self.call(images, **options)
        return super().__call__(images, **options)

    def call(self, images: Any, seeds: Any = None, training: bool | None = None) -> Any:
        """View of images.

        Args:
            images: RGB in [0, 255], `(batch, height, width, 3)` or one `(height, width, 3)`; or a
                dict with such a batch as "images" and float `(batch, classes)` shares as "labels",
                both of which "strong" then mixes. Without labels it mixes nothing.
            seeds: int64 `(batch, 2)`, or `(2,)` for one image, as `view_seed` gives; None: new ones
                in every call.
            training: whether to augment.

        Returns:
            As what came in, with the views for images, in the layer's compute dtype.

        Raises:
            InputError: the images are not RGB, or are traced by JAX.
        """
        if isinstance(images, dict):
            return self._batch(images, seeds, training=bool(training))
        single = len(images.shape) == 3
        batch = _as_bytes(images)[None] if single else _as_bytes(images)
        if training:
            seeds = self._new_seeds(batch) if seeds is None else seeds
            seeds = tf.reshape(tf.cast(seeds, tf.int64), (-1, 2))
        views = self._views(batch, seeds, self.augmentation if training else "none")
        views = tf.cast(views, self.compute_dtype)
        return views[0] if single else views

    def _batch(self, batch: dict[str, Any], seeds: Any, *, training: bool) -> dict[str, Any]:
        """Return a batch with labels."""
        images = batch["images"]
        if training and seeds is None:
            seeds = self._new_seeds(images)
        views, labels = self.call(images, seeds=seeds, training=training), batch["labels"]
        if training and self.policy.mixes:
            # Of the first view's seed, in its second half: the rows have numbers below.
            seed = tf.cast(seeds, tf.int64)[0] | tf.constant([_BATCH_ROW, 0], tf.int64)
            mixed, labels = mix(tf.cast(views, tf.uint8), labels, seed)
            views = tf.cast(mixed, self.compute_dtype)
        return {**batch, "images": views, "labels": labels}

    def _views(self, images: tf.Tensor, seeds: tf.Tensor | None, augmentation: str) -> tf.Tensor:
        size = self.input_size or checked_size(images.shape[1:3])
        if seeds is None:
            seeds = tf.zeros((tf.shape(images)[0], 2), tf.int64)
        return tf.map_fn(
            lambda each: augment(*each, augmentation, size),
            (images, seeds),
            fn_output_signature=tf.TensorSpec((*size, 3), tf.uint8),
        )

    def _new_seeds(self, images: Any) -> tf.Tensor:
        """Return a seed for every row: of this layer, the row, and the number of the call."""
        count = tf.cast(self.seed_generator.next(), tf.int64)[1]
        return view_seed(self.seed, tf.range(tf.shape(images)[0]), count)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the views."""
        if isinstance(input_shape, dict):
            return {**input_shape, "images": self.compute_output_shape(input_shape["images"])}
        size = self.input_size or input_shape[-3:-1]
        return (*input_shape[:-3], *size, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as plain data."""
        own = {"augmentation": self.augmentation, "seed": self.seed, "input_size": self.input_size}
        return {**super().get_config(), **own}


def _all_of_tensorflow(images: Any) -> bool:
    return all(tf.is_tensor(each) for each in tf.nest.flatten(images))


def _as_bytes(images: Any) -> tf.Tensor:
    try:
        images = tf.convert_to_tensor(images)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"Augmentation runs on TensorFlow, got images as {type(images).__name__}: on another "
            "backend use it in Dataset.map, or compile the model with jit_compile=False"
        ) from error
    if images.dtype == tf.uint8:
        return images
    return tf.cast(tf.round(tf.clip_by_value(tf.cast(images, tf.float32), 0.0, 255.0)), tf.uint8)
