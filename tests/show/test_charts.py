"""What a chart hands out: read off its specification, its SVG and its PNG."""

import io
import itertools
import json
import math
import re
import subprocess
import sys

import altair
import numpy as np
import pytest
from drawn import lines, marks, root_of, words
from PIL import Image

from ktransfer import InputError
from ktransfer.show.charts import (
    PALETTE,
    Chart,
    Column,
    Line,
    bounded,
    draw_parallel,
    log_axis,
    mixed,
    series,
    whole_axis,
)
from ktransfer.show.charts.theme import DARK, LIGHT
from ktransfer.show.charts.ticks import linear_ticks, log_ticks

POINTS = [(0, 1.0), (1, 4.0), (2, 9.0)]


def make_chart(points=POINTS, *, title="a title", label="one", width=400, **fields):
    rows = [{"step": x, "loss": y, "curve": label} for x, y in points]
    colour, dashes = series("curve", [label])
    line = altair.Chart(altair.NamedData("losses")).mark_line(clip=True)
    drawing = line.encode(
        x="step:Q", y="loss:Q", color=colour, strokeDash=dashes, description="curve:N"
    )
    return Chart(title, drawing.properties(width=width, height=200), {"losses": rows, **fields})


def image(png):
    """Of bytes or of a file: its format and its pixels."""
    with Image.open(io.BytesIO(png) if isinstance(png, bytes) else png) as opened:
        return opened.format, np.asarray(opened.convert("RGB"))


def pixels(png):
    return image(png)[1]


# What is drawn.


def test_every_point_given_is_in_the_data_and_drawn():
    points = [(step, math.sin(step)) for step in range(500)]
    chart = make_chart(points)
    rows = chart.spec()["datasets"]["losses"]
    assert [(row["step"], row["loss"]) for row in rows] == points
    ((_, ((*drawn,),)),) = lines(chart)
    assert len(drawn) == 500


def test_values_lie_where_they_should():
    ((_, (drawn,)),) = lines(make_chart([(0, 0), (1, 4), (4, 10)]))
    assert np.array(drawn) == pytest.approx(np.array([(0, 200), (100, 120), (400, 0)]), abs=0.01)


@pytest.mark.parametrize("broken", [math.nan, math.inf, None, np.float32("nan")])
def test_a_value_that_is_not_finite_breaks_the_line(broken):
    points = [(0, 1), (1, 2), (2, broken), (3, 2), (4, 1), (5, 3)]
    ((_, drawn),) = lines(make_chart(points))
    assert [len(piece) for piece in drawn] == [2, 3]


def test_numbers_of_numpy_are_plain_in_the_data():
    chart = make_chart([(np.int64(1), np.float32(0.5)), (2, 1.0)])
    row = chart.spec()["datasets"]["losses"][0]
    assert (row["step"], row["loss"]) == (1, 0.5)
    assert {type(row["step"]), type(row["loss"])} == {int, float}


def test_a_chart_keeps_what_it_was_made_of():
    rows = [{"step": 1, "loss": 1.0}]
    drawing = {"data": {"name": "losses"}, "mark": {"type": "point"}, "encoding": {}}
    chart = Chart("a title", drawing, {"losses": rows})
    before = json.dumps(chart.spec())
    rows[0]["loss"], drawing["mark"]["type"] = 7.0, "bar"
    chart.spec()["datasets"]["losses"].clear()
    chart.spec()["mark"].clear()
    assert json.dumps(chart.spec()) == before


def test_data_without_a_table_are_refused():
    part = altair.Chart(altair.NamedData("trials")).mark_point()
    with pytest.raises(ValueError, match=r"draws \['trials'\], and has \['losses'\]"):
        Chart("a title", altair.hconcat(part, part), {"losses": []})


def test_a_drawing_that_names_an_address_reaches_no_network():
    drawing = {"data": {"url": "http://127.0.0.1:9/data.json"}, "mark": "point", "encoding": {}}
    with pytest.raises(ValueError, match="not allowed"):
        Chart("a title", drawing, {}).svg()


@pytest.mark.parametrize("name", ["<script>alert(1)</script> & 'co' \"x\"", "]]>", "Käfer 昆虫"])
def test_names_are_written_as_they_are_and_are_no_markup(name):
    chart = make_chart(title=name, label=name)
    assert words(chart).count(name) == 2  # title and legend
    ((said, _),) = lines(chart)
    assert said == name
    assert root_of(chart).get("aria-label") == name
    assert "<script" not in chart.svg()


