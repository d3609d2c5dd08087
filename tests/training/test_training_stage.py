"""A stage does what plain NumPy does, at the rates that the plan says, and keeps the best of it."""

import csv
import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import small_network
from freezing_networks import row_of_blocks

from ktransfer import InputError, load_backbone
from ktransfer.data.batches.rows import epoch_order, ordered_batches, shuffled_batches
from ktransfer.features import Network
from ktransfer.freezing import freeze
from ktransfer.plan import Plan, Stage
from ktransfer.training.caching import CacheDecision
from ktransfer.training.callbacks import KeepBest, ValidationMetrics
from ktransfer.training.head_start import root_mean_square
from ktransfer.training.settings import Settings
from ktransfer.training.stage import (
    StageSchedule,
    build_optimizer,
    check_callbacks,
    compile_trainee,
    run_stage,
)
from ktransfer.training.stage_input import Prepared, StageData, default_batch_size

SCHEDULES = {
    "constant": {},
    "cosine": {"schedule": "cosine"},
    "linear": {"schedule": "linear"},
    "step": {"schedule": "step", "decay_every_epochs": 0.7, "decay_factor": 0.3},
    "exponential": {"schedule": "exponential", "decay_every_epochs": 2, "decay_factor": 0.1},
}


def make_stage(**fields):
    return Stage(**{"name": "one", "unfreeze": 0, "epochs": 4, "learning_rate": 0.1, **fields})


def random_relu_features(num_images, seed):
    """A fixed random matrix with ReLU as the frozen body: 12 numbers to 8 features."""
    drawn = np.random.default_rng(seed)
    inputs = drawn.normal(size=(num_images, 12)).astype(np.float32)
    body = np.random.default_rng(99).normal(size=(12, 8)).astype(np.float32)
    return np.maximum(inputs @ body, 0), inputs[:, :3].argmax(axis=1).astype(np.int32)


def data_of(train, validation, *, seed=0):
    return StageData(
        lambda batch_size, first_epoch: shuffled_batches(
            *train, batch_size=batch_size, seed=seed, first_epoch=first_epoch
        ),
        ordered_batches(*validation, batch_size=64),
        len(train[1]),
    )


def prepared_head(
    train=None,
    validation=None,
    *,
    seed=0,
    dropout=0.0,
    batch_size=16,
    callbacks=(),
    judge_start=False,
    **fields,
):
    """The head alone on features of 8 numbers, which come from somewhere else."""
    train = train or random_relu_features(60, 1)
    validation = validation or random_relu_features(30, 2)
    network = Network(
        load_backbone(small_network(channels=8), preprocessing="none"), 2, 3, "avg", seed
    )
    freeze(network.backbone, "all")
    network.scale_features(1 / root_mean_square(train[0]))
    return Prepared(
        stage=make_stage(**fields),
        network=network,
        trainee=network.trainee(2, dropout=dropout, cached=True),
        decision=CacheDecision(True, ""),
        data=data_of(train, validation, seed=seed),
        batch_size=batch_size,
        settings=Settings(callbacks=callbacks),
        judge_start=judge_start,
    )


def head_of(prepared):
    """The head's kernel and bias, for features as they are."""
    kernel, bias = prepared.network.head.get_weights()
    return kernel * prepared.network.feature_scale, bias


def gradient_descent(values, labels, *, epochs, batch_size, rate, seed):
    """A softmax layer trained by plain gradient descent, batch by batch, in float64."""
    scale = 1 / np.sqrt(np.mean(values.astype(np.float64) ** 2))
    values = values * scale
    kernel, bias = np.zeros((values.shape[1], 3)), np.zeros(3)
    for epoch in range(epochs):
        order = epoch_order(len(labels), seed, epoch)
        for start in range(0, len(labels), batch_size):
            rows = order[start : start + batch_size]
            logits = values[rows] @ kernel + bias
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            error = odds / odds.sum(axis=1, keepdims=True) - np.eye(3)[labels[rows]]
            kernel -= rate * values[rows].T @ error / len(rows)
            bias -= rate * error.mean(axis=0)
    return kernel * scale, bias


def cross_entropy(prepared, values, labels):
    kernel, bias = head_of(prepared)
    logits = values.astype(np.float64) @ kernel + bias
    log_sum = np.log(np.exp(logits).sum(axis=1))
    return np.mean(log_sum - logits[np.arange(len(labels)), labels])


