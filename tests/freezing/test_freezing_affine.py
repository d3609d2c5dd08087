"""What of a layer trains: scales, shifts and biases alone, or nothing but factors beside it."""

import keras
import numpy as np
import pytest
from freezing_networks import STATISTICS, compiled, row_of_blocks, tiny_vit, train, with_head
from training_networks import three_blocks

from ktransfer.backbones import load_backbone
from ktransfer.errors import InputError
from ktransfer.freezing import FrozenMovedError, count_by_block, freeze, watch_frozen

HEAD = {"head/kernel", "head/bias"}


def of_norms(names, first=1):
    return {f"bn_{at}/{name}" for at in range(first, 5) for name in names}


@pytest.mark.parametrize(
    ("batch_norm", "names"),
    [
        ("frozen", ()),
        ("affine_only", ("gamma", "beta")),
        ("train", ("gamma", "beta", *STATISTICS)),
    ],
)
@pytest.mark.parametrize("trains", ["affine", "low_rank"])
def test_kernels_stay_and_batch_norm_does_what_it_is_told(batch_norm, names, trains):
    backbone = row_of_blocks()
    freeze(backbone, "first:1", batch_norm=batch_norm, trains=trains)
    assert train(compiled(with_head(backbone))) == HEAD | of_norms(names, first=2)


def test_affine_moves_the_biases_of_convolutions():
    backbone = load_backbone(three_blocks(batch_norm=False), preprocessing="none")
    freeze(backbone, "first:1", trains="affine")
    assert train(compiled(with_head(backbone))) == HEAD | {"conv_2/bias", "conv_3/bias"}


def test_affine_moves_biases_and_layer_norms_of_a_transformer_and_neither_kernels_nor_embeddings():
    backbone = tiny_vit()
    freeze(backbone, "none", trains="affine")
    moved = train(compiled(with_head(backbone), learning_rate=0.1)) - HEAD
    names = {weight.path for weight in backbone.model.weights}
    expected = {path for path in names if path.rpartition("/")[2] in ("bias", "gamma", "beta")}
    assert len(expected) > 30
    # The keys' bias shifts every score of a query alike, so that its gradient is zero.
    assert expected - moved <= {path for path in expected if path.endswith("key/bias")}
    assert moved <= expected


def test_the_proof_covers_the_kernels_that_stay():
    backbone = row_of_blocks()
    freeze(backbone, "none", batch_norm="train", trains="affine")
    watch = watch_frozen(backbone)
    assert {each.path for each in watch.variables} == {f"conv_{at}/kernel" for at in range(1, 5)}
    kernel = backbone.model.get_layer("conv_4").kernel
    kernel.assign(kernel + 1e-6)
    with pytest.raises(FrozenMovedError, match="'conv_4/kernel'"):
        watch.prove().verify()


def test_numbers_are_counted_as_they_train():
    backbone = row_of_blocks()
    freezing = freeze(backbone, "first:2", batch_norm="affine_only", trains="affine")
    assert [trainable for _, _, trainable in count_by_block(backbone)] == [0, 0, 8, 8]
    assert freezing.trainable_parameters == 16
    assert "16 trainable (batch norm: affine_only; trains: affine)" in str(freezing)


def test_what_was_frozen_within_layers_trains_again():
    backbone = row_of_blocks()
    freeze(backbone, "none", batch_norm="affine_only", trains="affine")
    freeze(backbone, "none", batch_norm="frozen")
    moved = train(compiled(with_head(backbone)))
    assert moved == HEAD | {f"conv_{at}/kernel" for at in range(1, 5)}


def test_an_unknown_choice_is_refused_and_changes_nothing():
    backbone = row_of_blocks()
    freeze(backbone, "first:1")
    with pytest.raises(InputError, match="unknown trains 'lora': did you mean"):
        freeze(backbone, "none", trains="lora")
    assert not backbone.model.get_layer("conv_1").trainable


def test_parts_of_a_layer_of_someones_own_keep_their_batch_norm():
    @keras.saving.register_keras_serializable("test_freezing_affine")
    class Unit(keras.layers.Layer):
        def build(self, shape):
            self.conv = keras.layers.Conv2D(3, 1)
            self.norm = keras.layers.BatchNormalization()
            self.conv.build(shape)
            self.norm.build(shape)

        def call(self, images, training=None):
            return self.norm(self.conv(images), training=training)

    images = keras.Input((16, 16, 3))
    model = keras.Model(images, Unit(name="unit")(keras.layers.Rescaling(1 / 255)(images)))
    backbone = load_backbone(model, preprocessing="none")
    freeze(backbone, "none", batch_norm="train", trains="affine")
    moved = train(compiled(with_head(backbone), learning_rate=0.1)) - HEAD
    assert {path.rpartition("/")[2] for path in moved} == {"bias", "gamma", "beta", *STATISTICS}
    assert np.all([not each.trainable for each in backbone.model.weights if each.name == "kernel"])