def test_control_characters_of_names_are_escaped():
    chart = make_chart(title="red\x1b[2J", label="a\nb\udcff")
    assert {"red\\x1b[2J", "a\\nb\\udcff"} <= set(words(chart))
    assert chart.text().splitlines()[0] == "red\\x1b[2J"


# In a page.


def test_in_a_page_text_and_axes_have_the_colour_of_the_page():
    svg = make_chart().svg()
    inks = {each.get("fill") for each in root_of(svg).iter() if each.tag.endswith("}text")}
    assert inks == {"currentColor"}
    strokes = {each.get("stroke") for each in root_of(svg).iter() if each.tag.endswith("}line")}
    assert strokes == {"currentColor"}
    for theme in (LIGHT, DARK):
        assert theme.ink not in svg
        assert theme.paper not in svg
    assert not re.search(r'"(#000|#000000|black|white|#fff)"', svg)


def test_text_stays_text():
    assert {"a title", "step", "loss", "one", "0.4"} <= set(words(make_chart()))


def test_charts_of_one_page_share_no_ids_and_each_finds_its_own():
    charts = [make_chart(), make_chart(width=300)]
    ids = [{each.get("id") for each in root_of(chart).iter() if each.get("id")} for chart in charts]
    assert all(ids)
    assert ids[0] & ids[1] == set()
    for chart, own in zip(charts, ids, strict=True):
        assert set(re.findall(r"url\(#([^)]*)\)", chart.svg())) <= own


def test_what_a_screen_reader_is_told_of_a_mark_stands_where_the_pointer_rests():
    ((said, element),) = marks(make_chart(label="loss < 1"), "line")
    assert said == "loss < 1"
    assert element[0].tag.endswith("}title")
    assert element[0].text == said


def test_the_picture_is_one_image_with_a_name():
    root = root_of(make_chart(title="loss < 1 & more"))
    assert (root.get("role"), root.get("aria-label")) == ("img", "loss < 1 & more")
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"


def test_svg_for_a_page_has_no_prefixes_and_no_declaration():
    svg = make_chart().svg()
    assert svg.startswith("<svg ")
    assert "ns0:" not in svg


# Files.


def test_the_ending_decides_what_is_written(tmp_path):
    chart = make_chart()
    for name in ("a.SVG", "a.PNG"):
        chart.save(tmp_path / name)
    assert root_of(tmp_path / "a.SVG").tag.endswith("}svg")
    assert image(tmp_path / "a.PNG")[0] == "PNG"


@pytest.mark.parametrize("width_px", [320, 777, 1601])
def test_a_png_is_as_wide_as_asked(width_px):
    svg = root_of(make_chart())
    height, width, _ = pixels(make_chart().png(width_px=width_px)).shape
    assert width == width_px
    assert height == pytest.approx(
        width_px * float(svg.get("height")) / float(svg.get("width")), abs=1
    )


def test_a_png_is_twice_as_wide_as_the_svg_unless_asked():
    width = float(root_of(make_chart()).get("width"))
    assert pixels(make_chart().png()).shape[1] == 2 * width


def test_files_have_paper_of_their_own_light_or_dark(tmp_path):
    chart = make_chart()
    for dark, theme in ((False, LIGHT), (True, DARK)):
        paper = tuple(int(theme.paper[at : at + 2], 16) for at in (1, 3, 5))
        assert tuple(pixels(chart.png(dark=dark))[0, 0]) == paper
        chart.save(tmp_path / "a.svg", dark=dark, overwrite=True)
        text = (tmp_path / "a.svg").read_text()
        assert theme.paper in text
        assert "currentColor" not in text
        assert "var(" not in text


def test_the_curve_is_in_the_png_in_its_colour():
    colour, _ = PALETTE[0]
    wanted = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])
    near = np.abs(pixels(make_chart().png()).astype(int) - wanted).max(-1) < 4
    assert near.sum() > 800  # 400 pixels of the panel, twice as large