class AtEpoch(keras.callbacks.Callback):
    """Presses Ctrl-C at the end of an epoch, or before the first step."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if self.epoch is None:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


# The head.


def test_head_equals_plain_gradient_descent_in_numpy():
    train = random_relu_features(70, 1)  # 70 = 4 * 16 + 6: the last batch is smaller
    prepared = prepared_head(train, epochs=6, optimizer="sgd", seed=5)
    result = run_stage(prepared)
    assert result.best_epoch == 6  # so that the weights kept are the last ones
    expected = gradient_descent(*train, epochs=6, batch_size=16, rate=0.1, seed=5)
    for found, wanted in zip(head_of(prepared), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_best_epoch_is_kept_and_not_the_last():
    validation = random_relu_features(200, 2)
    prepared = prepared_head(
        random_relu_features(20, 1), validation, epochs=40, learning_rate=0.3, batch_size=4
    )
    result = run_stage(prepared)
    losses = [row["val_calibrated_loss"] for row in result.history]
    assert result.best_epoch == 1 + int(np.argmin(losses)) < len(losses) == 40
    best = result.history[result.best_epoch - 1]
    assert cross_entropy(prepared, *validation) == pytest.approx(best["val_loss"], abs=1e-5)
    names = ("val_loss", "val_calibrated_loss", "val_accuracy")
    assert [getattr(result, name) for name in names] == [best[name] for name in names]
    assert [row["epoch"] for row in result.history] == [*range(1, 41)]
    assert not result.interrupted
    assert not result.diverged


def test_stage_ends_after_patience_epochs_without_a_better_one():
    prepared = prepared_head(
        random_relu_features(20, 1),
        random_relu_features(200, 2),
        epochs=40,
        learning_rate=0.3,
        batch_size=4,
        patience=3,
    )
    result = run_stage(prepared)
    assert len(result.history) == result.best_epoch + 3 < 40


def test_same_seed_same_head():
    heads = []
    for seed in (1, 1, 2):
        prepared = prepared_head(epochs=2, dropout=0.3, seed=seed)
        run_stage(prepared)
        heads.append(head_of(prepared)[0])
    np.testing.assert_array_equal(heads[0], heads[1])
    assert np.abs(heads[0] - heads[2]).max() > 1e-6


def test_memory_mapped_rows_give_the_same_head(tmp_path):
    values, labels = random_relu_features(60, 1)
    mapped = np.memmap(tmp_path / "values", np.float32, "w+", shape=values.shape)
    mapped[:] = values
    in_memory, from_disk = prepared_head((values, labels)), prepared_head((mapped, labels))
    for prepared in (in_memory, from_disk):
        run_stage(prepared)
    for one, other in zip(head_of(in_memory), head_of(from_disk), strict=True):
        np.testing.assert_array_equal(one, other)


def test_ctrl_c_keeps_the_best_so_far():
    prepared = prepared_head(epochs=20, optimizer="sgd", callbacks=[AtEpoch(4)])
    result = run_stage(prepared)
    assert result.interrupted
    assert len(result.history) == result.best_epoch == 5
    whole = prepared_head(epochs=5, optimizer="sgd")
    run_stage(whole)
    np.testing.assert_array_equal(head_of(prepared)[0], head_of(whole)[0])


def test_ctrl_c_before_anything_was_learned_is_passed_on():
    with pytest.raises(KeyboardInterrupt):
        run_stage(prepared_head(callbacks=[AtEpoch(None)]))


def test_ctrl_c_in_a_later_stage_leaves_what_was_known_before():
    prepared = prepared_head(judge_start=True, callbacks=[AtEpoch(None)])
    kernel = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    prepared.network.head.set_weights([kernel, np.zeros(3)])
    result = run_stage(prepared)
    assert (result.interrupted, result.best_epoch, result.history) == (True, 0, ())
    loss = cross_entropy(prepared, *random_relu_features(30, 2))
    assert result.val_loss == pytest.approx(loss, abs=1e-5)
    np.testing.assert_array_equal(prepared.network.head.kernel, kernel)


def test_a_loss_that_is_not_finite_ends_the_stage_and_the_weights_of_before_are_kept():
    result = run_stage(prepared := prepared_head(optimizer="sgd", learning_rate=3e38))
    assert result.diverged
    assert len(result.history) == 1
    assert (result.best_epoch, result.val_loss, result.val_accuracy) == (0, None, None)
    np.testing.assert_array_equal(prepared.network.head.kernel, np.zeros((8, 3)))


def test_a_stage_that_only_gets_worse_keeps_what_was_known_before():
    prepared = prepared_head()
    run_stage(prepared)
    kernel = np.array(prepared.network.head.kernel)
    worse = dataclasses.replace(
        prepared,
        stage=make_stage(epochs=2, learning_rate=50.0, optimizer="sgd"),
        judge_start=True,
    )
    result = run_stage(worse)
    assert (result.best_epoch, len(result.history)) == (0, 2)
    loss = cross_entropy(worse, *random_relu_features(30, 2))
    assert result.val_loss == pytest.approx(loss, abs=1e-5)
    np.testing.assert_array_equal(prepared.network.head.kernel, kernel)


def test_a_stage_that_goes_on_from_a_saved_state_ends_as_if_it_never_stopped():
    states = []
    fields = {"epochs": 4, "dropout": 0.3, "schedule": "cosine", "patience": 9}
    whole = prepared_head(**fields)
    expected = run_stage(whole, on_epoch=lambda state: states.append(state()))
    resumed = prepared_head(**fields)
    found = run_stage(resumed, states[1])
    for one, other in zip(head_of(whole), head_of(resumed), strict=True):
        np.testing.assert_array_equal(one, other)
    losses = [[row["val_loss"] for row in each.history] for each in (expected, found)]
    assert losses[0] == losses[1]
    assert len(states[1].plain["history"]) == 2  # and not what came after it was taken
    names = ("best_epoch", "val_loss", "val_calibrated_loss", "val_accuracy")
    assert [getattr(found, each) for each in names] == [getattr(expected, each) for each in names]


# What is kept.


def kept_of(epochs, *, patience=None, start=None, keep="best"):
    """Which epoch's weights are kept of `(calibrated loss, accuracy)`, and when it would end."""
    variable = keras.Variable(np.zeros(2, np.float32))
    callback = KeepBest([variable], patience, start, keep=keep)
    callback.set_model(keras.Sequential())
    callback.model.stop_training = False
    ended = None
    for number, (loss, accuracy) in enumerate(epochs):
        variable.assign([number + 1.0, number + 1.0])
        logs = {"val_loss": 9.0, "val_calibrated_loss": loss, "val_accuracy": accuracy}
        callback.on_epoch_end(number, logs)
        ended = ended or (callback.model.stop_training and number + 1) or None
    callback.restore()
    np.testing.assert_array_equal(np.array(variable), np.full(2, callback.best_epoch))
    return callback.best_epoch, ended


