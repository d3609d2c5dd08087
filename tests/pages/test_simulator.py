"""The freeze simulator: a page that says what Python says, and is a pleasure to use."""

import itertools
import json
import random
from dataclasses import replace

import pytest
from pages.looks import DESKTOP, PHONE, colours, findings, sideways_px

from ktransfer import Plan
from ktransfer.advisor import Costs, advise
from ktransfer.advisor.rule import overfitting_risk
from ktransfer.pages import write_simulator
from ktransfer.pages.simulator.anatomy import anatomies

pytestmark = pytest.mark.browser

#: Each side of every threshold, and halves that Python rounds to even.
IMAGES = (1, 7, 99, 499, 500, 501, 1_000, 2_500, 9_999, 10_000, 50_000, 123_457)
CLASSES = (2, 3, 5, 10, 24, 101)
SIMILARITIES = (None, 0.0, 0.49, 0.5, 1.0)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / "simulator.html"
    write_simulator(path)
    return path


@pytest.fixture
def page(open_page, file):
    return open_page(file, **DESKTOP)


def said(page, part):
    return page.locator(f"#{part}").inner_text()


def block(page, number):
    return page.get_by_role("switch", name=f"Block {number},")


def locks(page):
    """The state of each block, the first one first."""
    states = page.locator(".block").evaluate_all("all => all.map(each => each.dataset.state)")
    return states[::-1]


def advised(anatomy, images, classes, similarity):
    """What Python says, told how wide the features are that its head reads."""
    sizes = [each.parameters for each in anatomy.blocks]
    kept = advise(images, classes, similarity, block_parameters=sizes).num_blocks
    width = anatomy.blocks[kept - 1].output[-1]
    return advise(images, classes, similarity, num_features=width, block_parameters=sizes)


def test_the_page_advises_what_python_does(page):
    shown = anatomies(["VGG16", "MobileNetV2", "DenseNet121"])
    # A sixth of 15 blocks is 2.5, which Python rounds to 2.
    rows = [*shown, replace(shown[1], blocks=shown[1].blocks[:15])]
    points = [
        ([row.name, len(row.blocks)], *rest)
        for row in rows
        for rest in itertools.product(IMAGES, CLASSES, SIMILARITIES)
    ]
    assert len(points) >= 500
    found = page.evaluate(
        """(points) => points.map(([[name, count], ...rest]) => {
            const network = facts.networks.find((each) => each.name === name);
            const row = { ...network, blocks: network.blocks.slice(0, count) };
            const { size, cell, strategy, kept, trained, trainable, reasons, risk } =
                rule.advise(row, ...rest);
            return [size, cell, strategy, kept, trained, trainable, reasons, risk.sentence];
        })""",
        points,
    )
    expected = []
    for row, rest in itertools.product(rows, itertools.product(IMAGES, CLASSES, SIMILARITIES)):
        told = advised(row, *rest)
        blocks = [told.num_blocks, told.num_trainable_blocks, told.trainable_parameters]
        reasons = [list(told.reasons), told.overfitting_risk]
        expected.append([told.size, told.cell, told.strategy, *blocks, *reasons])
    assert found == expected


def test_what_a_stack_costs_is_what_python_reckons(page):
    drawn = random.Random(0)
    shown = anatomies()
    stacks = []
    for at, anatomy in enumerate(shown):
        for _ in range(20):
            kept = drawn.randint(1, len(anatomy.blocks))
            stacks.append((at, kept, drawn.randint(0, kept), drawn.randint(1, 10**5)))
    found = page.evaluate(
        """(stacks) => stacks.map(([at, kept, trained, images]) => {
            const stack = { kept, trained, pretrained: true };
            const all = rule.outcome(facts.networks[at], stack, images, 7);
            return [all.memoryMb, all.passes, all.frozen, all.leftOut, all.trainable,
                all.risk.sentence];
        })""",
        stacks,
    )
    for (at, kept, trained, images), page_says in zip(stacks, found, strict=True):
        blocks = shown[at].blocks
        sizes = tuple(each.parameters for each in blocks)
        # As if the backbone had no more than what is kept; a pass costs a second an image.
        costs = Costs(1.0, sizes[:kept], tuple(each.activations for each in blocks)[:kept])
        whole = sum(each.activations for each in blocks) / sum(costs.activations)
        width = blocks[kept - 1].output[-1]
        if trained:
            epochs = 20 if trained == kept else 12
            memory = costs.tuning(images, trained, epochs)[1]
            alone = costs.tuning(images, trained, 0)[0]
            seconds = costs.tuning(images, trained, epochs)[0] - alone + images
        else:
            memory, seconds = costs.head(images, width)[1], images
        trainable = (width + 1) * 7 + sum(sizes[kept - trained : kept])
        risk = overfitting_risk(trainable, images, head_only=trained == 0)
        parameters = [sum(sizes[: kept - trained]), sum(sizes[kept:]), trainable]
        assert page_says[:2] == pytest.approx([memory, seconds / images / whole])
        assert page_says[2:] == [*parameters, risk]


