"""The picture against pixels worked out by hand."""

import math
from xml.etree import ElementTree

import pytest

from ktransfer import InputError
from ktransfer.charts import (
    BOTTOM_PX,
    HEIGHT_PX,
    LEFT_PX,
    PALETTE,
    RIGHT_PX,
    TOP_PX,
    WIDTH_PX,
    Axis,
    Band,
    Curve,
    Mark,
    Panel,
    draw,
    write_svg,
)
from ktransfer.charts.scale import fit

SVG = "{http://www.w3.org/2000/svg}"
RIGHT, BOTTOM = WIDTH_PX - RIGHT_PX, HEIGHT_PX - BOTTOM_PX


def make_panel(*curves, x=None, y=None, **fields):
    return Panel(x or Axis("x"), y or Axis("y"), curves, **fields)


def make_curve(*points, label="one", **fields):
    return Curve(label, "#1d4ed8", points, **fields)


def read(*panels, title="a title"):
    return ElementTree.fromstring(draw(title, *panels))


def lines(root):
    return [
        [tuple(map(float, point.split(","))) for point in each.get("points").split()]
        for each in root.iter(f"{SVG}polyline")
    ]


def words(root):
    return [each.text for each in root.iter(f"{SVG}text")]


def test_linear_values_lie_where_they_should():
    (line,) = lines(read(make_panel(make_curve((0, 0), (1, 4), (4, 10)))))
    quarter = LEFT_PX + (RIGHT - LEFT_PX) / 4
    assert line[0] == (LEFT_PX, BOTTOM)
    assert line[1] == pytest.approx((quarter, BOTTOM - 0.4 * (BOTTOM - TOP_PX)), abs=0.06)
    assert line[2] == (RIGHT, TOP_PX)


def test_logarithmic_values_lie_where_they_should():
    log = Axis("rate", log=True, rounded=False)
    (line,) = lines(read(make_panel(make_curve((1e-6, 1), (1e-5, 10), (1e-2, 1000)), x=log)))
    assert [x for x, _ in line] == pytest.approx([LEFT_PX, 240.5, RIGHT])


