"""A training is resumed only with what it was started with."""

import copy
import json

import pytest

from ktransfer import RunError
from ktransfer.plan import lp_ft
from ktransfer.training import check_same
from ktransfer.training.resume import differences

REQUEST = {
    "data": {
        "train": {"images": 48, "contents": "a" * 64},
        "validation": {"images": 12, "contents": "b" * 64},
    },
    "classes": ["blue", "red"],
    "backbone": {
        "name": "MobileNetV2",
        "input_size": [96, 96],
        "options": {"alpha": 0.35},
        "weights": "c" * 64,
    },
    "plan": lp_ft().resolve(7).to_dict(),
    "settings": {"seed": 0, "dropout": 0.0, "pooling": "avg", "precision": "float32"},
}


def with_change(path, value):
    request = copy.deepcopy(REQUEST)
    *first, last = path
    place = request
    for each in first:
        place = place[each]
    place[last] = value
    return request


def test_the_same_request_out_of_a_file_is_the_same():
    then = json.loads(json.dumps({"format": 1, **REQUEST}))
    check_same(then, REQUEST, "run")
    assert list(differences(then, REQUEST)) == []


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("data", "train", "images"), 50, "data train images: 48 then, 50 now"),
        (("data", "train", "contents"), "d" * 64, "data train contents: other contents than then"),
        (("data", "test"), {"images": 3}, r"data test: None then, \{'images': 3\} now"),
        (("classes",), ["blue", "red", "tan"], r"classes: \['blue', 'red'\] then, .*'tan'\] now"),
        (("backbone", "name"), "VGG16", "backbone name: 'MobileNetV2' then, 'VGG16' now"),
        (("backbone", "weights"), "d" * 64, "backbone weights: other contents than then"),
        (("backbone", "options", "alpha"), 1.0, r"backbone options alpha: 0\.35 then, 1\.0 now"),
        (("backbone", "input_size"), [9, 9], r"backbone input_size: \[96, 96\] then, \[9, 9\] now"),
        (("plan", "name"), "mine", "plan name: 'lp_ft' then, 'mine' now"),
        (
            ("plan", "stages", 1, "learning_rate"),
            0.5,
            r"plan stages 'everything' learning_rate: 0\.0005 then, 0\.5 now",
        ),
        (("plan", "stages"), [], r"plan stages: .* then, \[\] now"),
        (("settings", "seed"), 1, "settings seed: 0 then, 1 now"),
        (("settings", "precision"), "mixed_bfloat16", "settings precision: 'float32' then, .* now"),
    ],
)
def test_every_difference_is_named(path, value, message):
    with pytest.raises(RunError, match=rf"^cannot resume run: .*\({message}\)\. Give what it was"):
        check_same(REQUEST, with_change(path, value), "run")


def test_all_differences_are_named_at_once():
    now = with_change(("settings", "seed"), 1)
    now["classes"] = ["blue"]
    found = list(differences(REQUEST, now))
    assert found == ["classes: ['blue', 'red'] then, ['blue'] now", "settings seed: 0 then, 1 now"]


def test_a_request_without_a_topic_differs():
    then = {key: value for key, value in REQUEST.items() if key != "settings"}
    with pytest.raises(RunError, match="settings: None then, "):
        check_same(then, REQUEST, "run")


def test_long_values_are_cut_short():
    now = with_change(("classes",), [f"class {number}" for number in range(99)])
    (found,) = differences(REQUEST, now)
    assert len(found) < 300
    assert "... now" in found
