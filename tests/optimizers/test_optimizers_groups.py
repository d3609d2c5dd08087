"""Which variable is in which group: patterns, the recipes over blocks, and measured gradients."""

import json
import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from ktransfer import freezing
from ktransfer.backbones import load_backbone
from ktransfer.errors import InputError
from ktransfer.optimizers import (
    LearningRateMultiplier,
    MultiplierGroup,
    auto_rgn,
    by_block,
    grouped,
    layer_decay,
)
from ktransfer.optimizers.groups import bind

# Keras 3.15 reads its own variables through a protocol that NumPy 2 deprecates; nothing of ours
# does.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PATHS = ["conv1/kernel", "conv1/bias", "norm/gamma", "top/kernel"]
GENERATOR = np.random.default_rng(7)
X = GENERATOR.normal(size=(8, 3)).astype("float32")
Y = GENERATOR.normal(size=(8, 2)).astype("float32")


def build_backbone(num_blocks=6):
    """A row of dense blocks, each with a batch normalisation and a dropout, and a head."""
    keras.utils.set_random_seed(1)
    inputs = outputs = keras.Input((3,))
    blocks = []
    for index in range(num_blocks):
        layers = (
            keras.layers.Dense(4, name=f"dense_{index}"),
            keras.layers.BatchNormalization(name=f"norm_{index}"),
        )
        for layer in layers:
            outputs = layer(outputs)
        blocks.append(SimpleNamespace(name=f"block_{index}", layers=layers))
    outputs = keras.layers.Dropout(0.2)(outputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="top")(outputs))
    return SimpleNamespace(blocks=blocks), model


def freeze(backbone, num_blocks):
    for block in backbone.blocks[:num_blocks]:
        for layer in block.layers:
            layer.trainable = False


def factors(groups):
    return {group.name: group.multiplier for group in groups}


def test_pattern_takes_what_it_matches_and_leaves_the_rest():
    assert bind([MultiplierGroup("a", ("conv?/*",), 0.1)], PATHS) == (0, 0, None, None)


def test_pattern_tells_case_and_a_full_path_is_no_pattern():
    assert bind([MultiplierGroup("a", ("top[1]/kernel",), 1)], ["top[1]/kernel"]) == (0,)
    with pytest.raises(InputError, match=r"'CONV1/\*' of group 'a' matches none of the 4"):
        bind([MultiplierGroup("a", ("CONV1/*",), 0.1)], PATHS)


def test_first_group_that_matches_counts():
    groups = [MultiplierGroup("bias", ("*/bias",), 1), MultiplierGroup("rest", ("*",), 0.1)]
    assert bind(groups, PATHS) == (1, 0, 1, 1)


def test_unmatched_pattern_names_the_near_paths():
    with pytest.raises(InputError, match=r"'conv2/bias' .* did you mean conv1/bias, .* is frozen"):
        bind([MultiplierGroup("a", ("conv1/*", "conv2/bias"), 0.1)], PATHS)


def test_group_left_with_nothing_is_an_error_that_names_the_earlier_one():
    groups = [MultiplierGroup("all", ("*",), 1), MultiplierGroup("late", ("top/*",), 0.1)]
    with pytest.raises(InputError, match=r"'top/\*' of group 'late' matches is taken .* 'all'"):
        bind(groups, PATHS)


def test_path_of_two_variables_is_refused_but_a_pattern_may_take_both():
    with pytest.raises(InputError, match="2 variables have the path 'top/kernel' of group 'a'"):
        bind([MultiplierGroup("a", ("top/kernel",), 1)], [*PATHS, "top/kernel"])
    assert bind([MultiplierGroup("a", ("top/*",), 1)], [*PATHS, "top/kernel"])[3:] == (0, 0)


@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan, "0.1", True, None])
def test_multiplier_that_is_no_number_from_0_is_refused(value):
    with pytest.raises(InputError, match=f"the multiplier of 'a' must be .* received {value!r}"):
        MultiplierGroup("a", ("*",), value)


@pytest.mark.parametrize("paths", [(), "conv1/*", (1,)])
def test_group_without_paths_is_refused(paths):
    with pytest.raises(InputError, match="'a' needs a tuple of variable paths; received"):
        MultiplierGroup("a", paths, 1.0)


def test_group_without_a_name_is_refused():
    with pytest.raises(InputError, match="name that is a string; received 7"):
        MultiplierGroup(7, ("*",), 1.0)


@pytest.mark.parametrize("multipliers", [{}, [], 0.1, "conv", [0.1]])
def test_what_is_no_groups_is_refused(multipliers):
    with pytest.raises(InputError, match="multipliers must map path patterns to numbers"):
        LearningRateMultiplier("sgd", multipliers)


def test_two_groups_of_one_name_are_refused():
    with pytest.raises(InputError, match="two groups have the name 'a'"):
        LearningRateMultiplier("sgd", [MultiplierGroup("a", (each,), 1) for each in "xy"])


