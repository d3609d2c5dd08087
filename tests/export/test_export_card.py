"""What a model card says, and that names of classes and files cannot spoil it."""

import dataclasses
import datetime

import numpy as np
import pytest
from conftest import small_network, write_pictures
from markdown_it import MarkdownIt

from ktransfer import FineTuner
from ktransfer.classifier import BackboneRecord
from ktransfer.data import Skipped
from ktransfer.doctor import Finding
from ktransfer.export.card import write_card
from ktransfer.export.markdown import table, text
from ktransfer.metrics import score

ODD = ("<b>bold</b>", "a|b", "*`_", "plain")


@pytest.fixture(scope="module")
def tuner(tmp_path_factory):
    tuner = FineTuner(small_network(), verbose=False)
    tuner.fit(write_pictures(tmp_path_factory.mktemp("card") / "photos", 20), epochs=3)
    return tuner


@pytest.fixture(scope="module")
def export(tuner, tmp_path_factory):
    return tuner.export(tmp_path_factory.mktemp("exported") / "colours.keras")


def rendered(markdown):
    """The text of each table cell and each paragraph, as a reader sees it."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    return [
        "".join(part.content for part in each.children if part.type in ("text", "code_inline"))
        for each in tokens
        if each.type == "inline"
    ]


def test_card_has_the_figures_of_the_run(export, tuner):
    card = export.card.read_text()
    seen = rendered(card)
    said = "\n".join(seen)
    found = tuner.result.validation
    assert seen[0] == "colours.keras"
    assert f"{found.accuracy:.1%} of 12 validation images are classified right" in said
    assert f"{found.interval[0]:.1%} to {found.interval[1]:.1%}" in seen
    for name, share in found.per_class.items():
        at = seen.index(name)
        assert seen[at + 1 : at + 3] == ["4", f"{share:.1%}"]
    assert f"`{tuner.classifier.data['contents']}`" in card
    assert "48 train, 12 validation" in said
    assert "48 trained on, 12 chosen by. The file holds a digest of each" in said
    assert f"divided by {tuner.result.temperature:.3g}" in said
    assert f"Plan: {tuner.result.plan.name}" in said
    assert all(stage.name in seen for stage in tuner.result.stages)
    assert "Domain gap to what the backbone was trained on" in said
    assert all(reason in said for reason in tuner.result.advice.reasons)
    assert f"`{export.sha256}`" in card
    assert f"{export.size_bytes:,} bytes" in said
    assert datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")[:7] in said
    assert f"{export.agreement.max_difference:.1e}" in seen


def changed(tuner, **fields):
    """What would be exported of the run, had it another result."""
    small = BackboneRecord("small", "last", None, (16, 16), {"alpha": 1})
    result = dataclasses.replace(tuner.result, **fields)
    trained = dataclasses.replace(tuner.classifier, backbone=small, result=result)
    metadata = {"versions": {"ktransfer": "0.1.0"}, "created": "2026-01-02T03:04:05+00:00"}
    return trained, metadata


def test_names_with_markup_are_shown_as_they_are(export, tuner):
    found = score(*2 * [np.arange(4)], ODD)
    trained, metadata = changed(tuner, validation=found, classes=ODD)
    trained = dataclasses.replace(trained, class_names=ODD)
    seen = rendered(write_card(trained, export, metadata))
    for name in ODD:
        assert name in seen
    assert "Tells 4 classes of images apart: <b>bold</b>, a|b, *`_, plain." in seen[1]


def test_known_faults_and_skipped_files_are_listed(export, tuner):
    finding = Finding("leak", "error", 3, "3 images are in train and validation", "remove them")
    skipped = tuple(Skipped(f"p/{n}\n.jpg", "truncated *JPEG*") for n in range(23))
    trained, metadata = changed(tuner, findings=(finding,), skipped=skipped)
    seen = rendered(write_card(trained, export, metadata))
    assert "error, leak: 3 images are in train and validation; remove them" in seen
    assert "Left out, 23 in all:" in seen
    assert r"p/0\n.jpg: truncated *JPEG*" in seen
    assert "and 3 more" in seen
    trained, metadata = changed(tuner, findings=(), skipped=())
    assert "No fault of the data is known." in write_card(trained, export, metadata)


def test_test_part_is_what_counts_where_there_is_one(export, tuner):
    labels = np.arange(30) % 3
    test = score(np.where(labels == 0, 1, labels), labels, tuner.class_names)
    trained, metadata = changed(tuner, test=test)
    seen = rendered(write_card(trained, export, metadata))
    assert any("66.7% of 30 test images are classified right" in each for each in seen)
    assert "blue taken for green: 10" in seen


def test_run_without_a_result_says_so(export, tuner):
    trained, metadata = changed(tuner)
    card = write_card(dataclasses.replace(trained, result=None), export, metadata)
    assert "was not measured" in card


@pytest.mark.parametrize(
    "words", ["1. one", "- list", "90.8%", "a\\b", "<!-- x -->", "&amp;", "#1"]
)
def test_text_is_never_taken_for_markup(words):
    assert rendered(text(words)) == [words]
    assert words in rendered("\n".join(table(("name",), [[words]])))