def test_the_lowest_loss_is_kept_and_the_first_of_equal_ones():
    assert kept_of([(3, 0.1), (1, 0.2), (2, 0.9), (1, 0.9)]) == (2, None)
    assert kept_of([(np.nan, 0.9), (np.inf, 0.9)]) == (0, None)
    assert kept_of([(np.nan, 0.9), (5, 0.0)]) == (2, None)


def test_a_lower_loss_is_kept_whatever_a_handful_of_images_says():
    start = ValidationMetrics(0.1, 2.0, 0.5)
    assert kept_of([(1.0, 0.4), (1.5, 0.5), (0.5, 0.49)], start=start) == (3, None)
    assert kept_of([(2.0, 0.9), (2.1, 1.0)], start=start) == (0, None)
    assert kept_of([(1.0, 0.0)]) == (1, None)


def test_the_end_is_kept_where_a_stage_asks_for_it_if_it_is_finite():
    assert kept_of([(1, 0.9), (2, 0.2), (3, 0.1)], keep="end") == (3, None)
    assert kept_of([(1, 0.9), (2, 0.2), (np.nan, 0.1)], keep="end") == (2, None)
    assert kept_of([(np.inf, 0.9)], keep="end") == (0, None)
    start = ValidationMetrics(0.1, 0.5, 0.9)
    assert kept_of([(1, 0.9), (2, 0.8)], keep="end", start=start) == (2, None)