def test_resnet_18_of_five_classes_reads_as_in_the_textbook(page):
    assert page.locator("#network option:checked").inner_text() == "ResNet-18"
    assert (said(page, "frozen"), said(page, "trained")) == ("11.2 M", "2,565")
    assert said(page, "strategy") == "Train the head alone"


def test_a_click_locks_a_block_and_all_below_and_a_second_one_unlocks_it(page):
    block(page, 7).click()
    assert locks(page) == ["frozen"] * 6 + ["trained"] * 3
    assert said(page, "trained") == "9.6 M"
    block(page, 8).click()
    assert locks(page) == ["frozen"] * 8 + ["trained"]
    block(page, 1).click()
    assert locks(page) == ["trained"] * 9
    assert block(page, 1).get_attribute("aria-checked") == "true"
    assert "No block is frozen" in said(page, "border")


def test_the_keyboard_moves_along_the_stack_and_turns_locks(page):
    block(page, 9).focus()
    for key in ("ArrowDown", "ArrowDown", "Space"):
        page.keyboard.press(key)
    assert locks(page) == ["frozen"] * 6 + ["trained"] * 3
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert locks(page) == ["frozen"] * 8 + ["trained"]
    page.keyboard.press("End")
    assert "Block 1," in page.evaluate("document.activeElement.ariaLabel")
    page.keyboard.press("Home")
    assert "Block 9," in page.evaluate("document.activeElement.ariaLabel")
    # One stop of the tab key for the whole stack.
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "kept"


def test_a_lock_that_was_turned_is_said_aloud(page):
    status = page.get_by_role("status")
    block(page, 9).click()
    assert status.inner_text() == "1 of 9 blocks train, 4,725,253 parameters with the head."


def test_sliders_change_what_is_advised_while_they_move(page):
    page.locator("#images").focus()
    page.keyboard.press("End")
    assert page.locator("#images-number").input_value() == "1000000"
    assert said(page, "strategy") == "Fine-tune every block"
    page.locator("#similarity").focus()
    page.keyboard.press("Home")
    assert said(page, "strategy") == "Train from scratch"
    page.locator("#classes").focus()
    page.keyboard.press("End")
    assert said(page, "cell") == "Neither little data nor much"
    page.locator("#images-number").fill("437")
    assert said(page, "reasons").startswith("437 training images of 1000 classes, 0 a class")
    assert said(page, "strategy") == "Train a head on earlier features"


def test_a_number_that_cannot_be_is_marked_and_changes_nothing(page):
    field = page.locator("#images-number")
    for wrong in ("", "0", "2.5", "-3"):
        field.fill(wrong)
        assert field.get_attribute("aria-invalid") == "true"
    assert said(page, "reasons").startswith("300 training images")
    field.blur()
    assert (field.input_value(), field.get_attribute("aria-invalid")) == ("300", None)


def test_nobody_knows_is_what_the_rule_takes_for_it(page):
    page.locator("#unknown").check()
    assert "Nobody said how similar" in said(page, "reasons")
    assert page.locator("#similarity").is_disabled()


def test_the_cell_of_the_map_is_that_of_the_rule(page):
    cell = page.locator("#map .cell.here")
    here = []
    for example in page.locator("#examples button").all():
        example.click()
        assert cell.count() == 1
        here.append(cell.get_attribute("data-cell"))
    assert here == [
        *("small_similar", "small_different", "between_similar", "large_similar", "from_scratch")
    ]


def test_the_dot_lies_in_the_cell_that_is_marked(page):
    outside = page.evaluate(
        """() => {
            const found = [];
            for (const images of [1, 99, 499, 500, 2000, 5100, 1e4, 6e4, 1e6])
                for (const classes of [2, 5, 60])
                    for (const similarity of [0.02, 0.3, 0.7, 0.98]) {
                        Object.assign(state, { images, classes, similarity });
                        show();
                        const dot = document.querySelector("#map .dot");
                        const cell = document.querySelector("#map .here rect").getBBox();
                        const [x, y] = ["cx", "cy"].map((name) => Number(dot.getAttribute(name)));
                        const inside = x > cell.x - 2 && x < cell.x + cell.width + 2
                            && y > cell.y - 2 && y < cell.y + cell.height + 2;
                        if (!inside) found.push([images, classes, similarity]);
                    }
            return found;
        }"""
    )
    assert outside == []


def test_a_click_on_the_map_says_how_much_data_and_how_similar(page):
    page.locator("#map [data-cell=large_different]").click()
    assert said(page, "strategy") == "Fine-tune every block"
    assert page.locator("#map .here").get_attribute("data-cell") == "large_different"
    assert float(said(page, "similarity-number")) == pytest.approx(0.25, abs=0.05)


