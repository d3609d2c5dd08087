"""The pictures of a search show every trial where it belongs."""

import re

import pytest
from drawn import lines, marks, place, words

from ktransfer import InputError
from ktransfer.advisor import Costs
from ktransfer.plan import last_blocks, linear_probe
from ktransfer.show.charts import HEIGHT_PX
from ktransfer.tuner.choice import by_depth, choose
from ktransfer.tuner.records import DONE, FAILED, STOPPED, Record
from ktransfer.tuner.result import SearchResult
from ktransfer.tuner.shared import Shared
from ktransfer.tuner.uncached import uncached_seconds


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


def test_three_pictures_are_written_and_handed_out(found, tmp_path):
    paths = {path.stem: path for path in found.plot(tmp_path)}
    assert list(paths) == list(found.charts()) == ["depths", "trials", "times"]
    for name, chart in found.charts().items():
        assert words(paths[name]) == words(chart)


def test_depths_have_their_mean_and_interval_and_every_trial_a_dot(found):
    chart = found.charts()["depths"]
    assert {"the last 2 blocks chosen, of 2 depths", "80.0", "95.0"} <= set(words(chart))
    intervals = dict(marks(chart, "rule"))
    dots = marks(chart, "circle")
    for depth in found.depths:
        low, high = depth.interval
        (said,) = [each for each in intervals if f"({100 * low:.1f} to {100 * high:.1f} %)" in each]
        rule = intervals[said]
        (dot,) = [place(each) for name, each in dots if name == said]
        top = place(rule)[1] + min(0, float(rule.get("y2")))
        share = (high - depth.mean) / (high - low)
        assert dot[0] == pytest.approx(place(rule)[0])
        assert dot[1] - top == pytest.approx(share * abs(float(rule.get("y2"))), abs=0.1)
    assert [name.split(":")[0] for name, _ in dots if name.startswith("trial")] == [
        "trial 0",
        "trial 1",
        "trial 2",
    ]


def test_every_trial_is_a_line_through_its_values(found):
    chart = found.charts()["trials"]
    assert {"unfreeze", "learning rate", "augmentation", "val accuracy, %"} <= set(words(chart))
    drawn = {said.split(":")[0]: pieces for said, (pieces,) in lines(chart)}
    assert {name: len(points) for name, points in drawn.items()} == {
        "trial 0": 2,
        "trial 1": 4,
        "trial 2": 4,
        "trial 3": 3,
    }, "no value, no point"
    elements = {said.split(":")[0]: each for said, each in marks(chart, "line")}
    thick = [name for name, each in elements.items() if each.get("stroke-width") == "4"]
    assert thick == ["trial 1"]
    assert list(elements)[-1] == "trial 1", "on top"
    dashed = {name for name, each in elements.items() if each.get("stroke-dasharray")}
    assert dashed == {"trial 2", "trial 3"}
    assert drawn["trial 0"][0][1] == HEIGHT_PX
    assert drawn["trial 3"][0][1] == 0


def test_every_value_of_every_trial_is_in_the_text(found):
    head, *rows = found.charts()["trials"].figures()["trials"]
    by_name = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    assert by_name["2"] == {
        "trial": "2",
        "unfreeze": "2",
        "validation accuracy, %": "90",
        "status": "stopped",
        "seconds": "2",
        "learning rate": "0.0001",
        "augmentation": "none",
    }
    assert by_name["3"]["validation accuracy, %"] == "-"


def test_times_stand_against_the_estimate_without_the_cache(found):
    chart = found.charts()["times"]
    said = " ".join(words(chart))
    assert re.search(r"6 s for 3 trials, about 90 s without the cache", said)
    search, uncached = lines(chart)
    assert (search[0], uncached[0]) == (
        "this search",
        "frozen blocks run in every epoch (estimate)",
    )
    (((_, low), *_),), (((_, high), *_),) = search[1], uncached[1]
    assert (HEIGHT_PX - low) / (HEIGHT_PX - high) == pytest.approx(2 / 30, abs=0.001)


def test_the_time_without_the_cache_counts_every_epoch_of_the_frozen_blocks(found):
    costs = Costs(0.01, (1, 1, 1, 1), (40, 30, 20, 10))
    uncached = uncached_seconds(found.trials, costs, 500)
    assert uncached["0"] == pytest.approx(2.0 + 20 * 500 * 0.01)
    assert uncached["1"] == pytest.approx(2.0 + 20 * 500 * 0.01 + 10 * 500 * 0.01 * 0.7)


def test_a_place_that_cannot_be_written_to_is_named(found, tmp_path):
    with pytest.raises(InputError, match=r"nowhere/depths\.svg': there is no folder"):
        found.plot(tmp_path / "nowhere")