def test_patience_counts_from_the_best_epoch():
    falling = [(3, 0.1), (2, 0.1), (2, 0.1), (2.5, 0.1), (1, 0.1)]
    assert kept_of(falling, patience=2) == (5, 4)
    assert kept_of(falling, patience=3) == (5, None)
    # A better epoch begins the count anew.
    assert kept_of([(3, 0.1), (4, 0.1), (2, 0.1), (4, 0.1), (1, 0.1)], patience=2) == (5, None)


# Rates.


@pytest.mark.parametrize("warmup_epochs", [0, 1.3, 3.99])
@pytest.mark.parametrize("kind", SCHEDULES)
def test_schedule_is_the_one_of_the_plan_at_every_step(kind, warmup_epochs):
    stage = make_stage(warmup_epochs=warmup_epochs, **SCHEDULES[kind])
    schedule = StageSchedule(stage, 13)
    expected = [stage.learning_rate_at(step, 13) for step in range(4 * 13)]
    for dtype in ("int64", "int32"):
        found = np.array(schedule(tf.range(4 * 13, dtype=dtype)))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    assert float(schedule(tf.constant(5))) == found[5]
    assert float(schedule(tf.constant(10**6))) == found[-1]


def test_schedule_is_read_back_equal():
    schedule = StageSchedule(make_stage(warmup_epochs=1, **SCHEDULES["step"]), 7)
    optimizer = keras.optimizers.deserialize(
        keras.optimizers.serialize(keras.optimizers.Adam(schedule))
    )
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    for step in range(30):
        assert float(again(step)) == float(schedule(step))
    assert again.stage == schedule.stage
    assert float(optimizer.learning_rate) == float(schedule(0))


