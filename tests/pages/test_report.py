"""A report tells what the model says of images, whatever became of them or is their name."""

import dataclasses
import re
import shlex
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import small_network
from pages.report_runs import loaded, train, write_photos
from sklearn.metrics import accuracy_score

from ktransfer import FineTuner, InputError, cli
from ktransfer.classifier import BackboneRecord
from ktransfer.pages import write_report
from ktransfer.pages.report.circumstances import command


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("report") / "photos")


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "run"
    train(photos, out=folder)
    return folder


@pytest.fixture(scope="module")
def found(run, tmp_path_factory):
    """The page of the run, and what is on it."""
    return written(loaded(run), tmp_path_factory.mktemp("report"))


class Read(HTMLParser):
    """The text of a page by section, its tags, and what it would fetch."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.tags, self.fetched, self.sections, self._where = [], [], {}, "head"
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        if tag == "section":
            self._where = found["id"]
        links = [found.get(each) for each in ("src", "srcset", "action", "data", "poster")]
        links += [found.get("href")] if tag in ("a", "link", "use", "image") else []
        links += re.findall(r"url\(([^)]*)\)", found.get("style") or "")
        self.fetched += [each for each in links if each and not each.startswith(("data:", "#"))]

    def handle_data(self, data):
        self.sections[self._where] = self.sections.get(self._where, "") + data

    def images(self):
        return [each for tag, each in self.tags if tag == "img"]


def written(classifier, tmp_path, **options):
    page = classifier.report(tmp_path / "report.html", **options)
    return page, Read(tmp_path / "report.html")


def test_the_figures_are_those_of_the_model_on_the_images(run, photos, tmp_path):
    classifier = loaded(run)
    page, read = written(classifier, tmp_path)
    files = sorted((photos / "val").rglob("*.png"))
    found = classifier.predict([str(each) for each in files]).probabilities
    labels = [classifier.class_names.index(each.parent.name) for each in files]
    accuracy = accuracy_score(labels, found.argmax(axis=1))
    assert page.part == "validation"
    assert page.accuracy == accuracy
    assert page.num_images == 24
    assert f"{100 * accuracy:.1f} %" in read.sections["how-good"]
    wrong = [
        (row.max(), each)
        for row, each, label in zip(found, files, labels, strict=True)
        if row.argmax() != label
    ]
    surest = [str(each.relative_to(photos / "val")) for _, each in sorted(wrong, reverse=True)]
    shown = [each["alt"].split(",")[0] for each in read.images() if "a photo of" in each["alt"]]
    assert len(surest) >= 3
    assert shown[: len(surest)] == surest


def test_every_section_is_there_in_the_order_of_its_worth(found):
    _, read = found
    sections = [each["id"] for tag, each in read.tags if tag == "section"]
    assert sections == [
        *("how-good", "decided", "next", "mistakes", "confused", "by-class", "training", "rates"),
        *("blocks", "certainty", "problems", "costs", "reproduce"),
    ]
    assert "unchanged (sha256" in read.sections["blocks"]
    assert "ECE" in read.sections["certainty"]
    assert "Plan.from_json" in read.sections["reproduce"], "of a network of one's own"


def test_a_page_fetches_nothing(found):
    _, read = found
    text = read.path.read_text()
    assert read.fetched == []
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_photos_are_small_and_have_their_heat_beside_them(found):
    page, read = found
    sources = [each["src"] for each in read.images()]
    assert all(each.startswith("data:image/webp;base64,") for each in sources)
    assert page.num_photos <= 18
    assert page.num_photos < len(sources) <= 2 * page.num_photos
    assert "Grad-CAM" in read.sections["mistakes"]


def test_without_explaining_photos_are_shown_alone(run, tmp_path):
    page, read = written(loaded(run), tmp_path, explain=False)
    assert len(read.images()) == page.num_photos > 0
    assert "Grad-CAM" not in read.sections["mistakes"]


def test_a_test_part_is_judged_on_where_there_is_one_and_that_is_said(photos, tmp_path):
    write_photos(tmp_path / "photos", parts=("train", "val", "test"))
    finetuner = train(tmp_path / "photos", out=tmp_path / "run", epochs=3)
    for classifier in (finetuner.classifier, loaded(tmp_path / "run")):
        page, read = written(classifier, tmp_path, overwrite=True)
        assert (page.part, page.num_images) == ("test", 24)
        assert page.accuracy == pytest.approx(classifier.result.test.accuracy)
        assert "test images, which played no part" in read.sections["how-good"]
        assert "optimistic" not in read.sections["how-good"]


def test_images_that_are_gone_or_changed_are_said_and_the_rest_goes_on(run, photos, tmp_path):
    photos = shutil.copytree(photos, tmp_path / "photos")
    (photos / "val" / "green" / "003.png").unlink()
    (photos / "val" / "red" / "004.png").write_bytes(
        (photos / "train" / "blue" / "000.png").read_bytes()
    )
    (photos / "val" / "red" / "005.png").write_bytes(
        (photos / "val" / "red" / "005.png").read_bytes() + b"more"
    )
    page, read = written(loaded(run, photos), tmp_path)
    assert page.num_images == 21
    assert (
        "Of the 24 validation images of the training 3 are gone or changed"
        in (read.sections["how-good"])
    )
    assert read.images()


def test_of_data_that_was_split_what_was_held_back_is_judged(tmp_path):
    photos = write_photos(tmp_path / "photos")
    finetuner = train(photos / "train", out=tmp_path / "run", epochs=2)
    page, _ = written(loaded(tmp_path / "run"), tmp_path)
    assert (page.part, page.num_images) == ("validation", 6)
    held = finetuner.classifier.validation.images
    for row in (0, 5):
        (photos / "train" / held.name(row)).unlink()
    page, read = written(loaded(tmp_path / "run"), tmp_path, overwrite=True)
    assert (page.part, page.num_images) == ("validation", 4)
    assert "2 are gone or changed" in read.sections["how-good"]


@pytest.mark.parametrize("gone", [".", "val"])
def test_without_the_images_the_figures_of_the_training_are_shown(run, photos, tmp_path, gone):
    photos = shutil.copytree(photos, tmp_path / "photos")
    (photos / gone).rename(tmp_path / "elsewhere")
    classifier = loaded(run, photos)
    page, read = written(classifier, tmp_path)
    assert page.accuracy == classifier.result.validation.accuracy
    assert page.num_photos == 0
    assert "The figures are those of the training" in read.sections["how-good"]
    assert "--data" in read.sections["how-good"]
    # An earlier page may be replaced then, too.
    given = tmp_path / "elsewhere" / ("val" if gone == "." else "")
    page, read = written(classifier, tmp_path, data=given, overwrite=True)
    assert (page.num_images, page.part) == (24, "all")
    assert read.images()
    assert "are of the validation part" in read.sections["how-good"], "it is known again"


def test_images_that_it_was_trained_on_are_said(run, photos, tmp_path):
    page, read = written(loaded(run), tmp_path, data=photos / "train")
    assert page.part == "all"
    assert "36 images were trained on" in read.sections["how-good"]


def test_images_in_memory_are_not_kept_with_a_run(tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (24, 16, 16, 3)).astype(np.uint8)
    finetuner = train((images, np.arange(24) % 2), out=tmp_path / "run", epochs=2)
    page, read = written(finetuner, tmp_path)
    assert read.images()
    page, read = written(loaded(tmp_path / "run"), tmp_path, overwrite=True)
    assert page.num_photos == 0
    assert "were in memory" in read.sections["how-good"]


def test_before_fit_there_is_nothing_to_report(tmp_path):
    with pytest.raises(InputError, match="call fit"):
        FineTuner(small_network(), verbose=False).report(tmp_path / "report.html")


def without_result(run):
    return dataclasses.replace(loaded(run), result=None, data={})


def test_a_run_without_its_result_needs_images(run, photos, tmp_path):
    with pytest.raises(InputError, match=r"nothing to report on.*--data"):
        without_result(run).report(tmp_path / "report.html")
    page, read = written(without_result(run), tmp_path, data=photos / "val")
    assert page.num_images == 24
    assert "training" not in [each["id"] for tag, each in read.tags if tag == "section"]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("page.pdf", {}, "must end in .html"),
        ("there.html", {}, "there.html' exists.*overwrite"),
        ("folder.html", {"overwrite": True}, "is a folder"),
        ("nowhere/page.html", {}, "no folder"),
        ("page.html", {"data": "no/such/folder"}, "no/such/folder"),
    ],
)
def test_what_cannot_be_written_or_read_is_said(run, tmp_path, name, options, words):
    (tmp_path / "there.html").write_text("mine")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(InputError, match=words):
        write_report(loaded(run), tmp_path / name, **options)
    assert (tmp_path / "there.html").read_text() == "mine"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder.html", "there.html"]


HOSTILE = ("<img src=x onerror=alert(1)>", "\x1b[2J\u202e&\"'{{7*7}}", "</script><script>alert(2)")


def test_names_are_text_on_the_page_and_on_the_terminal(tmp_path):
    safe = ("blue", "green", "red")
    photos = write_photos(tmp_path / "photos")
    for part in ("train", "val"):
        for name, hostile in zip(safe, HOSTILE, strict=True):
            # No file name holds a slash.
            (photos / part / name).rename(photos / part / hostile.replace("/", "\u2215"))
        odd = next((photos / part).iterdir())
        first = next(odd.iterdir())
        first.rename(odd / "<b>\x1b[31m`\n.png")
    train(photos, out=tmp_path / "run")
    out = tmp_path / "report.html"
    result = CliRunner().invoke(cli.main, ["report", str(tmp_path / "run"), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    text, read = out.read_text(), Read(out)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e]", text)
    scripts = [each for tag, each in read.tags if tag == "script"]
    assert len(scripts) == 1, "only ours"
    assert not [each for _, each in read.tags if "onerror" in each]
    assert "<img src=x onerror=alert(1)>" in read.sections["by-class"], "as text"
    assert "\\x1b[2J\\u202e&\"'{{7*7}}" in read.sections["by-class"]


def test_the_command_that_trains_it_again_is_one_that_train_takes(run):
    backbone = BackboneRecord("MobileNetV2", "out_relu", "imagenet", (96, 96), {"alpha": 0.35})
    data = {"source": "my photos/it's", "value_range": [0, 4095]}
    asked = dataclasses.replace(
        loaded(run), backbone=backbone, data=data, pooling="max", dropout=0.2, seed=7
    )
    words = shlex.split(" ".join(command(asked)))
    assert words[:2] == ["ktransfer", "train"]
    taken = cli.main.commands["train"].make_context("train", words[2:]).params
    assert taken["data"] == "my photos/it's"
    assert taken["backbone_options"] == (("alpha", 0.35),)
    assert taken["plan"] == "plan.json"
    names = ("backbone", "weights", "input_size", "pooling", "dropout", "seed", "value_range")
    expected = ("MobileNetV2", "imagenet", 96, "max", 0.2, 7, (0.0, 4095.0))
    assert tuple(taken[each] for each in names) == expected


def test_the_command_says_what_it_wrote(run, photos, tmp_path):
    out = tmp_path / "report.html"
    given = ["report", str(run), "--out", str(out), "--data", str(photos / "val"), "--no-explain"]
    result = CliRunner().invoke(cli.main, given)
    assert result.exit_code == 0, result.output
    assert str(out) in result.output
    assert out.stat().st_size < 500_000
    again = CliRunner().invoke(cli.main, given)
    assert again.exit_code == 2
    assert "--overwrite" in again.output
