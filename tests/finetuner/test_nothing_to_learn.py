"""What can teach nothing is named: damaged weights, rates far too high, images all alike."""

import numpy as np
import pytest
from conftest import small_network, write_pictures
from training_networks import make_plan, make_stage

from ktransfer import FineTuner, InputError, RunError

ALIKE = "the network says the same of every training image, so that a head on it can only guess"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("photos"), 12)


def damaged(at, value=np.nan):
    """A network of which one number is spoilt, and the layer it belongs to."""
    network = small_network()
    values = network.get_weights()
    values[at].flat[1] = value
    network.set_weights(values)
    return network, network.weights[at].path.rpartition("/")[0]


@pytest.mark.parametrize("at", [0, 6, -1])
def test_nan_among_the_weights_is_an_error_that_names_the_layer(at):
    network, layer = damaged(at)
    number = f"1 of {network.weights[at].value.numpy().size:,} weights are NaN"
    with pytest.raises(InputError, match=f"^{number} in layer '{layer}' .* of small_network: "):
        FineTuner(network, verbose=False)


def test_nan_that_came_after_the_tuner_was_made_is_an_error_before_training(photos):
    tuner = FineTuner(small_network(), verbose=False)
    tuner.backbone.model.weights[-1].assign([np.nan] * 6)
    with pytest.raises(InputError, match=r"^6 of 6 weights are NaN in layer .*moving_variance"):
        tuner.fit(photos, plan="full_fine_tune", epochs=1)


def test_an_infinite_weight_that_spoils_the_features_is_an_error(photos):
    tuner = FineTuner(damaged(6, np.inf)[0], verbose=False)
    with pytest.raises(InputError, match="features are not finite"):
        tuner.fit(photos, plan="linear_probe", epochs=1)


def test_a_run_with_nan_among_its_weights_is_not_loaded(photos, tmp_path):
    tuner = FineTuner(small_network(), verbose=False)
    tuner.fit(photos, plan="linear_probe", epochs=1)
    model = tuner.model
    model.set_weights([np.full_like(each, np.nan) for each in model.get_weights()])
    tuner.save(tmp_path / "damaged")
    with pytest.raises(RunError, match=r"damaged: .* weights are NaN in layer"):
        FineTuner.load(tmp_path / "damaged")


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_rate_far_too_high_is_named_and_the_last_good_model_kept(photos, optimizer):
    head = make_stage(name="head", epochs=2)
    wild = make_stage(name="wild", unfreeze=2, epochs=4, learning_rate=1e3, optimizer=optimizer)
    good, tuner = (FineTuner(small_network(), verbose=False) for _ in range(2))
    good.fit(photos, plan=make_plan(head))
    result = tuner.fit(photos, plan=make_plan(head, wild))
    note = next(note for note in result.notes if note.startswith("stage 'wild' diverged: "))
    assert "the weights of before are kept. learning_rate=1000 is too much" in note
    assert len(result.stages[1].history) == 2, "it ended early"
    for one, two in zip(tuner.model.get_weights(), good.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_first_stage_that_diverges_is_diagnosed(photos):
    stage = make_stage(name="all", unfreeze=2, epochs=3, learning_rate=100.0, optimizer="sgd")
    result = FineTuner(small_network(), verbose=False).fit(photos, plan=make_plan(stage))
    assert result.diagnosis.verdict == "diverged"
    assert [note for note in result.notes if "stage 'all'" in note and "learning_rate" in note]


@pytest.mark.parametrize("plan", ["linear_probe", "full_fine_tune"])
def test_images_all_alike_are_said(plan):
    images, labels = np.full((20, 16, 16, 3), 128, np.uint8), np.arange(20) % 2
    tuner = FineTuner(small_network(), verbose=False)
    result = tuner.fit((images, labels), plan=plan, epochs=3, check="off")
    assert [note for note in result.notes if ALIKE in note]
    assert result.diagnosis.verdict == "not_learning"


def test_a_network_that_sees_nothing_is_said_and_one_that_sees_is_not(photos):
    blind = small_network()
    blind.set_weights([np.zeros_like(each) for each in blind.get_weights()])
    for network, said in ((blind, True), (small_network(), False)):
        result = FineTuner(network, verbose=False).fit(photos, plan="linear_probe", epochs=1)
        assert any(ALIKE in note for note in result.notes) == said