def test_groups_survive_json():
    groups = layer_decay(build_backbone()[0])
    texts = [json.dumps(group.to_dict()) for group in groups]
    assert tuple(MultiplierGroup(**json.loads(text)) for text in texts) == groups


def test_layer_decay_counts_from_the_head_down():
    backbone, model = build_backbone(3)
    groups = layer_decay(backbone, 0.5)
    expected = {"block_0": 0.125, "block_1": 0.25, "block_2": 0.5, "head": 1.0}
    assert factors(groups) == expected
    optimizer = LearningRateMultiplier("sgd", groups)
    optimizer.build(model.trainable_variables)
    report = optimizer.describe()
    assert [each.tensors for each in report.groups] == [4, 4, 4, 2]
    assert report["head"].parameters == 10


def test_frozen_blocks_get_no_group_but_count():
    backbone, model = build_backbone(3)
    freeze(backbone, 2)
    groups = layer_decay(backbone, 0.5, head=None)
    assert factors(groups) == {"block_2": 0.5}
    LearningRateMultiplier("sgd", groups).build(model.trainable_variables)


def test_gamma_and_beta_that_train_in_a_frozen_layer_belong_to_their_block():
    backbone, model = build_backbone(3)
    freeze(backbone, 3)
    norm = backbone.blocks[1].layers[1]
    norm.gamma.trainable = norm.beta.trainable = True  # while norm.trainable is False
    (group,) = groups = layer_decay(backbone, 0.5, head=None)
    assert group == MultiplierGroup("block_1", ("norm_1/gamma", "norm_1/beta"), 0.25)
    LearningRateMultiplier("sgd", groups).build(model.trainable_variables)


def test_groups_take_all_that_affine_only_freezing_leaves_to_train():
    backbone = load_backbone("MobileNetV2", None, 32, alpha=0.35)
    freezing.freeze(backbone, "first:9", batch_norm="affine_only")
    groups = layer_decay(backbone, head=None)
    taken = {path for group in groups for path in group.paths}
    assert taken == {each.path for each in backbone.model.trainable_variables}
    assert [group.name for group in groups] == [block.name for block in backbone.blocks[9:]]
    assert sum(path.endswith(("/gamma", "/beta")) for path in taken) > 0


def test_a_layer_that_was_made_frozen_gets_no_group():
    layer = keras.layers.Dense(2, trainable=False)
    layer.build((None, 3))
    with pytest.raises(InputError, match="nothing in the backbone's blocks is trainable"):
        layer_decay(SimpleNamespace(blocks=[SimpleNamespace(name="only", layers=[layer])]))


def test_freezing_after_the_groups_were_made_is_an_error():
    backbone, model = build_backbone(3)
    groups = layer_decay(backbone)
    freeze(backbone, 1)
    with pytest.raises(InputError, match=r"'dense_0/kernel' of group 'block_0' .* after freezing"):
        LearningRateMultiplier("sgd", groups).build(model.trainable_variables)


def test_nothing_trainable_is_refused():
    backbone, _ = build_backbone(3)
    freeze(backbone, 3)
    for recipe in (layer_decay, grouped):
        with pytest.raises(InputError, match="nothing in the backbone's blocks is trainable"):
            recipe(backbone)


@pytest.mark.parametrize("decay", [0, 1.5])
def test_decay_out_of_range_is_refused(decay):
    with pytest.raises(InputError, match=f"decay must be above 0 and at most 1; received {decay}"):
        layer_decay(build_backbone()[0], decay)


def test_grouped_splits_the_blocks_in_thirds():
    backbone, model = build_backbone(7)
    groups = grouped(backbone, (0.01, 0.1, 1.0), head=10.0)
    assert factors(groups) == {"early": 0.01, "middle": 0.1, "late": 1.0, "head": 10.0}
    optimizer = LearningRateMultiplier("sgd", groups)
    optimizer.build(model.trainable_variables)
    assert [each.tensors for each in optimizer.describe().groups] == [12, 8, 8, 2]
    freeze(backbone, 3)
    assert [group.name for group in grouped(backbone, head=None)] == ["middle", "late"]


def test_grouped_refuses_what_is_no_thirds():
    with pytest.raises(InputError, match=r"three multipliers, .* received \(0.1, 1.0\)"):
        grouped(build_backbone()[0], (0.1, 1.0))
    with pytest.raises(InputError, match="thirds need at least 3 blocks; received 2"):
        grouped(build_backbone(2)[0])


def test_by_block_takes_the_blocks_named():
    groups = by_block(build_backbone()[0], {"block_4": 0.5, "block_0": 0.0}, head=2.0)
    assert factors(groups) == {"block_4": 0.5, "block_0": 0.0, "head": 2.0}
    assert groups[1].paths == ("dense_0/kernel", "dense_0/bias", "norm_0/gamma", "norm_0/beta")


def test_by_block_refuses_unknown_and_frozen_blocks():
    backbone, _ = build_backbone()
    with pytest.raises(InputError, match="unknown block 'blok_4': did you mean block_4"):
        by_block(backbone, {"blok_4": 0.5})
    freeze(backbone, 1)
    with pytest.raises(InputError, match="nothing in block 'block_0' is trainable"):
        by_block(backbone, {"block_0": 0.5})


