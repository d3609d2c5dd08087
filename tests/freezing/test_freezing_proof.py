"""The proof: every planted change is found and named, and digests tell all else apart."""

import json
import re

import keras
import numpy as np
import pytest
from freezing_networks import STATISTICS, compiled, row_of_blocks, train, with_head

from ktransfer.errors import InputError
from ktransfer.freezing import (
    FrozenMovedError,
    FrozenProof,
    digest,
    freeze,
    frozen_variables,
    prefix_digest,
    watch_frozen,
)

# --- proof ----------------------------------------------------------------------------------


def plant(variable, position, change):
    values = np.array(variable.numpy())
    values[position] += change
    variable.assign(values)


def test_the_proof_finds_one_changed_number_in_one_moving_statistic():
    backbone = row_of_blocks()
    freeze(backbone, "first:2")
    watch = watch_frozen(backbone)
    plant(backbone.model.get_layer("bn_2").moving_variance, 3, 0.25)
    proof = watch.prove()
    assert [each.path for each in proof.moved] == ["bn_2/moving_variance"]
    message = r"1 of 18 frozen .* 'bn_2/moving_variance' \(1 of 4 numbers, by up to 0.25\)"
    with pytest.raises(FrozenMovedError, match=message):
        proof.verify()


def test_the_proof_finds_that_a_model_was_not_compiled_after_freezing():
    backbone = row_of_blocks()
    freeze(backbone, "none", batch_norm="train")
    model = compiled(with_head(backbone))
    train(model)
    freeze(backbone, "first:1")
    watch = watch_frozen(backbone)
    train(model)
    with pytest.raises(FrozenMovedError, match=r"'conv_1/kernel' \(108 of 108 .* compiled after"):
        watch.prove().verify()


def test_the_error_names_every_variable_that_moved():
    backbone = row_of_blocks()
    freeze(backbone)
    watch = watch_frozen(backbone)
    plant(backbone.model.get_layer("bn_1").gamma, 0, np.nan)
    plant(backbone.model.get_layer("bn_3").beta, slice(0, 2), -1e-6)
    message = r"'bn_1/gamma' \(1 of 4 .*no finite value\), 'bn_3/beta' \(2 of 4 .* 1e-06\)"
    with pytest.raises(FrozenMovedError, match=message):
        watch.prove().verify()


def test_without_kept_values_the_proof_still_names_what_moved():
    backbone = row_of_blocks()
    freeze(backbone)
    watch = watch_frozen(backbone, keep_values=False)
    plant(backbone.model.get_layer("bn_1").gamma, 0, 1.0)
    with pytest.raises(FrozenMovedError, match=r"'bn_1/gamma' \(by an unknown amount"):
        watch.prove().verify()


def test_a_proof_counts_what_is_frozen_and_prints_in_one_line():
    backbone = row_of_blocks()
    freeze(backbone, "first:1", batch_norm="train")
    proof = watch_frozen(backbone).prove().verify()
    # conv_1 3 x 3 x 3 x 4, bn_1 4 x 4; the statistics of the other blocks are not frozen.
    assert (proof.variables, proof.parameters) == (5, 108 + 16)
    line = r"5 frozen variables, 124 numbers: unchanged \(sha256 [0-9a-f]{8}…\)"
    assert re.fullmatch(line, str(proof))
    plant(backbone.model.get_layer("bn_1").gamma, 0, 1.0)
    assert "5 frozen variables, 124 numbers: unchanged" in str(watch_frozen(backbone).prove())


def test_a_proof_survives_json():
    backbone = row_of_blocks()
    freeze(backbone)
    watch = watch_frozen(backbone)
    plant(backbone.model.get_layer("bn_1").gamma, 0, 1.0)
    proof = watch.prove()
    assert FrozenProof.from_dict(json.loads(json.dumps(proof.to_dict()))) == proof
    assert "1 MOVED" in str(proof)


def test_affine_only_statistics_are_under_proof_and_gamma_is_not():
    backbone = row_of_blocks()
    freeze(backbone, "none", batch_norm="affine_only")
    paths = {variable.path for variable in frozen_variables(backbone)}
    assert paths == {f"bn_{at}/{name}" for at in range(1, 5) for name in STATISTICS}


def test_nothing_frozen_cannot_be_proved():
    backbone = row_of_blocks()
    freeze(backbone, "none", batch_norm="train")
    with pytest.raises(InputError, match="nothing in 'row' is frozen"):
        watch_frozen(backbone)


def test_a_digest_tells_every_bit_dtype_and_shape_apart():
    def sha(values, dtype="float32"):
        return next(iter(digest([keras.Variable(np.array(values), dtype=dtype)]).values()))

    assert sha([0.0, 1.0]) == sha([0.0, 1.0])
    others = [sha([-0.0, 1.0]), sha([[0.0, 1.0]]), sha([0.0, 1.0], "bfloat16"), sha(0.0)]
    assert len({sha([0.0, 1.0]), *others}) == 5


def test_variables_of_one_path_all_have_a_digest():
    twins = [keras.layers.Dense(1, name="twin", use_bias=False) for _ in range(2)]
    for twin in twins:
        twin.build((None, 2))
    found = digest([twins[0].kernel, twins[1].kernel])
    assert list(found) == ["twin/kernel", "twin/kernel (2)"]
    assert len(set(found.values())) == 2


# --- digests of a prefix --------------------------------------------------------------------


def test_the_digest_of_a_prefix_follows_its_values_and_nothing_else():
    backbone, twin = row_of_blocks(named=True), row_of_blocks(named=False)
    assert [prefix_digest(twin, n) for n in range(5)] == [
        prefix_digest(backbone, n) for n in range(5)
    ]
    plant(backbone.model.get_layer("bn_3").moving_mean, 0, 1.0)
    same = [prefix_digest(twin, n) == prefix_digest(backbone, n) for n in range(5)]
    assert same == [True, True, True, False, False]


def test_the_statistics_of_the_preprocessing_belong_to_every_prefix():
    backbone = row_of_blocks(normalize=False)
    with_statistics = row_of_blocks(normalize=True)
    assert all(prefix_digest(backbone, n) != prefix_digest(with_statistics, n) for n in range(1, 5))


def test_a_prefix_that_is_not_there_has_no_digest():
    with pytest.raises(InputError, match=r"num_blocks must be from 0 to 4 .* got 5"):
        prefix_digest(row_of_blocks(), 5)
