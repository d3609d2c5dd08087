"""Policies: as text, inside layers, in numbers of parameters, and those that are refused."""

import json
import re

import keras
import pytest
from freezing_networks import POLICIES, compiled, row_of_blocks, tiny_vit, train, with_head

from ktransfer.backbones import load_backbone
from ktransfer.errors import InputError
from ktransfer.freezing import Freeze, blocks_from, count_by_block, freeze
from ktransfer.freezing.layers import walk

# --- nested layers --------------------------------------------------------------------------


def test_patterns_reach_into_transformer_blocks():
    backbone = tiny_vit()
    freeze(backbone, Freeze.matching("*/mha/*"))
    frozen = {w.path for w in backbone.model.weights if not w.trainable}
    assert frozen == {w.path for w in backbone.model.weights if "/mha/" in w.path}
    assert len(frozen) == 3 * 8
    moved = train(compiled(with_head(backbone), run_eagerly=True))
    assert not moved & frozen
    assert any("/mlp/" in path for path in moved)


def test_predicates_reach_into_transformer_blocks():
    backbone = tiny_vit()
    freeze(backbone, Freeze.where(lambda layer: not isinstance(layer, keras.layers.Dense)))
    # The whole block is no dense layer: the outermost layer that is selected is frozen whole.
    assert not backbone.model.trainable_weights
    freeze(backbone, Freeze.where(lambda layer: isinstance(layer, keras.layers.LayerNormalization)))
    frozen = {w.path for w in backbone.model.weights if not w.trainable}
    assert frozen == {w.path for w in backbone.model.weights if "/ln" in w.path}


# --- counts ---------------------------------------------------------------------------------


def keras_counts(model):
    lines = []
    model.summary(print_fn=lambda line, **_: lines.append(line))
    found = re.findall(r"(Trainable|Non-trainable) params: ([\d,]+)", "\n".join(lines))
    return {name: int(number.replace(",", "")) for name, number in found}


def assert_counts_agree(backbone, policy, batch_norm):
    freezing = freeze(backbone, policy, batch_norm=batch_norm)
    counted = keras_counts(backbone.model)
    in_blocks = sum(block.parameters for block in backbone.blocks)
    preprocessing = backbone.parameters - in_blocks
    assert freezing.trainable_parameters == counted["Trainable"]
    assert freezing.frozen_parameters + preprocessing == counted["Non-trainable"]
    rows = count_by_block(backbone)
    assert rows == freezing.blocks
    assert [(name, frozen + trainable) for name, frozen, trainable in rows] == [
        (block.name, block.parameters) for block in backbone.blocks
    ]


@pytest.mark.parametrize("batch_norm", ["frozen", "affine_only", "train"])
def test_counts_agree_with_keras_in_every_policy(batch_norm):
    row = row_of_blocks()
    for policy, _ in POLICIES:
        assert_counts_agree(row, policy, batch_norm)


def test_counts_agree_with_keras_for_mobilenetv2():
    backbone = load_backbone("MobileNetV2", None, 32, alpha=0.35)
    assert_counts_agree(backbone, "none", "train")
    assert_counts_agree(backbone, "up_to:block_13_project_BN", "affine_only")
    assert_counts_agree(backbone, "matching:block_1_*", "frozen")


def test_counts_agree_with_keras_inside_transformer_blocks():
    backbone = tiny_vit()
    for policy in ("all", "none", "all_but_last:1", "matching:*/mha/*"):
        assert_counts_agree(backbone, policy, "frozen")


def test_a_freezing_prints_and_goes_to_json():
    freezing = freeze(row_of_blocks(), "first:3", batch_norm="affine_only")
    # One block: 3 x 3 x 4 x 4 = 144, of batch norm 8 trainable and 8 statistics; the first 108.
    assert str(freezing) == (
        "first:3: the first 3 of 4 blocks are frozen; 452 numbers frozen, 152 trainable "
        "(batch norm: affine_only)"
    )
    data = json.loads(json.dumps(freezing.to_dict()))
    assert data["blocks"][3] == ["relu_4", 8, 152]
    assert (data["policy"], data["frozen_prefix"]) == ("first:3", 3)


# --- policies as data, errors ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (Freeze.all(), "all"),
        (Freeze.none(), "none"),
        (Freeze.first(3), "first:3"),
        (Freeze.all_but_last(0), "all_but_last:0"),
        (Freeze.up_to("block_13_project_BN"), "up_to:block_13_project_BN"),
        (Freeze.up_to("a:b"), "up_to:a:b"),
        (Freeze.before("block_13"), "before:block_13"),
        (Freeze.matching("block_1_*", "*/mha/*"), "matching:block_1_*,*/mha/*"),
    ],
)
def test_a_policy_survives_json(policy, text):
    assert str(policy) == text
    assert Freeze.parse(json.loads(json.dumps(str(policy)))) == policy


