"""The page that explains training: what it shows is what Keras and NumPy reckon."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow  # noqa: F401 - before click's runner replaces the standard streams
from click.testing import CliRunner
from pages.looks import DESKTOP, PHONE, colours, findings, sideways_px

from ktransfer import InputError, cli
from ktransfer.pages import write_explained
from ktransfer.pages.explained.page import FITTING, TOLERANCE
from ktransfer.pages.explained.points import points

browser_test = pytest.mark.browser


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / "explained.html"
    write_explained(path)
    return path


@pytest.fixture
def page(open_page, file):
    return open_page(file, **DESKTOP)


def said(page, part):
    return page.locator(f"#{part}").inner_text()


def moved(page, part, value):
    """Move a slider, as its pointer does."""
    page.locator(f"#{part}").fill(str(value))


@browser_test
def test_the_path_is_that_of_keras(page):
    start, narrow, steps = [-8.0, 3.0], 10.0, 25
    for rate, momentum in ((0.03, 0.0), (0.11, 0.0), (0.02, 0.9), (0.21, 0.1)):
        path = page.evaluate(
            "(given) => descend(...given).map(({ w }) => w)",
            [start, narrow, rate, momentum, steps],
        )
        weights = keras.Variable(np.array(start, "float32"))
        optimizer = keras.optimizers.SGD(rate, momentum=momentum)
        optimizer.build([weights])
        expected = [start]
        for _ in range(steps):
            optimizer.apply([weights * np.array([1.0, narrow], "float32")], [weights])
            expected.append(keras.ops.convert_to_numpy(weights))
        np.testing.assert_allclose(path, expected, rtol=1e-4, atol=1e-4)


@browser_test
def test_how_a_descent_goes_is_what_becomes_of_it(page):
    cases = [
        (rate, momentum, curvature)
        for rate in (0.001, 0.05, 0.19, 0.21, 0.37, 0.5)
        for momentum in (0.0, 0.3, 0.9, 0.98)
        for curvature in (1, 10)
    ]
    found = page.evaluate("(cases) => cases.map((each) => goes(...each))", cases)
    for (rate, momentum, curvature), told in zip(cases, found, strict=True):
        place, speed, places = 1.0, 0.0, []
        for _ in range(2_000):
            speed = momentum * speed + curvature * place
            place -= rate * speed
            places.append(place)
            if not 1e-100 < abs(place) < 1e100:
                break
        signs = np.sign(places)
        changes = np.count_nonzero(signs[1:] != signs[:-1]) / len(signs)
        expected = "glides" if changes == 0 else "zigzags" if changes > 0.9 else "swings"
        half = len(places) // 2
        later, sooner = np.max(np.abs(places[half:])), np.max(np.abs(places[:half]))
        if later > sooner:
            assert told["way"] == "diverges", (rate, momentum, curvature)
            continue
        assert told["way"] == expected, (rate, momentum, curvature)
        # The powers of the factor bound the distance, but for a polynomial at double roots.
        measured = np.abs(places[-1]) ** (1 / len(places))
        if expected != "swings":
            assert told["factor"] == pytest.approx(measured, rel=0.05)
        assert told["steps"] == pytest.approx(np.log(0.01) / np.log(told["factor"]), abs=1.01)


@browser_test
def test_examples_show_what_their_names_say(page):
    verdicts = {}
    for button in page.locator("#presets button").all():
        button.click()
        verdicts[button.inner_text()] = said(page, "verdict")
    assert verdicts == {
        "rate too small": "Converges in about 228 steps",
        "best without momentum": "Converges in about 23 steps",
        "at the edge": "Converges in about 75 steps",
        "rate too large": "Diverges",
        "best with momentum": "Converges in about 8 steps",
        "too much momentum": "Converges in about 303 steps",
    }


@browser_test
def test_at_the_limit_a_descent_neither_arrives_nor_leaves(page):
    page.evaluate("changeDescent({ rate: 0.2, momentum: 0, narrow: 10 })")
    assert said(page, "verdict") == "Never arrives"
    assert "neither comes nearer nor leaves" in said(page, "across")
    assert "Above a rate of 2 (1 + b) / 10 = 0.200 it diverges." in said(page, "across")


@browser_test
def test_the_sums_are_those_of_the_rules(page):
    moved(page, "momentum", 0.5)
    moved(page, "step", 1)
    # After one step from the start: g = (1, 10) w, v = 0.5 v + g.
    rate = page.evaluate("descent.rate")
    first = np.array([-8.8, 3.4])
    curvatures = np.array([1.0, 10.0])
    speed = curvatures * first
    place = first - rate * speed
    for name, expected in (
        ("w", place),
        ("g", curvatures * place),
        ("v", 0.5 * speed + curvatures * place),
        ("n", place - rate * (0.5 * speed + curvatures * place)),
    ):
        shown = [float(said(page, f"{name}{at}").replace("\u2212", "-")) for at in (0, 1)]
        np.testing.assert_allclose(shown, expected, atol=6e-4)


@browser_test
def test_play_takes_one_step_after_the_other_until_it_is_paused(page):
    page.clock.install()
    page.locator("#play").click()
    assert (said(page, "play"), said(page, "step-number")) == ("Pause", "0 of 100")
    page.clock.run_for(900)
    assert said(page, "step-number") == "10 of 100"
    page.locator("#play").click()
    page.clock.run_for(900)
    assert (said(page, "play"), said(page, "step-number")) == ("Play", "10 of 100")
    page.locator("#play").click()
    page.clock.run_for(60_000)
    assert (said(page, "play"), said(page, "step-number")) == ("Play", "100 of 100")


@browser_test
def test_a_click_on_the_valley_sets_the_start(page):
    box = page.locator("#valley").bounding_box()
    page.locator("#valley").click(position={"x": box["width"] * 0.75, "y": box["height"] / 4})
    moved(page, "step", 0)
    start = [float(said(page, f"w{at}").replace("\u2212", "-")) for at in (0, 1)]
    assert start == pytest.approx([16 / 3, 190 / 60], abs=0.1)


def learned(count, waves, noise):
    """The errors of the regression by NumPy: before the first epoch, and after each."""
    shown = points()

    def features(x):
        numbers = np.arange(1, waves + 1)
        angles = np.pi * np.outer(x, numbers)
        sizes = numbers ** -FITTING["fading"]
        return np.hstack([np.ones((len(x), 1)), np.sin(angles) * sizes, np.cos(angles) * sizes])

    def measured(part, count):
        x, truth, own = (np.array(part[name][:count]) for name in ("x", "truth", "noise"))
        return features(x), truth + noise * own

    rows, y = measured(shown["training"], count)
    others, other_y = measured(shown["validation"], None)
    w, v, found = np.zeros(rows.shape[1]), 0.0, []
    for _ in range(FITTING["epochs"] + 1):
        found.append([np.mean((rows @ w - y) ** 2), np.mean((others @ w - other_y) ** 2)])
        v = FITTING["momentum"] * v + 2 * rows.T @ (rows @ w - y) / len(y)
        w = w - FITTING["rate"] * v
    return np.array(found).T


@browser_test
def test_the_errors_are_those_of_a_regression(page):
    for count, waves, noise in ((16, 12, 0.35), (60, 3, 0.8), (6, 16, 0.1)):
        for name, value in (("count", count), ("waves", waves), ("noise", noise)):
            moved(page, name, value)
        found = page.evaluate("[lesson.trained.training, lesson.trained.validation]")
        np.testing.assert_allclose(found, learned(count, waves, noise), rtol=1e-6)


@browser_test
def test_the_epochs_go_from_underfitting_over_a_good_fit_to_overfitting(page):
    validation = learned(16, 12, 0.35)[1]
    best = int(validation.argmin())
    names = []
    for epoch in (0, best, FITTING["epochs"]):
        moved(page, "epoch", epoch)
        names.append(said(page, "fit-name"))
        assert f"validation error {validation[epoch]:.3f}" in said(page, "fit-at")
    assert names == ["Underfitting", "A good fit", "Overfitting"]
    fits = page.evaluate("lesson.trained.fits")
    good = [epoch for epoch, fit in enumerate(fits) if fit == "good"]
    assert good == list(np.flatnonzero(validation <= (1 + TOLERANCE) * validation.min()))
    page.locator("#epoch").focus()
    page.keyboard.press("ArrowLeft")
    assert said(page, "epoch-number") == "199 of 200"


def stopped_by_keras(errors, patience):
    """After which epoch Keras stops, the first being 0; None: it does not."""
    callback = keras.callbacks.EarlyStopping("val_loss", patience=patience)
    callback.set_model(SimpleNamespace(stop_training=False))
    callback.on_train_begin()
    for epoch, error in enumerate(errors):
        callback.on_epoch_end(epoch, {"val_loss": error})
        if callback.model.stop_training:
            return epoch
    return None


@browser_test
def test_early_stopping_is_that_of_keras(page):
    validation = learned(16, 12, 0.35)[1]
    for patience in (1, 10, 30, 60):
        stop = stopped_by_keras(validation, patience)
        kept = int(validation[: stop + 1].argmin())
        moved(page, "patience", patience)
        words = said(page, "stopping")
        assert f"stops after epoch {stop}, and the weights of epoch {kept} are kept" in words
        assert ("Too impatient" in words) == (kept != validation.argmin())
    falling = [1 / (1 + epoch) for epoch in range(50)]
    assert stopped_by_keras(falling, 1) is None
    assert page.evaluate("(all) => stopping(all, 1)", falling) == {"stop": None, "kept": 49}


@browser_test
@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_everybody_can_use_the_page(open_page, file, size, scheme):
    page = open_page(file, **size, color_scheme=scheme)
    assert findings(page) == []
    page.get_by_role("button", name="rate too large").click()
    moved(page, "epoch", 150)
    assert findings(page) == []
    assert sideways_px(page) == 0
    assert (colours(page)[1] == "rgb(21, 24, 27)") is (scheme == "dark")


@browser_test
def test_print_shows_the_drawings_without_what_cannot_be_pressed(page):
    page.emulate_media(media="print")
    assert not page.locator("#play").is_visible()
    assert page.locator("#valley").is_visible()
    assert colours(page)[1] == "rgb(255, 255, 255)"


def test_the_command_writes_a_small_page(tmp_path):
    file = tmp_path / "page.html"
    result = CliRunner().invoke(cli.main, ["explain", "--out", str(file), "--json"])
    assert json.loads(result.stdout)["size"] == file.stat().st_size < 100_000
    again = CliRunner().invoke(cli.main, ["explain", "--out", str(file)])
    assert (again.exit_code, "exists" in again.stderr) == (2, True)
    with pytest.raises(InputError, match=r"must end in \.html"):
        write_explained(tmp_path / "page.txt")
