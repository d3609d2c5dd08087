"""The dozen lines that a person reads after a training."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from nails.make import DATA

from ktransfer.advisor import Candidate, Tried
from ktransfer.classifier import FitResult
from ktransfer.classifier.mistakes import MOST_MISTAKES, Mistake, surest_mistakes
from ktransfer.classifier.screen import (
    baseline_row,
    confused_row,
    mistakes_row,
    reason_row,
    remarks_row,
    trained_words,
    tuning_row,
    untried_row,
)
from ktransfer.metrics import score
from ktransfer.plan import lp_ft

NAMES = ("ant", "bee", "cat")


def of_counts(confusion):
    """A score with this confusion matrix."""
    pairs = [
        (label, said)
        for label, row in enumerate(confusion)
        for said, count in enumerate(row)
        for _ in range(count)
    ]
    labels, predicted = np.array(pairs).T
    return score(predicted, labels, NAMES)


def words(rows):
    return [text for row in rows for text in row.texts]


def test_the_baseline_is_the_largest_class_and_says_where_it_is_no_worse():
    assert words([baseline_row(of_counts([[300, 0, 0], [0, 100, 0], [0, 0, 100]]))]) == [
        "always saying ant: 60.0%"
    ]
    close = of_counts([[58, 2, 0], [5, 15, 0], [15, 0, 5]])  # 78 of 100, and 60
    assert words([baseline_row(close)]) == ["always saying ant: 60.0%"]
    few = of_counts([[5, 1, 0], [0, 2, 0], [1, 0, 1]])  # 8 of 10, interval from 49 %
    assert words([baseline_row(few)])[0].endswith("so few images do not tell these apart")
    worse = of_counts([[2, 4, 0], [0, 2, 0], [1, 0, 1]])
    assert words([baseline_row(worse)])[0].endswith("which is no worse")


def test_the_classes_most_confused_come_first():
    found = of_counts([[10, 1, 3], [0, 9, 0], [5, 0, 7]])
    assert words(confused_row(found)) == ["cat as ant 5 of 12, ant as cat 3 of 14"]
    assert list(confused_row(of_counts([[1, 0, 0], [0, 1, 0], [0, 0, 1]]))) == []


def test_the_surest_mistakes_come_first_by_name():
    sure = np.random.default_rng(0).dirichlet(np.ones(3), 60)
    labels = np.random.default_rng(1).integers(0, 3, 60)
    found = surest_mistakes(sure, labels, "image {}".format, NAMES)
    expected = sorted(
        (-row.max(), at) for at, row in enumerate(sure) if int(np.argmax(row)) != labels[at]
    )
    assert len(expected) > len(found) == MOST_MISTAKES
    assert [each.image for each in found] == [f"image {at}" for _, at in expected[:MOST_MISTAKES]]
    first, at = found[0], expected[0][1]
    assert first == Mistake(
        f"image {at}", NAMES[labels[at]], NAMES[sure[at].argmax()], pytest.approx(sure[at].max())
    )


def test_three_mistakes_are_named_and_long_paths_keep_their_end():
    long = [Mistake("photos/" * 30 + f"{at}.jpg", "ant", "bee", 0.9) for at in range(5)]
    lines = words(mistakes_row(long))
    assert len(lines) == 3
    assert all(len(line) <= 66 for line in lines)
    assert lines[0].startswith("...")
    assert lines[0].endswith("photos/0.jpg  bee, 90.0% sure")


def test_what_trained_is_said_in_plain_words():
    plan = lp_ft().resolve(19)
    said = [trained_words(unfrozen, plan) for unfrozen in (0, 6, 19)]
    assert said == [
        "all layers frozen, head trained",
        "last 6 of 19 blocks and head trained",
        "all layers trained",
    ]


def stored():
    record = json.loads((DATA / "run" / "run.json").read_text())
    return FitResult.from_dict(record["result"])


def test_a_plan_that_was_given_is_the_reason():
    result = stored()
    rule = dataclasses.replace(result.advice, candidates=(), strategy="linear_probe")
    given = reason_row(rule, dataclasses.replace(result.plan, name="mine"), 300)
    assert words([given]) == ["the plan was given: mine"]
    few = dataclasses.replace(rule, size="small", similar=False, gap=None)
    probe = dataclasses.replace(result.plan, name="linear_probe")
    assert words([reason_row(few, probe, 1234)]) == [
        "few images (1,234), unlike the backbone's own"
    ]


def test_what_there_is_to_look_at_is_counted():
    assert list(remarks_row((), (), ())) == []
    assert words(remarks_row(("file",), (), ("one", "two"))) == [
        "1 file left out, 2 notes: -v shows them"
    ]


def after(result, *tries):
    """The result with a head and these stages after it."""
    head = dataclasses.replace(result.stages[0], unfreeze=0, best_epoch=1, val_accuracy=0.9)
    stages = [head]
    for unfreeze, kept, accuracy in tries:
        more = {"best_epoch": int(kept), "solved": False, "val_accuracy": accuracy}
        stages.append(dataclasses.replace(head, unfreeze=unfreeze, **more))
    plan = dataclasses.replace(result.plan, num_blocks=19)
    return dataclasses.replace(result, stages=tuple(stages), plan=plan)


def test_the_screen_has_at_most_twelve_lines_of_80_columns_whatever_came(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = stored()
    names = ("a class of a very long name indeed", "another one whose name is as long")
    found = score(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 1]), names)
    long = [Mistake("photos/" * 30 + f"{at}.jpg", *names, 0.9) for at in range(5)]
    verdicts = ("overfitting", "underfitting", "good_fit", "not_learning", "diverged")
    tries = [(), ((6, True, 0.95), (19, False, 0.93)), tuple((n, True, 0.9) for n in range(1, 9))]
    for verdict, tried, notes in itertools.product(verdicts, tries, ((), ("a", "b"))):
        diagnosis = dataclasses.replace(result.diagnosis, verdict=verdict)
        made = dataclasses.replace(
            after(result, *tried),
            diagnosis=diagnosis,
            notes=notes,
            test=found,
            validation=found,
            classes=names,
            mistakes=tuple(long),
        )
        lines = str(made).splitlines()
        assert len(lines) <= 12, str(made)  # and what is saved, and what is next
        assert max(map(len, lines)) <= 80, str(made)


def test_the_screen_says_of_fine_tuning_what_came_of_it():
    result = stored()

    def said(*tries):
        rows = after(result, *tries).printed()
        return [text for row in rows if row.label == "Fine-tuning" for text in row.texts]

    assert said() == []
    assert said((6, False, 0.9)) == ["last 6 blocks no better, dropped"]
    assert said((6, True, 0.95), (19, False, 0.9)) == [
        "last 6 blocks kept, 90.0% to 95.0%; all blocks no better, dropped"
    ]
    assert said((6, True, 0.9)) == ["last 6 blocks kept for the lower loss, 90.0% to 90.0%"]
    assert said(*[(n, n < 3, 0.9) for n in range(1, 5)]) == ["4 stages, 2 kept (-v has each)"]


def test_everything_that_is_not_on_the_screen_is_in_the_details():
    result = stored()
    details = " ".join(words(result.details("Net")))
    assert f"{result.plan.name} on Net: " in details
    assert all(reason in details for reason in result.advice.reasons)
    assert all(sentence in details for stage in result.stages for sentence in stage.sentences)
    assert all(note in details for note in result.notes)


def tried_as(outcome, *, unfreeze=19, note=""):
    return Tried("everything", unfreeze, 5e-4, 12, True, 0.9, 0.3, 0.1, 0.05, outcome, note)


@pytest.mark.parametrize(
    ("tries", "said"),
    [
        ((tried_as("kept"), tried_as("no better")), "all blocks at 0.0005 kept"),
        ((tried_as("no better"),), "all blocks no better by more than chance, dropped"),
        ((tried_as("no better", unfreeze=1),), "last block no better by more than chance, dropped"),
        ((tried_as("no better"),) * 3, "3 ways tried, none better by more than chance"),
        (
            (tried_as("no better"), tried_as("unfinished", note="interrupted")),
            "1 of 2 ways tried to an end, none kept (interrupted)",
        ),
    ],
)
def test_the_screen_says_what_came_of_the_tries_in_a_line(monkeypatch, tries, said):
    monkeypatch.setenv("COLUMNS", "80")
    result = dataclasses.replace(after(stored()), tries=tries)
    (line,) = words(tuning_row(result.stages, tries, 19))
    assert line.startswith(said)
    assert len(line) <= 66
    assert str(result).count("Fine-tuning") == 1
    assert FitResult.from_dict(json.loads(json.dumps(result.to_dict()))).tries == tries
    assert result.interrupted == ("interrupted" in said)


@pytest.mark.parametrize(("most", "lines"), [(0.02, 1), (0.3, 0)])
def test_the_screen_says_what_was_not_tried_and_what_sets_alike_gained(most, lines):
    tuned = Candidate("lp_ft", None, None, 1.0, 1.0, 10, gain=0.004, gain_interval=(-0.012, most))
    advice = dataclasses.replace(stored().advice, candidates=(tuned,))
    said = words(untried_row(advice))
    assert said == ["not tried: sets like this one gained +0.4 points (-1.2 to +2.0)"][:lines]