def test_nothing_is_replaced_unasked_and_other_endings_are_refused(tmp_path):
    chart = make_chart()
    with pytest.raises(InputError, match=r"the picture '.*a\.pdf' must end in \.svg or \.png"):
        chart.save(tmp_path / "a.pdf")
    with pytest.raises(InputError, match=r"nowhere/a\.svg': there is no folder '.*nowhere'"):
        chart.save(tmp_path / "nowhere" / "a.svg")
    (tmp_path / "a.png").write_text("mine")
    with pytest.raises(InputError, match=r"a\.png' exists; name another file"):
        chart.save(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_text() == "mine"
    chart.save(tmp_path / "a.png", overwrite=True)
    assert image(tmp_path / "a.png")[0] == "PNG"
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]


def test_a_notebook_gets_a_picture_on_paper_of_its_own_and_the_figures():
    chart = make_chart()
    bundle = chart._repr_mimebundle_()
    assert bundle == {"image/svg+xml": chart._repr_svg_(), "text/plain": chart.text()}
    assert LIGHT.paper in bundle["image/svg+xml"]
    assert "currentColor" not in bundle["image/svg+xml"]


# As text.


def test_every_figure_is_in_the_text():
    points = [(step, step / 7) for step in range(40)]
    said = make_chart(points).text()
    assert said.splitlines()[:4] == ["a title", "", "losses", "step      loss  curve"]
    assert [line.split()[:2] for line in said.splitlines()[5:]] == [
        [str(step), f"{loss:.6g}"] for step, loss in points
    ]
    assert str(make_chart()) == make_chart().text()


def test_figures_leave_out_what_is_for_drawing_alone_and_say_what_is_missing():
    more = [{"rate": 0.1, "_x": 1, "best": True}, {"rate": math.nan, "_x": 2, "name": "<b>"}]
    chart = make_chart(more=more, _drawn=[{"x": 1}], empty=[])
    figures = chart.figures()
    assert list(figures) == ["losses", "more"]
    assert figures["more"] == [
        ["rate", "best", "name"],
        ["0.1", "True", "-"],
        ["-", "-", "<b>"],
    ]


# Colours and dashes.

PAPERS = (LIGHT.paper, DARK.paper)
# Machado, Oliveira and Fernandes 2009, severity 1: what people see who lack one kind of cone.
CONES = {
    "none": np.eye(3),
    "protan": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "deutan": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "tritan": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
}


def linear(colour):
    parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def luminance(colour):
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def lab(rgb):
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.clip(np.array(to_xyz) @ rgb, 0, None) / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("colour", [colour for colour, _ in PALETTE])
def test_each_colour_shows_on_light_and_on_dark_paper(colour, paper):
    low, high = sorted([luminance(colour), luminance(paper)])
    assert (high + 0.05) / (low + 0.05) >= 3  # WCAG 2.1, non-text contrast


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_text_has_the_contrast_of_readable_text(theme):
    low, high = sorted([luminance(theme.ink), luminance(theme.paper)])
    assert (high + 0.05) / (low + 0.05) >= 4.5


@pytest.mark.parametrize("cones", CONES)
def test_colours_differ_for_the_colour_blind_too(cones):
    seen = [lab(np.clip(np.array(CONES[cones]) @ linear(colour), 0, 1)) for colour, _ in PALETTE]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 15


def test_curves_differ_by_dashes_too():
    labels = [f"curve {at}" for at in range(6)]
    colour, dashes = series("curve", labels)
    rows = [{"x": x, "y": at, "curve": label} for at, label in enumerate(labels) for x in (0, 1)]
    line = altair.Chart(altair.NamedData("a")).mark_line()
    drawing = line.encode(x="x:Q", y="y:Q", color=colour, strokeDash=dashes, description="curve:N")
    chart = Chart("a title", drawing, {"a": rows})
    drawn = [each.get("stroke-dasharray") for _, each in marks(chart, "line")]
    assert len(set(drawn)) == len(PALETTE) == 6
    named = [
        each.get("stroke-dasharray")
        for group in root_of(chart).iter()
        if "role-legend-symbol" in group.get("class", "")
        for each in group
    ]
    assert named == drawn, "the legend names them"


def test_a_long_legend_keeps_the_first_and_an_even_choice():
    labels = [f"curve {at}" for at in range(100)]
    colour, _ = series("curve", labels)
    point = altair.Chart(altair.NamedData("a")).mark_point().encode(x="x:Q", color=colour)
    rows = [{"x": at, "curve": label} for at, label in enumerate(labels)]
    shown = [each for each in words(Chart("a title", point, {"a": rows})) if "curve" in each]
    assert len(shown) == 12
    assert shown[:2] == ["curve 0", "curve 1"]
    assert shown[-1] == "curve 99"


