"""What `regret.py` says of its runs: accuracies, regrets, times, and what was to be reached."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from reporting import table

HEADS = ("last", "all blocks", "all blocks and inner", "earlier")
#: Plans after which the widest head is solved anew on the tuned backbone, by their contestant.
REFITTED = {
    f"{plan}, refitted": plan
    for plan in ("last 6 at 3e-4", "everything at 5e-4", "everything at 1e-3")
}
TUNED = (
    "last 6 at 1e-4",
    "last 6 at 3e-4",
    "last 6 at 3e-4, refitted",
    "everything at 1e-4",
    "everything at 5e-4",
    "everything at 5e-4, refitted",
    "everything at 5e-4, no flips",
    "everything at 1e-3",
    "everything at 1e-3, refitted",
    "full_fine_tune",
)
#: The rule by the measured gap: of heads only (the last features or earlier ones), and of all.
TEXTBOOK_HEADS, TEXTBOOK = "textbook, heads", "textbook"
ADVISOR_HEADS, ADVISOR = "advisor, heads", "advisor"
EXTRACTION = "plain extraction"
OF_HEADS = (*HEADS, TEXTBOOK_HEADS, ADVISOR_HEADS)
OF_ALL = (*OF_HEADS, *TUNED, TEXTBOOK, ADVISOR)

#: Points of accuracy, by number of images.
MOST_REGRET_OF_HEADS = {"60": 1.0, "300": 0.5}
MOST_BELOW_BEST_HEAD, MOST_BELOW_ON_A_SET, MOST_REGRET_OF_ALL = 1.0, 3.0, 1.5
MOST_OF_EVERYTHING = 0.25
#: Deciding, in times of the plain extraction, by number of images.
MOST_OF_EXTRACTION = {"60": 2.5, "300": 1.5}
#: The sets that nothing may be chosen by come first.
HALVES = ("reporting", "choosing", "other")
_RESAMPLES = 2_000
Record = dict[str, Any]
#: The records of one set, size and seed, by strategy.
Group = dict[str, Record]


def grouped(records: Sequence[Record], names: Sequence[str]) -> list[Group]:
    """Of each set, size and seed the records of all strategies, where none is missing."""
    found: dict[tuple[Any, ...], Group] = {}
    for record in records:
        key = tuple(record[each] for each in ("backbone", "set", "asked", "seed"))
        found.setdefault(key, {})[record["strategy"]] = record
    return [_with_rule(group) for group in found.values() if set(names) <= set(group)]


def _with_rule(group: Group) -> Group:
    """Return the textbook's head is one that was trained already."""
    rule = group[TEXTBOOK_HEADS]
    return {**group, TEXTBOOK_HEADS: {**group[rule["chosen"]], **rule}}


def accuracy(group: Group, name: str) -> float:
    """Return the share of the test images that a strategy gets right, in percent."""
    return 100.0 * float(group[name]["test_accuracy"])


def regret(group: Group, name: str, among: Sequence[str]) -> float:
    """By how many points the best of several strategies is better."""
    return max(accuracy(group, each) for each in among) - accuracy(group, name)