def test_a_predicate_is_named_in_the_text_and_not_read_from_it():
    def is_early(layer):
        return layer.name == "conv_1"

    assert freeze(row_of_blocks(), Freeze.where(is_early)).policy == "where:is_early"
    with pytest.raises(InputError, match=r"code and cannot be read .* received 'where:is_early'"):
        Freeze.parse("where:is_early")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Freeze.parse("last:4"), "unknown freeze policy 'last': did you mean .*first"),
        (lambda: Freeze.parse("first"), "'first' takes a number of blocks, .* received None"),
        (lambda: Freeze.parse("first:x"), "'first' takes a number of blocks.*received 'x'"),
        (lambda: Freeze.parse("first:--1"), "'first' takes a number of blocks.*received '--1'"),
        (lambda: Freeze.parse("first:-1"), "'first' takes .* 0 or more; received -1"),
        (lambda: Freeze.first(-2), "'first' takes .* 0 or more; received -2"),
        (lambda: Freeze.all_but_last(1.5), "'all_but_last' takes .* received 1.5"),
        (lambda: Freeze.all_but_last(True), "'all_but_last' takes .* received True"),
        (lambda: Freeze.parse("all:3"), "'all' takes no argument; received '3'"),
        (lambda: Freeze.up_to(""), "'up_to' takes the name of a block or layer; received ''"),
        (lambda: Freeze.up_to(3), "'up_to' takes the name of a block or layer; received 3"),
        (lambda: Freeze.before(""), "'before' takes the name of a block or layer; received ''"),
        (lambda: Freeze.matching(), r"'matching' takes patterns, .* received \(\)"),
        (lambda: Freeze.matching("a,b"), r"with a comma .* received \('a,b',\)"),
        (lambda: Freeze.parse("matching:a,,b"), r"received \('a', '', 'b'\)"),
        (lambda: Freeze.where("conv"), "'where' takes a function of a layer; received 'conv'"),
    ],
)
def test_policies_that_make_no_sense_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def choose_nothing(layer):
    return False


@pytest.mark.parametrize(
    ("policy", "options", "message"),
    [
        ("first:5", {}, "row has 4 blocks; received the freeze policy 'first:5'"),
        ("all_but_last:9", {}, "row has 4 blocks; .* 'all_but_last:9'"),
        ("up_to:relu_5", {}, "unknown block or layer 'relu_5': did you mean relu_"),
        ("before:relu_5", {}, "unknown block or layer 'relu_5': did you mean relu_"),
        ("matching:conf_1", {}, "pattern 'conf_1' fits no layer .* did you mean conv_1"),
        ("matching:conv_1,dense*", {}, r"pattern 'dense\*' fits no layer"),
        ("matching:bn_1/gamma", {}, r"'bn_1/gamma' fits 'bn_1/gamma', but not .* as 'bn_1/\*'"),
        (Freeze.where(choose_nothing), {}, "choose_nothing .* selects none of the 8 layers of row"),
        ("none", {"batch_norm": "affine"}, "unknown batch_norm 'affine': did you mean affine_only"),
        (7, {}, "policy must be a Freeze or its text .*; received 7"),
        (
            "all",
            {"require_trainable": True},
            "policy 'all' with batch_norm='frozen' leaves nothing",
        ),
        ("matching:conv_*", {"require_trainable": True}, r"'matching:conv_\*' .* leaves nothing"),
    ],
)
def test_freezing_that_cannot_be_done_is_refused_and_changes_nothing(policy, options, message):
    backbone = row_of_blocks()
    freeze(backbone, "first:1", batch_norm="affine_only")
    layers, weights = backbone.model.layers, backbone.model.weights
    before = [each.trainable for each in (*layers, *weights)]
    with pytest.raises(InputError, match=message):
        freeze(backbone, policy, **options)
    assert [each.trainable for each in (*layers, *weights)] == before
    assert sum(before) < len(before)


def test_what_is_left_to_train_counts_gamma_and_beta():
    freeze(row_of_blocks(), "matching:conv_*", batch_norm="affine_only", require_trainable=True)


# --- blocks by name -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "last"), [("relu_3", 2), ("conv_3", 2), ("bn_1", 4), ("relu_4", 1), ("all", 4)]
)
def test_a_block_or_a_layer_in_it_names_how_many_last_blocks_train(name, last):
    backbone = row_of_blocks()
    assert blocks_from(backbone, name) == last
    if name != "all":
        frozen = freeze(backbone, f"before:{name}")
        assert frozen.blocks == freeze(backbone, f"all_but_last:{last}").blocks
        assert freeze(backbone, f"up_to:{name}").frozen_prefix == 4 - last + 1


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("block_13", "block_13_expand"),  # how the names of its layers begin
        ("block_1", "block_1_expand"),  # and not those of block_13
        ("Conv_1", "Conv_1"),
        ("Conv1", "Conv1"),
        ("expanded_conv", "expanded_conv_depthwise"),
    ],
)
def test_the_beginning_of_the_names_of_layers_names_their_block(name, holds):
    backbone = load_backbone("MobileNetV2", "mini")
    block = backbone.blocks[-blocks_from(backbone, name)]
    assert holds in [layer.name for layer in block.layers]


def test_a_layer_inside_layers_of_several_blocks_needs_the_name_of_its_block():
    vit = tiny_vit()
    inner = [{part.name for layer in each.layers for part in walk(layer)} for each in vit.blocks]
    layers = {call.operation.name for each in vit.blocks for call in each.calls}
    names = sorted({name for each in inner for name in each} - layers)
    several = next(name for name in names if sum(name in each for each in inner) > 1)
    with pytest.raises(InputError, match=rf"blocks of .* hold a layer '{several}' .*the block"):
        blocks_from(vit, several)


@pytest.mark.parametrize("name", ["", "block", "block_99", "rescaling", "Block_13"])
def test_a_name_that_is_none_is_refused_with_near_ones(name):
    with pytest.raises(InputError, match=f"unknown block or layer '{name}': did you mean"):
        blocks_from(load_backbone("MobileNetV2", "mini"), name)