@pytest.mark.parametrize("kind", ["constant", "cosine", "step"])
def test_rates_applied_in_training_are_those_of_the_plan(kind):
    applied = []

    class Record(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            applied.append(float(self.model.optimizer.learning_rate))

    warmup = 0 if kind == "constant" else 0.5
    prepared = prepared_head(
        epochs=3, warmup_epochs=warmup, callbacks=[Record()], **SCHEDULES[kind]
    )
    run_stage(prepared)
    expected = Plan("mine", (prepared.stage,)).learning_rates(4)["head"]  # 60 images in fours of 16
    np.testing.assert_allclose(applied, expected, rtol=1e-6)


def prepared_blocks(*, num_images=12, optimizer="sgd", network=None, **fields):
    """The last blocks of four, on images."""
    network = network or Network(row_of_blocks(), 4, 3, "avg", 0)
    drawn = np.random.default_rng(1)
    network.head.set_weights([drawn.normal(size=each.shape) for each in network.head.weights])
    images = drawn.uniform(0, 255, (num_images, 16, 16, 3)).astype(np.float32)
    labels = (np.arange(num_images) % 3).astype(np.int32)
    stage = make_stage(optimizer=optimizer, **{"unfreeze": 3, "epochs": 3, **fields})
    freeze(network.backbone, f"all_but_last:{stage.unfreeze}", batch_norm=stage.batch_norm)
    return Prepared(
        stage=stage,
        network=network,
        trainee=network.trainee(4 - stage.unfreeze, dropout=0.0, cached=False),
        decision=CacheDecision(False, ""),
        data=data_of((images, labels), (images, labels)),
        batch_size=num_images,
        settings=Settings(),
    ), (images, labels)


def group_of(network):
    """From each variable's identity to the group that the plan has it in."""
    groups = {id(each): "head" for each in network.head.weights}
    for depth, block in enumerate(reversed(network.blocks), 1):
        groups |= {id(each): f"block -{depth}" for layer in block.layers for each in layer.weights}
    return groups


def test_every_step_moves_every_block_by_its_rate_of_the_plan():
    prepared, (images, labels) = prepared_blocks(
        block_multiplier=0.3, layer_decay=0.5, schedule="linear", warmup_epochs=1, epochs=4
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    group, weights = group_of(prepared.network), prepared.trainee.trainable_variables
    rates = Plan("mine", (prepared.stage,), num_blocks=4).learning_rates(1).rates
    seen = set()

    class Check(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            with tf.GradientTape() as tape:
                value = loss(labels, prepared.trainee(images, training=True))
            self.before = [np.array(each) for each in weights]
            self.gradients = tape.gradient(value, [each.value for each in weights])

        def on_epoch_end(self, epoch, logs=None):
            for weight, old, by in zip(weights, self.before, self.gradients, strict=True):
                rate = rates[group[id(weight)]][epoch]
                seen.add((group[id(weight)], epoch, rate > 0))
                np.testing.assert_allclose(
                    np.array(weight), old - rate * np.array(by), atol=1e-5, rtol=1e-5
                )

    run_stage(dataclasses.replace(prepared, settings=Settings(callbacks=[Check()])))
    # The first step of the warm-up has the rate 0; no other, and no group is left out.
    groups = ("head", "block -1", "block -2", "block -3")
    assert seen == {(name, epoch, epoch > 0) for name in groups for epoch in range(4)}


def test_what_the_optimizer_says_of_its_groups_is_what_the_plan_says():
    prepared, _ = prepared_blocks(
        unfreeze=2, block_multiplier=0.3, layer_decay=0.5, optimizer="adamw", epochs=1
    )
    rates = Plan("mine", (prepared.stage,), num_blocks=4).learning_rates(1)
    told = {row["group"]: row["learning_rate"] for row in run_stage(prepared).groups}
    assert told == {
        prepared.network.blocks[3].name: pytest.approx(rates["block -1"][0]),
        prepared.network.blocks[2].name: pytest.approx(rates["block -2"][0]),
        "head": pytest.approx(0.1),
    }


def test_the_peak_is_told_of_a_stage_that_warms_up():
    prepared, _ = prepared_blocks(unfreeze=1, warmup_epochs=1, block_multiplier=0.5)
    told = {row["group"]: row["learning_rate"] for row in run_stage(prepared).groups}
    assert told == {
        prepared.network.blocks[3].name: pytest.approx(0.05),
        "head": pytest.approx(0.1),
    }


def test_the_stage_says_which_optimizer_and_with_what():
    network = Network(row_of_blocks(), 4, 3, "avg", 0)
    freeze(network.backbone, "all")
    stage = make_stage(optimizer="sgd", momentum=0.9, weight_decay=0.05)
    optimizer = build_optimizer(stage, network, 7)
    assert type(optimizer) is keras.optimizers.SGD
    assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 0.05)
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    assert build_optimizer(make_stage(), network, 7).weight_decay is None


def test_a_block_without_anything_to_train_gets_no_group():
    images = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, strides=2)(images)
    x = keras.layers.Conv2D(4, 3, strides=2)(keras.layers.ReLU()(x))
    network = Network(load_backbone(keras.Model(images, x), preprocessing="none"), 2, 3, "avg", 0)
    freeze(network.backbone, "all_but_last:1")
    optimizer = build_optimizer(make_stage(unfreeze=2), network, 7)
    assert [group.name for group in optimizer.groups] == [network.blocks[1].name]


def test_compiling_builds_every_state_of_the_optimizer():
    prepared, _ = prepared_blocks(optimizer="adam")
    compile_trainee(prepared)
    moments = [each for each in prepared.trainee.optimizer.variables if "momentum" in each.path]
    assert len(moments) == len(prepared.trainee.trainable_variables)


# Callbacks of the user.

CALLBACKS = {
    "Callback": lambda folder: keras.callbacks.Callback(),
    "EarlyStopping": lambda folder: keras.callbacks.EarlyStopping(
        patience=1, restore_best_weights=True
    ),
    "ModelCheckpoint": lambda folder: keras.callbacks.ModelCheckpoint(folder / "model.keras"),
    "ModelCheckpoint of weights": lambda folder: keras.callbacks.ModelCheckpoint(
        folder / "{epoch}.weights.h5", save_weights_only=True, monitor="val_accuracy"
    ),
    "CSVLogger": lambda folder: keras.callbacks.CSVLogger(folder / "log.csv"),
    "ReduceLROnPlateau": lambda folder: keras.callbacks.ReduceLROnPlateau(patience=1),
    "LearningRateScheduler": lambda folder: keras.callbacks.LearningRateScheduler(
        lambda epoch, rate: rate / 2
    ),
    "LambdaCallback": lambda folder: keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: (folder / f"{epoch}.txt").write_text(str(logs))
    ),
    "TerminateOnNaN": lambda folder: keras.callbacks.TerminateOnNaN(),
    "History": lambda folder: keras.callbacks.History(),
    "ProgbarLogger": lambda folder: keras.callbacks.ProgbarLogger(),
    "BackupAndRestore": lambda folder: keras.callbacks.BackupAndRestore(folder / "backup"),
    "RemoteMonitor": None,  # needs a server
    "MonitorCallback": None,  # what the others are made of
    "CallbackList": None,
    "TensorBoard": lambda folder: keras.callbacks.TensorBoard(folder / "board"),
    "SwapEMAWeights": None,  # refused, see below
    "OrbaxCheckpoint": None,  # needs a package
}