def mean_and_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Return the mean, and its 95 % interval by drawing the runs anew with replacement."""
    drawn = np.random.default_rng(seed).choice(values, (_RESAMPLES, len(values)))
    low, high = np.percentile(drawn.mean(axis=1), (2.5, 97.5))
    return float(np.mean(values)), float(low), float(high)


def time_of_everything(group: Group, names: Sequence[str]) -> float:
    """Return seconds that trying all fixed strategies takes, decoded images and features shared."""
    return sum(group[name]["seconds"] for name in names)


def report(records: Sequence[Record]) -> str:
    """Return all tables, first of the heads, then of everything, as far as it was measured."""
    heads = grouped(records, (*HEADS, TEXTBOOK_HEADS, EXTRACTION, ADVISOR_HEADS))
    both = grouped(records, (*(each for each in OF_ALL), EXTRACTION))
    parts = [_section("Heads", heads, OF_HEADS)] if heads else []
    parts += [_section("Heads and fine-tuning", both, OF_ALL)] if both else []
    if heads:
        parts.append(f"## Time\n\n{_times(heads, both)}")
        rows = [*_heads_reached(heads), *_all_reached(both)]
        header = ["what", "asked", "measured", ""]
        parts.append(f"## To be reached\n\n{table(header, rows)}")
    backbones = " / ".join(dict.fromkeys(each["backbone"] for each in records))
    said = f"{backbones}; {len(heads)} complete runs of heads, {len(both)} with fine-tuning."
    return "\n\n".join([said, *parts]) + "\n"


def _section(title: str, groups: list[Group], names: Sequence[str]) -> str:
    regrets = [
        f"### Regret in points, mean over sets and seeds (95 % interval)\n\n"
        f"{_regrets(groups, names)}"
    ]
    accuracies = [
        f"### Test accuracy in %, {_of_size(size)}, means over seeds\n\n"
        f"{_accuracies(of_size, names)}"
        for size, of_size in _by(groups, lambda group: _any(group)["asked"])
    ]
    return f"## {title}\n\n" + "\n\n".join([*accuracies, *regrets])


def _of_size(size: str) -> str:
    return "all images" if size == "all" else f"{size} images"


def _any(group: Group) -> Record:
    return next(iter(group.values()))


def _by(groups: list[Group], key: Callable[[Group], Any]) -> Iterator[tuple[Any, list[Group]]]:
    for value in dict.fromkeys(map(key, groups)):
        yield value, [group for group in groups if key(group) == value]


def _halves(groups: list[Group]) -> Iterator[tuple[str, list[Group]]]:
    for half in HALVES:
        if found := [group for group in groups if _any(group)["half"] == half]:
            yield half, found


def _accuracies(groups: list[Group], names: Sequence[str]) -> str:
    rows = []
    for name, of_set in _by(groups, lambda group: _any(group)["set"]):
        means = [statistics.mean(accuracy(group, each) for group in of_set) for each in names]
        advised = [group[names[-1]]["carried_out"] for group in of_set]
        counted = [f"{advised.count(each)} x {each}" for each in dict.fromkeys(advised)]
        drawn = ", ".join(dict.fromkeys(str(_any(group)["drawn"]) for group in of_set))
        cells = [f"**{mean:.1f}**" if mean == max(means) else f"{mean:.1f}" for mean in means]
        rows.append([f"{name} ({drawn})", str(len(of_set)), *cells, "; ".join(counted)])
    return table(["set (images)", "seeds", *names, "the advisor carried out"], rows)


def _regrets(groups: list[Group], names: Sequence[str]) -> str:
    columns = [
        (f"{_of_size(size)}, {half} sets", of_half)
        for size, of_size in _by(groups, lambda group: _any(group)["asked"])
        for half, of_half in _halves(of_size)
    ]
    rows = []
    for name in names:
        cells = []
        for _, of_half in columns:
            values = [regret(group, name, names) for group in of_half]
            mean, low, high = mean_and_interval(values)
            cells.append(f"{mean:.2f} ({low:.2f} to {high:.2f})")
        rows.append([name, *cells])
    return table(["strategy", *(title for title, _ in columns)], rows)


def _times(heads: list[Group], both: list[Group]) -> str:
    rows = []
    for title, groups, name, tried in (
        ("heads", heads, ADVISOR_HEADS, HEADS),
        ("with fine-tuning", both, ADVISOR, (*HEADS, *TUNED)),
    ):
        for size, of_size in _by(groups, lambda group: _any(group)["asked"]):
            deciding = [group[name]["seconds_of_deciding"] for group in of_size]
            fitting = [group[name]["seconds"] for group in of_size]
            plain = [group[EXTRACTION]["seconds"] for group in of_size]
            every = [time_of_everything(group, tried) for group in of_size]
            rows.append(
                [
                    f"{title}, {_of_size(size)}",
                    *(f"{statistics.mean(each):.1f}" for each in (plain, deciding, fitting, every)),
                    f"{sum(deciding) / sum(plain):.2f}",
                    f"{sum(deciding) / sum(every):.2f}",
                    f"{sum(fitting) / sum(every):.2f}",
                ]
            )
    header = ["", "plain extraction, s", "deciding, s", "whole fit, s", "trying everything, s"]
    header += ["deciding / extraction", "deciding / everything", "whole fit / everything"]
    return table(header, rows)


def _row(what: str, most: float, values: Sequence[float]) -> list[str]:
    mean, low, high = mean_and_interval(values)
    holds = "holds" if mean <= most else "DOES NOT HOLD"
    return [what, f"at most {most:g}", f"{mean:.2f} ({low:.2f} to {high:.2f})", holds]


def _heads_reached(groups: list[Group]) -> Iterator[list[str]]:
    for size, most in MOST_REGRET_OF_HEADS.items():
        of_size = [group for group in groups if _any(group)["asked"] == size]
        for half, of_half in _halves(of_size):
            values = [regret(group, ADVISOR_HEADS, OF_HEADS) for group in of_half]
            yield _row(f"{ADVISOR_HEADS}: mean regret, {_of_size(size)}, {half} sets", most, values)
    for size, most in MOST_OF_EXTRACTION.items():
        ratios = [
            group[ADVISOR_HEADS]["seconds_of_deciding"] / group[EXTRACTION]["seconds"]
            for group in groups
            if _any(group)["asked"] == size
        ]
        if ratios:
            what = f"deciding among heads, times the plain extraction, {_of_size(size)}"
            yield _row(what, most, ratios)


def below_best_head(group: Group) -> float:
    """By how many points the best head, which nobody knows beforehand, is better; may be below."""
    return max(accuracy(group, each) for each in HEADS) - accuracy(group, ADVISOR)


def _all_reached(groups: list[Group]) -> Iterator[list[str]]:
    for size, of_size in _by(groups, lambda group: _any(group)["asked"]):
        for half, of_half in _halves(of_size):
            where = f"{_of_size(size)}, {half} sets"
            below = [below_best_head(group) for group in of_half]
            what = f"{ADVISOR}: mean points below the best head, {where}"
            yield _row(what, MOST_BELOW_BEST_HEAD, below)
            of_sets = [
                statistics.mean(below_best_head(group) for group in of_set)
                for _, of_set in _by(of_half, lambda group: _any(group)["set"])
            ]
            what = f"{ADVISOR}: points below the best head on the worst set, {where}"
            yield _row(what, MOST_BELOW_ON_A_SET, [max(of_sets)])
    at_300 = [group for group in groups if _any(group)["asked"] == "300"]
    for half, of_half in _halves(at_300):
        what = f"{ADVISOR}: mean regret, 300 images, {half} sets"
        values = [regret(group, ADVISOR, OF_ALL) for group in of_half]
        yield _row(what, MOST_REGRET_OF_ALL, values)
    if groups:
        shares = [
            group[ADVISOR]["seconds"] / time_of_everything(group, (*HEADS, *TUNED))
            for group in groups
        ]
        what = f"{ADVISOR}: the whole fit as a share of trying everything"
        yield _row(what, MOST_OF_EVERYTHING, shares)
