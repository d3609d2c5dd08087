"""The report in a browser: on a phone, in the dark, on paper, sorted, and without scripts."""

import dataclasses

import pytest
from pages.looks import DESKTOP, PHONE, colours, findings, sideways_px
from pages.report_runs import train, write_photos

pytestmark = pytest.mark.browser

LONG = "a-class-with-a-name-that-is-far-longer-than-any-phone-is-wide-" * 3


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The report of a training in two stages."""
    folder = tmp_path_factory.mktemp("browser")
    photos = write_photos(folder / "photos")
    classifier = train(photos, plan="classic", unfreeze=1, epochs=3).classifier
    names = (LONG, *classifier.class_names[1:])
    score = classifier.result.validation
    assert score.num_images == 24
    dataclasses.replace(classifier, class_names=names).report(folder / "report.html")
    return folder / "report.html"


@pytest.mark.parametrize("screen", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen_and_axe_finds_nothing_serious(open_page, file, screen, scheme):
    page = open_page(file, color_scheme=scheme, **screen)
    page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
    assert sideways_px(page) == 0
    assert findings(page) == []


def test_it_is_light_or_dark_as_the_reader_has_it(open_page, file):
    light, dark = (
        colours(open_page(file, color_scheme=each, **DESKTOP)) for each in ("light", "dark")
    )
    assert light != dark
    ink = open_page(file, color_scheme="dark", **DESKTOP).locator(".wide svg text").first
    assert ink.evaluate("(text) => getComputedStyle(text).fill") == dark[0], "drawings follow"


def test_drawings_are_as_wide_as_the_screen(open_page, file):
    for screen, shown, hidden in ((PHONE, "narrow", "wide"), (DESKTOP, "wide", "narrow")):
        page = open_page(file, **screen)
        assert page.locator(f".drawing.{shown}:visible").count() >= 4
        assert page.locator(f".drawing.{hidden}:visible").count() == 0


def test_every_drawing_is_there_in_figures_too(open_page, file):
    page = open_page(file, **DESKTOP)
    drawn = page.locator("figure:has(.drawing)")
    assert drawn.count() >= 4
    assert page.locator("figure:has(.drawing) details table").count() >= drawn.count()
    assert page.locator("figure:has(.drawing):not(:has(table))").count() == 0


def shown_images(page):
    return [int(each) for each in page.locator("#by-class tbody td:last-child").all_inner_texts()]


def test_a_click_sorts_classes_by_number_and_another_the_other_way(open_page, file):
    page = open_page(file, **DESKTOP)
    images = shown_images(page)
    head = page.locator("#by-class").get_by_role("button", name="Images")
    head.click()
    assert shown_images(page) == sorted(images)
    assert head.locator("..").get_attribute("aria-sort") == "ascending"
    head.click()
    assert shown_images(page) == sorted(images, reverse=True)


def test_without_scripts_all_is_there(open_page, file):
    page = open_page(file, java_script_enabled=False, **DESKTOP)
    assert len(shown_images(page)) == 3
    assert page.locator("th button").count() == 0
    page.locator("figure:has(.drawing) summary").first.click()
    assert page.locator("figure:has(.drawing) details[open] table:visible").count() >= 1


def test_on_paper_it_is_black_on_white_and_wide(open_page, file):
    page = open_page(file, color_scheme="dark", **PHONE)
    page.emulate_media(media="print")
    assert colours(page) == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    assert page.locator(".drawing.wide:visible").count() >= 4
    assert page.locator("nav:visible").count() == 0
    assert page.pdf(format="A4")[:5] == b"%PDF-"
