"""What results say of themselves in Python, and in a notebook."""

import dataclasses
import json
import re
from html.parser import HTMLParser

import click
import numpy as np
import pytest
from nails.make import DATA

from ktransfer.advisor import Candidate, textbook_rule
from ktransfer.augment import CORRUPTIONS
from ktransfer.classifier import Evaluation, FitResult, Summary, SummaryRow
from ktransfer.classifier.mistakes import Mistake
from ktransfer.cli.terminal import show
from ktransfer.data import Skipped
from ktransfer.doctor import Report
from ktransfer.metrics import score
from ktransfer.recommend import Recommendation
from ktransfer.runs import RunTable
from ktransfer.serving import Predictions
from ktransfer.show.results import FIGURE_COLOUR, Bold, Figure, Printed, Row, left_out
from ktransfer.show.tables import aligned
from ktransfer.training.diagnosis import Diagnosis
from ktransfer.training.learning_rates import RangeTest, Sweep
from ktransfer.tuner.result import SearchResult

HOSTILE = "<script>alert(1)</script>&\x1b[31m\"'"
#: How HTML shows it: as text, its control characters as in a terminal.
SHOWN = "<script>alert(1)</script>&\\x1b[31m\"'"


class Page(HTMLParser):
    """The text, the elements and the attributes of a page, which must be well-formed."""

    def __init__(self, page):
        super().__init__()
        self.text, self.elements, self.attributes, self.open = "", [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.elements.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def fit_result():
    record = json.loads((DATA / "run" / "run.json").read_text())
    return dataclasses.replace(
        FitResult.from_dict(record["result"]),
        notes=(HOSTILE,),
        mistakes=(Mistake(f"{HOSTILE}.png", "ant", "bee", 0.9),),
        skipped=tuple(Skipped(f"{at}.png", HOSTILE) for at in range(22)),
    )


def evaluation():
    found = score(np.array([0, 0, 1]), np.array([0, 1, 1]), (HOSTILE, "bee"))
    shifted = dict.fromkeys(CORRUPTIONS, (found,) * 3)
    return Evaluation(found, "all", (), ("a note",), shifted)


def advice():
    found = Candidate("linear_probe", 0.5, (0.4, 0.6), 1.0, 2.0, 3, {"logme": -1.0}, HOSTILE)
    return dataclasses.replace(
        textbook_rule(300, 5, "similar"), candidates=(found,), reasons=("because", HOSTILE)
    )


def predictions():
    return Predictions((HOSTILE, "bee"), np.array([[0.75, 0.25]]), (HOSTILE,), ())


RESULTS = {each.__name__: each for each in (fit_result, evaluation, advice, predictions)}


@pytest.fixture(params=RESULTS, name="result")
def _result(request, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    return RESULTS[request.param]()


def test_python_prints_what_the_command_line_prints(result, capsys):
    print(result)
    said = capsys.readouterr().out
    if isinstance(result, Printed):
        show(result.printed())
        assert click.unstyle(capsys.readouterr().out) == said
    assert SHOWN in said
    assert all(each.isprintable() for each in said.splitlines())


def test_a_notebook_shows_every_word_of_it_and_names_as_text(result):
    page = Page(result._repr_html_())
    assert SHOWN in page.text
    words = re.findall(r"[\w.%]+", str(result))
    assert [each for each in words if each not in page.text] == []


def test_a_notebook_loads_nothing_and_keeps_its_own_colours(result):
    page = result._repr_html_()
    found = Page(page)
    assert {*found.elements} <= {"table", "tr", "th", "td", "div", "ul", "li", "pre", "b"}
    assert {name for name, _ in found.attributes} <= {"style"}
    assert "url" not in page
    assert "//" not in page
    colours = re.findall(r"(?:color|background):([^;\"]+)", page)
    assert {*colours} <= {FIGURE_COLOUR, "none", "inherit"}
    assert len(page) < 10_000


def luminance(colour):
    """Relative luminance of WCAG 2.1."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in shares
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("ground", ["#ffffff", "#111111"])
def test_the_one_colour_is_read_on_light_and_dark(ground):
    low, high = sorted(map(luminance, (FIGURE_COLOUR, ground)))
    assert (high + 0.05) / (low + 0.05) >= 4


def test_the_figures_of_a_fit_are_those_that_it_has():
    result = fit_result()
    text = " ".join(str(result).split())
    assert f"Accuracy {result.val_accuracy:.1%} on {result.validation.num_images} " in text
    share = result.trainable_parameters / result.total_parameters
    assert f"({share:.1%} of parameters)" in text
    details = list(result.details("Net"))
    (row,) = [each for each in details if each.label == "Carried out"]
    assert row.texts[0].startswith(f"{result.plan.name} on Net: ")
    assert f"{result.trainable_parameters:,} of {result.total_parameters:,} " in row.texts[0]
    text = " ".join(line for row in details for line in row.texts)
    assert "and 2 more; --json lists them all" in text
    assert all(stage.name in text for stage in result.stages)


def test_paragraphs_are_wrapped_and_lines_of_tables_are_not():
    text = "one two three " * 5
    (first, *_, last) = Row("Label", (text,), bullet=True).lines(40)
    assert first == ("Label         ", "- ", "one two three one two")
    assert last[:2] == (" " * 14, "  ")
    assert isinstance(first[0], Bold)
    assert list(Row("", (text,), verbatim=True).lines(40)) == [(" " * 14, text)]
    (line,) = Row("", ("of 3",), figure="50%", verbatim=True).lines(40)
    assert isinstance(line[1], Figure)


def test_the_table_of_candidates_fits_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    names = ("linear_probe", "all_blocks_and_inner_probe", "last_blocks", "from_scratch")
    candidates = [Candidate(name, 0.925, (0.88, 0.954), 153.0, 424.0, 410_208) for name in names]
    advised = dataclasses.replace(textbook_rule(30_000, 5, "different"), candidates=candidates)
    lines = str(advised).splitlines()
    assert all(len(line) <= 80 for line in lines), max(lines, key=len)
    assert sum(line.startswith((" all_blocks_and", "*all_blocks_and")) for line in lines) == 1


def test_what_the_advice_says_of_overfitting_is_no_advice():
    for number in (30, 300, 3_000, 30_000):
        for similarity in ("similar", "different"):
            risk = textbook_rule(number, 5, similarity).overfitting_risk
            assert not re.search(r"freeze|unfreeze|try", risk), risk


def test_every_result_that_prints_itself_is_text_in_a_notebook():
    kinds = (Diagnosis, RangeTest, Recommendation, SearchResult, Sweep, Summary, RunTable, Report)
    for kind in kinds:
        shown = type("Shown", (kind,), {"__str__": lambda _: HOSTILE, "__init__": lambda _: None})
        assert Page(shown()._repr_html_()).text == SHOWN


def test_nothing_is_said_of_no_files_left_out():
    assert list(left_out(())) == []
    assert [row.texts for row in left_out(("a: b",))] == [("1 file",), ("a: b",)]


def test_columns_stand_under_each_other():
    rows = [("name", "n", "word"), ("a longer name", "1,024", "x"), ("", "7", "")]
    assert aligned(rows, left={0, 2}, ruled=True) == [
        "name               n  word",
        "--------------------------",
        "a longer name  1,024  x",
        "                   7",
    ]
    assert aligned(rows)[1] == "a longer name  1,024     x"


def test_a_summary_ends_with_its_sum():
    lines = str(Summary((SummaryRow("stem", 1000, 0), SummaryRow("head", 0, 24)))).splitlines()
    assert [line.split() for line in lines[1:3]] == [["stem", "1,000", "0"], ["head", "0", "24"]]
    assert set(lines[3]) == {"-"}
    assert lines[4].split() == ["in", "all", "1,000", "24"]