def test_one_button_sets_the_stack_as_recommended(page):
    page.get_by_role("button", name="300 spectrograms").click()
    assert "its head reads block 9 instead of 6" in said(page, "agreement")
    page.locator("#follow").click()
    assert locks(page) == ["frozen"] * 6 + ["left_out"] * 3
    assert said(page, "agreement") == "The stack is as recommended."
    assert page.locator("#follow").is_disabled()
    page.get_by_role("button", name="40,000 X-rays").click()
    page.locator("#follow").click()
    assert locks(page) == ["trained"] * 9
    assert page.locator("#random").is_checked()


def test_a_stack_of_random_weights_has_no_lock(page):
    page.locator("#random").check()
    assert locks(page) == ["trained"] * 9
    block(page, 4).click()
    assert locks(page) == ["frozen"] * 4 + ["trained"] * 5
    assert not page.locator("#random").is_checked()


@pytest.mark.parametrize("press", [None, 5, 1, "random"])
def test_the_saved_plan_freezes_the_same_blocks(page, press):
    page.locator("#network").select_option("MobileNetV2")
    if press == "random":
        page.locator("#random").check()
    elif press:
        block(page, press).click()
    with page.expect_download() as download:
        page.locator("#save").click()
    assert download.value.suggested_filename == "plan.json"
    text = download.value.path().read_text()
    plan = Plan.from_json(text)
    assert plan.resolve(19) == plan
    frozen = plan.num_blocks - max(stage.unfreeze for stage in plan.stages)
    assert locks(page) == ["frozen"] * frozen + ["trained"] * (19 - frozen)
    assert plan.pretrained is (press != "random")
    # Nothing is lost on the way: what the library writes has the same fields.
    assert plan.to_dict() == json.loads(text)


def test_the_recommended_plan_is_that_of_python(page):
    shown = anatomies()
    situations = itertools.product(range(len(shown)), (300, 4_000, 20_000, 60_000), (0.1, 0.9))
    for at, images, similarity in situations:
        found = page.evaluate(
            """([at, images, similarity]) => {
                const advised = rule.advise(facts.networks[at], images, 7, similarity);
                const all = rule.outcome(facts.networks[at], advised, images, 7);
                return [JSON.stringify(all.plan), all.trainable];
            }""",
            [at, images, similarity],
        )
        expected = advised(shown[at], images, 7, similarity)
        assert Plan.from_json(found[0]) == expected.plan
        assert found[1] == expected.trainable_parameters


def test_every_backbone_can_be_chosen_and_shows_its_blocks(page):
    for anatomy in anatomies():
        page.locator("#network").select_option(anatomy.name)
        assert page.locator(".block").count() == len(anatomy.blocks)
        assert f"--backbone {anatomy.name} " in said(page, "command")


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_everybody_can_use_the_page(open_page, file, size, scheme):
    page = open_page(file, **size, color_scheme=scheme)
    assert findings(page) == []
    block(page, 7).click()
    page.get_by_role("button", name="300 spectrograms").click()
    page.locator("#kept").fill("8")
    assert locks(page) == ["frozen"] * 6 + ["trained"] * 2 + ["left_out"]
    assert findings(page) == []


def test_dark_is_dark(open_page, file):
    light, dark = (colours(open_page(file, color_scheme=scheme)) for scheme in ("light", "dark"))
    assert light != dark
    assert dark[1] == "rgb(21, 24, 27)"


def test_a_phone_need_not_scroll_sideways(open_page, file):
    page = open_page(file, **PHONE)
    for anatomy in anatomies():
        page.locator("#network").select_option(anatomy.name)
        assert sideways_px(page) == 0


def test_print_shows_the_stack_without_what_cannot_be_pressed(page):
    page.emulate_media(media="print")
    assert not page.locator("#follow").is_visible()
    assert not page.locator("#save").is_visible()
    assert page.locator("#trained").is_visible()
    assert colours(page)[1] == "rgb(255, 255, 255)"
    # As wide as A4 paper, it takes about two pages.
    page.set_viewport_size({"width": 720, "height": 1_000})
    assert sideways_px(page) == 0
    assert page.evaluate("document.body.offsetHeight") < 2_200


def test_names_cannot_become_markup(open_page, tmp_path, monkeypatch):
    from ktransfer.pages.simulator import page as module

    shown = anatomies(["VGG16"])[0]
    hostile = "</script><img src=x onerror=alert(1)>{0}"
    changed = type(shown)(hostile, hostile, shown.input_size, shown.blocks)
    monkeypatch.setattr(module, "anatomies", lambda names: (changed,))
    write_simulator(tmp_path / "page.html")
    page = open_page(tmp_path / "page.html")
    assert page.locator("#network option").inner_text() == hostile
    assert page.locator("img").count() == 0