def test_a_mixed_colour_lies_between_its_two():
    assert mixed("#000000", "#ff8040", 0.0) == "#000000"
    assert mixed("#000000", "#ff8040", 0.5) == "#804020"
    assert mixed("#000000", "#ff8040", 1.0) == "#ff8040"


# Axes.


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.13, 0.94], [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([80, 95], [80, 82, 84, 86, 88, 90, 92, 94, 96]),
        ([-3, 3], [-3, -2, -1, 0, 1, 2, 3]),
        ([], [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
    ],
)
def test_linear_ticks_are_round_and_reach_around_the_values(values, ticks):
    assert linear_ticks(values) == pytest.approx(ticks)


def test_one_value_alone_has_a_tick_on_both_sides():
    low, *_, high = linear_ticks([7])
    assert low <= 7 <= high
    assert low < high


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.3, 1.4], [0.2, 0.5, 1, 2]),
        ([0.001, 0.5], [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]),
        ([5], [5, 10]),
        ([1e-7, 10], [1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10]),
    ],
)
def test_logarithmic_ticks_are_round_and_reach_around_the_values(values, ticks):
    assert log_ticks(values) == ticks


def test_a_logarithmic_axis_marks_no_tick_beside_it():
    scale, axis = log_axis(4, 130)
    assert scale.to_dict()["domain"] == [4, 130]
    assert axis.to_dict()["values"] == [5, 10, 20, 50, 100]


@pytest.mark.parametrize(
    ("high", "values"), [(3, [0, 1, 2, 3]), (0.5, [0]), (0, [0]), (60, list(range(0, 61, 5)))]
)
def test_an_axis_of_whole_numbers_has_no_fractions(high, values):
    assert whole_axis(0, high).to_dict()["values"] == values


def test_a_coordinate_far_outside_stays_drawable_and_a_gap_a_gap():
    rows = [{"x": x, "y": y} for x, y in [(0, 1), (1, 1e33), (2, None), (3, 1), (4, 2)]]
    line = altair.Chart(altair.NamedData("a")).transform_calculate(_y=bounded("y", -40, 40))
    y = altair.Y("_y:Q", scale=altair.Scale(domain=[0, 2]))
    chart = Chart("a title", line.mark_line(clip=True).encode(x="x:Q", y=y), {"a": rows})
    ((_, (broken, whole)),) = lines(chart)
    assert (len(broken), len(whole)) == (2, 2)
    assert -1e5 < broken[1][1] < 0


# Parallel coordinates.


def test_a_line_passes_each_column_at_its_value_and_one_without_it_by():
    columns = [
        Column("depth", (0, 2, 4)),
        Column("rate", (1e-4, None, 1e-2), "log"),
        Column("accuracy", (80.0, 96.0, 88.0), "linear"),
    ]
    looks = [Line(name, "#b0541e", name, dashed=name == "c", strong=name == "a") for name in "abc"]
    chart = draw_parallel("a title", columns, looks, {})
    drawn = {said: [round(y, 1) for _, y in piece] for said, (piece,) in lines(chart)}
    assert drawn == {"a": [310, 310, 310], "b": [155, 0], "c": [0, 0, 155]}
    elements = dict(marks(chart, "line"))
    assert [elements[name].get("stroke-width") for name in "abc"] == ["4", "2", "2"]
    assert [bool(elements[name].get("stroke-dasharray")) for name in "abc"] == [False, False, True]
    assert {"depth", "rate", "accuracy", "0", "2", "4", "0.001", "80", "96"} <= set(words(chart))


def test_text_of_a_column_that_lines_pass_behind_has_a_halo_of_the_paper():
    columns = [Column("a", (0, 1)), Column("b", (1, 0))]
    looks = [Line(name, "#b0541e", name) for name in "xy"]
    chart = draw_parallel("a title", columns, looks, {})
    halos = [each for each in root_of(chart).iter() if each.get("stroke-width") == "3"]
    assert {each.get("stroke") for each in halos} == {"var(--chart-paper, transparent)"}
    assert [each.text for each in halos] == ["0", "1", "0", "1"]


def test_charts_load_neither_altair_nor_vega_until_one_is_drawn():
    code = (
        "import sys, ktransfer.show.charts\n"
        "assert not {'altair', 'vl_convert', 'jinja2', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