def test_no_callback_of_keras_is_forgotten_here():
    known = [name for name in dir(keras.callbacks) if name[0].isupper()]
    assert set(known) <= set(CALLBACKS)


@pytest.fixture(scope="module")
def unwatched():
    """The head of two epochs that no callback has watched."""
    prepared = prepared_head(epochs=2)
    run_stage(prepared)
    return head_of(prepared)[0]


@pytest.mark.parametrize("name", [name for name, made in CALLBACKS.items() if made])
def test_a_callback_of_keras_can_watch_a_stage(name, tmp_path, unwatched):
    if name == "TensorBoard":
        pytest.importorskip("tensorboard")
    callback = CALLBACKS[name](tmp_path)
    prepared = prepared_head(epochs=2, callbacks=[callback])
    check_callbacks(prepared.stage, prepared.settings.callbacks)
    result = run_stage(prepared)
    assert len(result.history) == 2
    if name not in ("LearningRateScheduler", "ReduceLROnPlateau"):
        np.testing.assert_array_equal(head_of(prepared)[0], unwatched)
    effects = {
        "ModelCheckpoint": ["model.keras"],
        "ModelCheckpoint of weights": ["1.weights.h5", "2.weights.h5"],
        "CSVLogger": ["log.csv"],
        "LambdaCallback": ["0.txt", "1.txt"],
    }
    if name in effects:
        assert sorted(each.name for each in tmp_path.iterdir()) == effects[name]
    if name == "CSVLogger":
        with (tmp_path / "log.csv").open() as file:
            rows = list(csv.DictReader(file))
        losses = [row["val_loss"] for row in result.history]
        assert [float(row["val_loss"]) for row in rows] == pytest.approx(losses)
    if name == "LearningRateScheduler":
        assert float(prepared.trainee.optimizer.learning_rate) == pytest.approx(0.1 / 4)


def test_a_callback_that_ends_the_stage_ends_it():
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(stop.model, "stop_training", epoch == 1)
    )
    assert len(run_stage(prepared_head(epochs=9, callbacks=[stop])).history) == 2


@pytest.mark.parametrize(
    "setter",
    [
        keras.callbacks.ReduceLROnPlateau(),
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate),
    ],
    ids=lambda each: type(each).__name__,
)
def test_callbacks_that_set_the_rate_are_refused_where_a_schedule_does(setter):
    name = type(setter).__name__
    message = rf"'one' has the schedule 'cosine' with 0 epochs of warm-up, so {name} cannot set"
    with pytest.raises(InputError, match=message):
        check_callbacks(make_stage(schedule="cosine"), [keras.callbacks.History(), setter])
    message = rf"'constant' with 0\.5 epochs of warm-up, so {name} cannot .* warmup_epochs=0"
    with pytest.raises(InputError, match=message):
        check_callbacks(make_stage(warmup_epochs=0.5), [setter])
    check_callbacks(make_stage(), [setter])


def test_averaged_weights_cannot_be_swapped_in_where_none_are_averaged():
    swap = keras.callbacks.SwapEMAWeights()
    with pytest.raises(ValueError, match="use_ema"):  # as Keras does, when a stage has begun
        run_stage(prepared_head(callbacks=[swap]))
    with pytest.raises(
        InputError, match=r"stage 'one': SwapEMAWeights needs .* use_ema=True, which 'adam'"
    ):
        check_callbacks(make_stage(), [swap])


@pytest.mark.parametrize(
    ("num_images", "batch_size"),
    [(1, 4), (39, 4), (40, 5), (48, 6), (255, 31), (256, 32), (10**6, 32)],
)
def test_default_batch_size_is_an_eighth_from_4_to_32(num_images, batch_size):
    assert default_batch_size(num_images) == batch_size
