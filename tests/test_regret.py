"""The benchmark of the advisor: what it draws, how it counts, that it goes on where it ended."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import altered_sets
import numpy as np
import pytest
import regret
import regret_report as counting
import regret_sets as sets
from conftest import write_pictures
from drawn_sets import DRAWN, write_drawn
from PIL import Image

ROOT = Path(__file__).parents[1]


def drawn(images, number, seed, folder):
    with sets.draw(images, number, seed, folder / "drawn.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {part: [row for row in rows if row["split"] == part] for part in ("train", "test")}


@pytest.fixture
def uneven(tmp_path):
    """40 blue, 20 green and 4 red pictures."""
    for name, number in (("blue", 40), ("green", 20), ("red", 4)):
        write_pictures(tmp_path / "uneven", number, classes=(name,), seed=number)
    return tmp_path / "uneven"


def test_draw_keeps_the_proportions_and_tests_on_other_images(uneven, tmp_path):
    parts = drawn(sets.read_set(uneven), 32, 0, tmp_path)
    learned = Counter(row["label"] for row in parts["train"])
    assert (learned["blue"], learned["green"]) == (20, 10)
    assert {row["path"] for row in parts["train"]}.isdisjoint(row["path"] for row in parts["test"])
    assert {Path(row["path"]).parent.name == row["label"] for row in parts["train"]} == {True}
    assert len(parts["train"]) + len(parts["test"]) == 64


def test_draw_takes_three_of_a_rare_class(uneven, tmp_path):
    learned = Counter(
        row["label"] for row in drawn(sets.read_set(uneven), 16, 0, tmp_path)["train"]
    )
    assert learned["red"] == 3  # by its share it would be one


def test_draw_is_decided_by_the_seed(uneven, tmp_path):
    images = sets.read_set(uneven)
    assert drawn(images, 16, 1, tmp_path) == drawn(images, 16, 1, tmp_path)
    assert drawn(images, 16, 1, tmp_path) != drawn(images, 16, 2, tmp_path)


def test_validation_folder_is_what_is_tested_on(tmp_path, monkeypatch):
    monkeypatch.setattr(sets, "MOST_TESTED", 9)
    write_pictures(tmp_path / "set/train", 10)
    write_pictures(tmp_path / "set/val", 5, seed=1)
    parts = drawn(sets.read_set(tmp_path / "set"), 30, 0, tmp_path)
    assert len(parts["train"]) == 30
    assert Counter(row["label"] for row in parts["test"]) == {"blue": 3, "green": 3, "red": 3}
    assert all("/val/" in row["path"] for row in parts["test"])


def test_test_folder_comes_before_the_validation_folder(tmp_path):
    for part, number in (("train", 10), ("val", 5), ("test", 4)):
        write_pictures(tmp_path / "set" / part, number, seed=number)
    parts = drawn(sets.read_set(tmp_path / "set"), 45, 0, tmp_path)
    assert (len(parts["train"]), len(parts["test"])) == (45, 12)
    assert all("/test/" in row["path"] for row in parts["test"])


def test_no_size_comes_twice_and_none_is_too_small(uneven):
    images = sets.read_set(uneven)  # 64 images, of which a third is kept for the test
    assert list(sets.sizes_of(images, (8, 20, 300, None))) == [("20", 20), ("300", 43)]


def test_edges_are_white_where_nothing_changes(tmp_path):
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[:, 10:] = 200
    (tmp_path / "photos/train/a").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "photos/train/a/step.png")
    sets.write_edges(tmp_path / "photos", tmp_path / "edges")
    found = np.asarray(Image.open(tmp_path / "edges/train/a/step.png"))[2:-2]
    assert (found[:, 2:8] == 255).all()
    assert (found[:, 9:11].min(axis=1) < 128).all()


def test_digits_are_those_of_their_class(tmp_path):
    from sklearn.datasets import load_digits

    folder = sets.write_digits(tmp_path / "digits", 30)
    digits = load_digits()
    assert len(list(folder.glob("*/*.png"))) == 30
    (path,) = folder.glob("*/0012.png")
    assert path.parent.name == str(digits.target[12])
    small = np.asarray(Image.open(path).resize((8, 8), Image.Resampling.BOX), float)
    assert np.corrcoef(small.ravel(), digits.images[12].ravel())[0, 1] > 0.9


def test_halves_hold_every_set_once_and_no_photo_is_in_both():
    every = (*sets.CHOOSING, *sets.REPORTING)
    assert len(every) == len(set(every)) == 15
    assert set(sets.LISTED) < set(every)
    of_flowers = {"flowers", "turned", "paintings", "edges"}
    assert of_flowers < set(sets.CHOOSING)
    assert sets.half_of("flowers") == "choosing"
    assert sets.half_of("digits") == "reporting"
    assert sets.half_of("mine") == "other"


@pytest.mark.parametrize("name", list(DRAWN))
def test_drawn_sets_are_the_same_every_time_and_differ_within_a_class(name, tmp_path):
    count = 2 * len(DRAWN[name].classes)
    first = write_drawn(name, tmp_path / "first", count)
    again = write_drawn(name, tmp_path / "again", count)
    paths = sorted(path.relative_to(first) for path in first.glob("*/*.png"))
    assert Counter(path.parent.name for path in paths) == dict.fromkeys(DRAWN[name].classes, 2)
    pictures = [np.asarray(Image.open(first / path)) for path in paths]
    assert {each.shape for each in pictures} == {(128, 128, 3)}
    for path, pixels in zip(paths, pictures, strict=True):
        np.testing.assert_array_equal(pixels, np.asarray(Image.open(again / path)))
    assert len({pixels.tobytes() for pixels in pictures}) == count


def test_turned_photos_stand_as_their_class_says(tmp_path):
    pixels = np.zeros((128, 128, 3), np.uint8)
    pixels[:64] = 255  # light above, dark below
    for name in ("a", "b", "c"):
        (tmp_path / f"photos/train/{name}").mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / f"photos/train/{name}/x.png")
    folder = altered_sets.write_turned(tmp_path / "photos", tmp_path / "turned", 3)
    found = {path.parent.name: np.asarray(Image.open(path)) for path in folder.glob("*/*")}
    assert found["upright"][:60].min() == 255
    assert found["upside_down"][68:].min() == 255
    assert abs(found["quarter"][:, :60].mean() - found["quarter"][:, 68:].mean()) == 255


def test_crops_of_a_class_are_of_one_part_of_one_photo(tmp_path):
    folder = altered_sets.write_crops(tmp_path / "crops", 24)
    counts = Counter(path.parent.name for path in folder.glob("*/*.png"))
    assert len(counts) == 12
    assert set(counts.values()) == {2}
    # The sky of the temple is blue, whatever was done to the light.
    sky = [np.asarray(Image.open(path), float) for path in folder.glob("temple_0_*/*")]
    assert np.mean([each[..., 2].mean() - each[..., 0].mean() for each in sky]) > 0


def test_paintings_keep_class_and_place_and_lose_the_hue(tmp_path):
    pixels = np.zeros((128, 128, 3), np.uint8)
    pixels[32:96, 32:96] = (250, 20, 20)
    (tmp_path / "photos/train/red").mkdir(parents=True)
    for row in range(4):
        Image.fromarray(pixels).save(tmp_path / f"photos/train/red/{row}.png")
    folder = altered_sets.write_paintings(tmp_path / "photos", tmp_path / "painted", 4)
    found = [np.asarray(Image.open(path), float) for path in sorted(folder.glob("red/*"))]
    assert len(found) == 4
    for each in found:
        assert each[48:80, 48:80].mean() > 3 * each[:20].mean()
    hues = [each[48:80, 48:80].mean(axis=(0, 1)).argmax() for each in found]
    assert len(set(hues)) > 1


HEADS = {"last": 0.90, "all blocks": 0.92, "all blocks and inner": 0.85, "earlier": 0.80}


def records(heads=HEADS, *, advised=0.91, asked="60", seed=0, name="flowers", deciding=1.5):
    run = {"backbone": "Net", "set": name, "asked": asked, "drawn": 60, "seed": seed}
    run["half"] = sets.half_of(name)
    common = {"seconds": 10.0, "carried_out": "linear_probe"}
    found = [
        {**run, **common, "strategy": each, "test_accuracy": accuracy}
        for each, accuracy in heads.items()
    ]
    found.append({**run, "strategy": counting.TEXTBOOK_HEADS, "chosen": "earlier"})
    found.append({**run, "strategy": counting.EXTRACTION, "seconds": 1.0})
    found.append(
        {
            **run,
            **common,
            "strategy": counting.ADVISOR_HEADS,
            "test_accuracy": advised,
            "seconds_of_deciding": deciding,
        }
    )
    return found


def tuned(accuracies, *, advised, **options):
    heads = records(**options)
    run = {key: heads[0][key] for key in ("backbone", "set", "asked", "drawn", "seed", "half")}
    names = (*counting.TUNED, counting.TEXTBOOK)
    more = [
        {**run, "strategy": name, "test_accuracy": accuracy, "seconds": 20.0, "carried_out": name}
        for name, accuracy in zip(names, accuracies, strict=True)
    ]
    last = {**more[0], "strategy": counting.ADVISOR, "test_accuracy": advised}
    return [*heads, *more, {**last, "seconds_of_deciding": 2.0}]


def test_regret_is_the_best_minus_the_chosen_in_points():
    (group,) = counting.grouped(records(), HEADS)
    assert counting.regret(group, counting.ADVISOR_HEADS, counting.OF_HEADS) == pytest.approx(1.0)
    # The rule's head is the one that was trained with these features.
    assert counting.regret(group, counting.TEXTBOOK_HEADS, HEADS) == pytest.approx(12.0)


def test_runs_with_a_missing_strategy_are_left_out():
    assert len(counting.grouped([*records(seed=0), *records(seed=1)[:-1]], counting.OF_HEADS)) == 1


def test_interval_is_that_of_the_mean():
    values = np.random.default_rng(0).normal(2.0, 1.0, 200)
    mean, low, high = counting.mean_and_interval(list(values))
    half = 1.96 * values.std() / np.sqrt(200)  # what the central limit theorem says
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.03)


def row_of(report, *words):
    lines = [line for line in report.splitlines() if not line.startswith("| strategy")]
    (found,) = [line for line in lines if all(word in line for word in words)]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_report_says_what_holds_and_what_does_not():
    good, bad = records(advised=0.91), records(advised=0.88, name="digits", deciding=4.0)
    said = counting.report([*good, *bad])
    assert row_of(said, "mean regret", "choosing sets", "at most")[1:] == [
        "at most 1",
        "1.00 (1.00 to 1.00)",
        "holds",
    ]
    assert row_of(said, "mean regret", "reporting sets", "at most")[-1] == "DOES NOT HOLD"
    assert row_of(said, "times the plain extraction")[2:] == [
        "2.75 (1.50 to 4.00)",
        "DOES NOT HOLD",
    ]
    assert row_of(said, "| advisor, heads | ", "to")[1:] == [
        "4.00 (4.00 to 4.00)",
        "1.00 (1.00 to 1.00)",
    ]


def test_report_of_fine_tuning_compares_with_the_best_head_and_with_everything():
    said = counting.report(
        [
            *tuned((0.93, 0.97, *[0.8] * 9), advised=0.96, asked="300"),
            *tuned((0.85, 0.84, *[0.3] * 9), advised=0.90, asked="300", seed=1),
            *tuned([0.9] * 11, advised=0.88, asked="300", name="digits"),
            *tuned([0.9] * 11, advised=0.92, asked="300", name="chest_xray"),
        ]
    )
    # 92 is the best head of all: 4 points above it, 2 below; on the other sets 4 below and none.
    assert row_of(said, "mean points below the best head", "choosing")[2:] == [
        "-1.00 (-4.00 to 2.00)",
        "holds",
    ]
    assert row_of(said, "on the worst set", "choosing")[2:] == ["-1.00 (-1.00 to -1.00)", "holds"]
    assert row_of(said, "on the worst set", "reporting")[2:] == [
        "4.00 (4.00 to 4.00)",
        "DOES NOT HOLD",
    ]
    assert row_of(said, "advisor: mean regret", "300", "choosing")[2:] == [
        "1.50 (1.00 to 2.00)",
        "holds",
    ]
    # 4 heads of 10 s and 10 tunings of 20 s; the fit took 20.
    assert row_of(said, "share of trying everything", "at most")[2].startswith("0.08")


def test_file_of_runs_survives_a_kill_while_it_was_written(tmp_path):
    file = tmp_path / "runs.jsonl"
    file.write_text('{"a": 1}\n{"a": 2}\n{"a": 3, "b')
    assert regret.read_runs(file) == [{"a": 1}, {"a": 2}]
    with file.open("a") as more:
        more.write('{"a": 4}\n')
    assert regret.read_runs(file) == [{"a": 1}, {"a": 2}, {"a": 4}]
    assert regret.read_runs(tmp_path / "none.jsonl") == []


def start(folder, *arguments):
    command = [sys.executable, ROOT / "benchmarks/regret.py", "--smoke", "--seeds", "1"]
    command += ["--runs", folder / "runs.jsonl", "--out", folder / "results", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_benchmark_measures_every_strategy_once(tmp_path):
    assert "0 complete runs" in start(tmp_path, "--minutes", "0")
    said = start(tmp_path)
    assert "2 complete runs of heads" in said
    lines = (tmp_path / "runs.jsonl").read_text().splitlines()
    runs = [json.loads(line) for line in lines]
    names = (*counting.OF_HEADS, counting.EXTRACTION)
    assert Counter(run["strategy"] for run in runs) == dict.fromkeys(names, 2)
    assert (tmp_path / "results/regret.md").read_text() == said[: said.rindex("\n")]
    # What is known is not measured again; what is missing is.
    (tmp_path / "runs.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    assert start(tmp_path).split("Command")[0].splitlines()[2] == said.splitlines()[2]
    again = (tmp_path / "runs.jsonl").read_text().splitlines()
    assert again[:-1] == lines[:-1]
    assert json.loads(again[-1])["test_accuracy"] == runs[-1]["test_accuracy"]


@pytest.mark.slow
def test_refitted_head_stands_on_the_tuned_backbone(tmp_path):
    """Of the plan's own weights: measured alone, a refitted contestant is the same."""
    start(tmp_path, "--tune")
    lines = (tmp_path / "runs.jsonl").read_text().splitlines()
    runs = {run["strategy"]: run for run in map(json.loads, lines) if run["asked"] == "50"}
    assert set(runs) == {*counting.OF_ALL, counting.EXTRACTION}
    assert counting.TUNED[0] not in {
        run["strategy"] for run in map(json.loads, lines) if run["asked"] == "30"
    }
    name = "everything at 5e-4, refitted"
    assert runs[name]["carried_out"].startswith("linear_probe, all_blocks_and_inner")
    others = [line for line in lines if json.loads(line)["strategy"] != name]
    (tmp_path / "runs.jsonl").write_text("\n".join(others) + "\n")
    start(tmp_path, "--tune")
    again = json.loads((tmp_path / "runs.jsonl").read_text().splitlines()[-1])
    assert again["strategy"] == name
    for figure in ("test_accuracy", "val_accuracy"):
        assert again[figure] == runs[name][figure]