def test_layer_decay_takes_every_block_of_a_real_backbone():
    backbone = load_backbone("MobileNetV2", None, 32, alpha=0.35)
    groups = layer_decay(backbone)
    optimizer = LearningRateMultiplier("sgd", groups[:-1])  # there is no head
    optimizer.build(backbone.model.trainable_variables)
    report = optimizer.describe()
    assert len(report.groups) == len(backbone.blocks)
    trainable = sum(math.prod(each.shape) for each in backbone.model.trainable_variables)
    assert sum(each.parameters for each in report.groups) == trainable
    assert report.groups[-1].multiplier == 0.75


def relative_norms(backbone, model, batches):
    """Written out: one gradient tape per batch, one norm over all tensors of a block."""
    rows = []
    for x, y in batches:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        variables = [
            [v for each in b.layers for v in each.trainable_variables] for b in backbone.blocks
        ]
        grads = tape.gradient(loss, variables)
        rows.append(
            [
                np.linalg.norm(np.concatenate([tf.reshape(g, -1) for g in of_grads]))
                / np.linalg.norm(np.concatenate([each.numpy().ravel() for each in of_block]))
                for of_block, of_grads in zip(variables, grads, strict=True)
            ]
        )
    return np.mean(rows, axis=0)


def test_auto_rgn_is_the_gradient_norm_over_the_weight_norm():
    backbone, model = build_backbone(3)
    model.layers[-2].rate = 0.0  # the same dropout twice cannot be drawn
    batches = [(X[:4], Y[:4]), (X[4:], Y[4:])]
    groups = auto_rgn(backbone, model, batches, "mse", head=2.0)
    expected = relative_norms(backbone, model, batches)
    measured = [group.multiplier for group in groups[:-1]]
    np.testing.assert_allclose(measured, expected / expected.max(), rtol=1e-4)
    assert max(measured) == 1 > min(measured) > 0
    assert groups[-1] == MultiplierGroup("head", ("*",), 2.0)


def test_auto_rgn_leaves_the_model_as_it_was():
    backbone, model = build_backbone(3)
    model.compile("sgd", "mse")
    optimizer, before = model.optimizer, [np.copy(each.numpy()) for each in model.variables]
    auto_rgn(backbone, model, [(X, Y)], "mse")
    for variable, value in zip(model.variables, before, strict=True):
        assert np.array_equal(variable.numpy(), value), variable.path
    assert model.optimizer is optimizer
    assert len(before) > len(model.weights)  # the state of the dropout is among them


def test_auto_rgn_again_at_the_next_epoch_changes_the_multipliers():
    backbone, model = build_backbone(3)
    groups = auto_rgn(backbone, model, [(X, Y)], "mse")
    optimizer = LearningRateMultiplier("sgd", groups)
    model.compile(optimizer, "mse")
    model.fit(X, Y, verbose=0)
    again = auto_rgn(backbone, model, [(X, Y)], "mse")
    optimizer.set_multipliers(again)
    assert factors(optimizer.groups) == pytest.approx(factors(again), rel=1e-6)
    assert factors(again) != factors(groups)


def test_auto_rgn_takes_sparse_and_missing_gradients():
    table = keras.layers.Embedding(5, 2, name="table")
    idle = keras.layers.Dense(2, name="idle")
    inputs = keras.Input((1,), dtype="int32")
    hidden = keras.layers.Flatten()(table(inputs))
    unused = keras.layers.Lambda(keras.ops.stop_gradient)(idle(hidden))
    model = keras.Model(inputs, keras.layers.Add()([hidden, unused]))
    blocks = [SimpleNamespace(name=each.name, layers=(each,)) for each in (table, idle)]
    batch = (np.array([[1], [3]]), np.ones((2, 2), "float32"))
    groups = auto_rgn(SimpleNamespace(blocks=blocks), model, [batch], "mse")
    assert [group.multiplier for group in groups] == [1.0, 0.0, 1.0]


def test_auto_rgn_refuses_models_without_a_graph():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(InputError, match="needs a functional or Sequential model; received <Own"):
        auto_rgn(SimpleNamespace(blocks=[]), Own(), [(X, Y)], "mse")


def test_auto_rgn_refuses_no_batches_and_useless_gradients():
    backbone, model = build_backbone(3)
    with pytest.raises(InputError, match="at least one batch; received none"):
        auto_rgn(backbone, model, [], "mse")
    with pytest.raises(InputError, match=r"norms of the blocks are \[nan, nan, nan\]"):
        auto_rgn(backbone, model, [(X, Y * np.nan)], "mse")


def test_auto_rgn_refuses_blocks_of_another_model():
    _, model = build_backbone(3)
    other, _ = build_backbone(4)
    with pytest.raises(InputError, match=f"'dense_3/kernel' .* not trained by '{model.name}'"):
        auto_rgn(other, model, [(X, Y)], "mse")
