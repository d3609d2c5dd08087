"""The pictures of a search show every trial where it belongs."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from ktransfer import InputError
from ktransfer.advisor import Costs
from ktransfer.plan import last_blocks, linear_probe
from ktransfer.tuner.choice import by_depth, choose
from ktransfer.tuner.records import DONE, FAILED, STOPPED, Record
from ktransfer.tuner.result import SearchResult
from ktransfer.tuner.shared import Shared
from ktransfer.tuner.uncached import uncached_seconds

SVG = "{http://www.w3.org/2000/svg}"


def record(name, unfreeze, accuracy, status=DONE, **values):
    plan = last_blocks(unfreeze, 10) if unfreeze else linear_probe()
    return Record(
        name,
        {"unfreeze": unfreeze, **values},
        plan.resolve(4).to_dict(),
        0,
        status=status,
        val_accuracy=accuracy,
        seconds=2.0,
        epochs=(20, 10) if unfreeze else (20,),
    )


@pytest.fixture
def found():
    trials = (
        record("0", 0, 0.80),
        record("1", 2, 0.95, learning_rate=1e-3, augmentation="light"),
        record("2", 2, 0.90, STOPPED, learning_rate=1e-4, augmentation="none"),
        record("3", 4, None, FAILED, learning_rate=1e-2, augmentation="none"),
    )
    depths = by_depth(trials, 100)
    return SearchResult(
        trials=trials,
        repeats=(),
        depths=depths,
        chosen=choose(depths),
        best_plan=trials[1].to_plan(),
        model="runs/search/best",
        test=None,
        part_sizes={"train": 400, "validation": 100},
        shared=Shared(1.0, 0.5, (2,), ()),
        naive_seconds={each.name: 30.0 for each in trials},
        seconds=9.0,
    )


def drawn(found, tmp_path, name):
    paths = {path.stem: path for path in found.plot(tmp_path)}
    assert set(paths) == {"depths", "trials", "times"}
    return ElementTree.parse(paths[name]).getroot()


def test_depths_have_their_mean_and_interval(found, tmp_path):
    picture = drawn(found, tmp_path, "depths")
    words = [each.text for each in picture.iter(f"{SVG}text")]
    assert "the last 2 blocks chosen, of 2 depths" in words
    assert {"80.0", "95.0"} <= set(words)
    dots = [(float(each.get("cx")), float(each.get("cy"))) for each in picture.iter(f"{SVG}circle")]
    lines = [
        [tuple(map(float, pair.split(","))) for pair in each.get("points").split()]
        for each in picture.iter(f"{SVG}polyline")
    ]
    assert len(lines) == 2
    for (x, low), (same_x, high) in lines:
        assert x == same_x
        assert any(x == at and high < y < low for at, y in dots)


def test_every_trial_is_a_line_through_its_values(found, tmp_path):
    picture = drawn(found, tmp_path, "trials")
    words = [each.text for each in picture.iter(f"{SVG}text")]
    assert {"unfreeze", "learning rate", "augmentation", "val accuracy"} <= set(words)
    lines = {
        each.find(f"{SVG}title").text.split(":")[0]: each for each in picture.iter(f"{SVG}polyline")
    }
    assert set(lines) == {f"trial {name}" for name in "0123"}
    count = {name: len(each.get("points").split()) for name, each in lines.items()}
    assert count == {"trial 0": 2, "trial 1": 4, "trial 2": 4, "trial 3": 3}, "no value, no point"
    assert [name for name, each in lines.items() if each.get("stroke-width") == "4"] == ["trial 1"]
    dashed = {name for name, each in lines.items() if each.get("stroke-dasharray")}
    assert dashed == {"trial 2", "trial 3"}
    bottom, top = (
        lines["trial 0"].get("points").split()[0],
        lines["trial 3"].get("points").split()[0],
    )
    assert float(bottom.split(",")[1]) > float(top.split(",")[1]) == TOP_PX
    assert float(bottom.split(",")[1]) < HEIGHT_PX


def test_times_stand_against_the_estimate_without_the_cache(found, tmp_path):
    picture = drawn(found, tmp_path, "times")
    words = " ".join(each.text for each in picture.iter(f"{SVG}text"))
    assert re.search(r"6 s for 3 trials, about 90 s without the cache", words)
    assert len(list(picture.iter(f"{SVG}polyline"))) == 2


def test_the_time_without_the_cache_counts_every_epoch_of_the_frozen_blocks(found):
    costs = Costs(0.01, (1, 1, 1, 1), (40, 30, 20, 10))
    uncached = uncached_seconds(found.trials, costs, 500)
    assert uncached["0"] == pytest.approx(2.0 + 20 * 500 * 0.01)
    assert uncached["1"] == pytest.approx(2.0 + 20 * 500 * 0.01 + 10 * 500 * 0.01 * 0.7)


def test_a_place_that_cannot_be_written_to_is_named(found, tmp_path):
    with pytest.raises(InputError, match=r"nowhere/depths\.svg': there is no folder"):
        found.plot(tmp_path / "nowhere")