@pytest.mark.parametrize(
    ("values", "low", "high", "ticks"),
    [
        ([0.13, 0.94], 0.1, 1.0, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        ([0, 25], 0, 25, [0, 5, 10, 15, 20, 25]),
        ([-3, 3], -3, 3, [-3, -2, -1, 0, 1, 2, 3]),
        ([7], 6.5, 7.5, [6.5, 6.6, 6.7, 6.8, 6.9, 7, 7.1, 7.2, 7.3, 7.4, 7.5]),
        ([math.nan, math.inf], 0, 1, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
    ],
)
def test_a_linear_axis_ends_at_round_numbers_around_what_is_finite(values, low, high, ticks):
    scale = fit(Axis("y"), [values])
    assert (scale.low, scale.high) == pytest.approx((low, high))
    assert scale.ticks == pytest.approx(ticks)


def test_an_axis_of_whole_numbers_has_no_fractions():
    assert fit(Axis("epoch", whole=True, rounded=False), [[1, 3]]).ticks == (1, 2, 3)


@pytest.mark.parametrize(
    ("values", "low", "high", "ticks"),
    [
        ([0.3, 1.4], 0.2, 2, [0.2, 0.5, 1, 2]),
        ([0.001, 0.5], 0.001, 1, [0.001, 0.01, 0.1, 1]),
        ([5, 0, math.nan], 10**0.19897, 10**1.19897, [2, 5, 10]),
        ([1e-30, 1], 1e-12, 1, [10.0**power for power in range(-12, 1)]),
    ],
)
def test_a_logarithmic_axis_ends_at_ticks_and_has_at_most_12_decades(values, low, high, ticks):
    scale = fit(Axis("y", log=True), [values])
    assert (10**scale.low, 10**scale.high) == pytest.approx((low, high), rel=1e-4)
    assert scale.ticks == pytest.approx(ticks)


def test_the_tail_of_a_schedule_may_lie_under_an_axis_of_decades():
    tail = [1e-3] * 12 + [1e-9, 0.0]
    assert fit(Axis("rate", log=True, decades=True), [tail]).low == -4
    assert fit(Axis("rate", log=True), [tail]).low == -9


def test_given_ends_hold_and_what_lies_far_outside_stays_drawable():
    panel = make_panel(make_curve((0, 1), (1, 1e30)), y=Axis("y", low=0, high=2))
    (line,) = lines(read(panel))
    assert line[0][1] == pytest.approx((TOP_PX + BOTTOM) / 2)
    assert -1e4 < line[1][1] < 0


def test_a_value_that_is_not_finite_breaks_the_line():
    broken = make_curve((0, 1), (1, 2), (2, math.nan), (3, 2), (4, math.inf), (5, 1), markers=True)
    root = read(make_panel(broken))
    assert [len(set(line)) for line in lines(root)] == [2, 1, 1]
    assert len(list(root.iter(f"{SVG}circle"))) == 4


def test_a_level_line_needs_two_points_and_close_ones_fall_together():
    level = make_curve(*((step, 1.0) for step in range(1000)))
    (line,) = lines(read(make_panel(level)))
    assert len(line) == 2
    steep = make_curve(*((step, float(step)) for step in range(100_000)))
    (line,) = lines(read(make_panel(steep)))
    assert len(line) < 1000


def test_curves_differ_by_dashes_too_and_the_first_lies_on_top():
    curves = [
        Curve(str(index), colour, ((0, index), (1, index)), dashes=dashes)
        for index, (colour, dashes) in enumerate(PALETTE)
    ]
    drawn = list(read(make_panel(*curves)).iter(f"{SVG}polyline"))
    assert len({each.get("stroke-dasharray") for each in drawn}) == len(PALETTE)
    assert drawn[-1].get("stroke") == PALETTE[0][0]


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    parts = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.parametrize("colour", [colour for colour, _ in PALETTE])
def test_colours_have_the_contrast_of_readable_text(colour):
    assert 1.05 / (luminance(colour) + 0.05) >= 4.5  # WCAG 2, level AA


def test_bands_and_marks_stand_where_they_are_said_to():
    panel = make_panel(
        make_curve((0, 0), (10, 1)),
        bands=(Band("head", 0, 4), Band("a name too long for so narrow a band", 4, 6)),
        marks=(Mark(5, "here"),),
    )
    root = read(panel)
    _, _, head, narrow = root.iter(f"{SVG}rect")
    assert float(head.get("width")) == pytest.approx(0.4 * (RIGHT - LEFT_PX), abs=0.06)
    assert narrow.find(f"{SVG}title").text == "a name too long for so narrow a band"
    assert "a name too long fo…" in words(root)
    (mark,) = [each for each in root.iter(f"{SVG}line") if each.get("class") == "mark"]
    assert float(mark.get("x1")) == pytest.approx((LEFT_PX + RIGHT) / 2)
    assert "here" in words(root)


def test_panels_stand_side_by_side_with_one_legend():
    panels = [make_panel(make_curve((0, 0), (1, 1)), title=title) for title in ("left", "right")]
    root = read(*panels)
    first, second = lines(root)
    assert first[0][0] == LEFT_PX
    assert second[0][0] - first[-1][0] == LEFT_PX
    assert float(root.get("width")) == second[-1][0] + RIGHT_PX
    assert words(root).count("one") == 1
    assert {"left", "right"} <= set(words(root))


def test_a_long_legend_keeps_the_first_and_an_even_choice():
    curves = [make_curve((0, index), label=f"curve {index}") for index in range(100)]
    shown = [text for text in words(read(make_panel(*curves))) if text.startswith("curve")]
    assert len(shown) == 12
    assert shown[:2] == ["curve 0", "curve 1"]
    assert shown[-1] == "curve 99"


def test_the_picture_has_a_title_for_screen_readers_and_escapes_names():
    root = read(make_panel(make_curve((0, 1), label="<a> & b")), title="loss < 1 & more")
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text == "loss < 1 & more"
    assert "<a> & b" in words(root)


def test_only_svg_is_written_and_only_where_it_can_be(tmp_path):
    write_svg(tmp_path / "a.SVG", "<svg/>")
    assert (tmp_path / "a.SVG").read_text() == "<svg/>"
    with pytest.raises(InputError, match=r"the picture '.*a\.png' must end in \.svg"):
        write_svg(tmp_path / "a.png", "<svg/>")
    with pytest.raises(InputError, match=r"nowhere/a\.svg': there is no folder '.*nowhere'"):
        write_svg(tmp_path / "nowhere" / "a.svg", "<svg/>")


def test_a_caption_stands_beside_the_last_point_and_stays_inside():
    inside = Curve("a", "#000", ((0, 0), (5, 1)), caption="inside")
    edge = Curve("b", "#000", ((10, 2),), line=False, markers=True, dot_px=6.0, caption="edge")
    panel = make_panel(inside, edge, x=Axis("x", low=0, high=10))
    root = read(panel)
    places = {each.text: each for each in root.iter(f"{SVG}text")}
    assert float(places["inside"].get("x")) == pytest.approx((LEFT_PX + RIGHT) / 2 + 8)
    assert float(places["edge"].get("x")) == pytest.approx(RIGHT - 8)
    assert places["edge"].get("text-anchor") == "end"
    (dot,) = [each for each in root.iter(f"{SVG}circle") if each.get("r") == "6"]
    assert float(dot.get("cx")) == pytest.approx(RIGHT)


def test_long_names_widen_the_legend():
    def width(label):
        curve = Curve(label, "#000", ((0, 0), (1, 1)))
        return float(read(make_panel(curve)).get("width"))

    assert width("short") == width("s") == WIDTH_PX
    assert width("x" * 60) - RIGHT > 60 * 7
