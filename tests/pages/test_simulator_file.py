"""What the simulator is written from, and that it is written whole; no browser is needed."""

import json
import subprocess
import sys

import pytest
import tensorflow  # noqa: F401 - before click's runner replaces the standard streams
from click.testing import CliRunner

from ktransfer import InputError, cli
from ktransfer.backbones import list_backbones
from ktransfer.pages import write_simulator
from ktransfer.pages.simulator.anatomy import SHIPPED, anatomies, measure


def run(*args):
    return CliRunner().invoke(cli.main, [str(each) for each in args])


def test_anatomies_that_ship_agree_with_the_catalog():
    known = {each.name: each for each in list_backbones()}
    shown = anatomies()
    assert [each.name for each in shown] == list(SHIPPED)
    for anatomy in shown[1:]:
        of_catalog = known[anatomy.name]
        assert (len(anatomy.blocks), anatomy.input_size) == (
            of_catalog.blocks,
            of_catalog.input_size,
        )
        # EfficientNet's preprocessing has seven weights, which are in no block.
        blocks = sum(each.parameters for each in anatomy.blocks)
        assert of_catalog.parameters - blocks in (0, 7)


def test_resnet_18_has_the_parameters_of_the_paper():
    resnet = anatomies()[0]
    # torchvision's 11,689,512 less a classifier of 1,000, and the statistics of batch norm.
    statistics = 2 * (64 + 4 * 64 + 5 * 128 + 5 * 256 + 5 * 512)
    blocks = sum(each.parameters for each in resnet.blocks)
    assert blocks == 11_689_512 - 513_000 + statistics
    assert resnet.blocks[-1].output[-1] == 512


def test_an_anatomy_that_ships_is_what_is_built():
    assert measure("MobileNetV2") == anatomies(["mobilenetv2"])[0]


def test_a_backbone_that_does_not_ship_is_built():
    (small,) = anatomies(["MobileNetV3Small"])
    assert (len(small.blocks), small.title) == (13, "MobileNetV3Small")


def test_the_page_is_small(tmp_path):
    write_simulator(tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 150_000


def test_a_page_that_is_there_is_kept_unless_it_may_be_replaced(tmp_path):
    file = tmp_path / "page.html"
    file.write_text("mine")
    with pytest.raises(InputError, match=r"page\.html' exists"):
        write_simulator(file)
    assert file.read_text() == "mine"
    write_simulator(file, ["VGG16"], overwrite=True)
    assert file.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("name", "backbones", "said"),
    [
        ("page.png", [], "page.png' must end in "),
        ("page.html", ["VGG116"], "unknown backbone 'VGG116': did you mean VGG16"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(tmp_path, name, backbones, said):
    with pytest.raises(InputError, match=said):
        write_simulator(tmp_path / name, backbones)
    options = [word for each in backbones for word in ("--backbone", each)]
    result = run("simulate", "--out", tmp_path / name, *options)
    assert (result.exit_code, said in result.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_it_wrote(tmp_path):
    file = tmp_path / "page.html"
    backbones = ("--backbone", "vgg16", "--backbone", "ResNet50", "--backbone", "VGG16")
    result = run("simulate", "--out", file, *backbones, "--json")
    found = json.loads(result.stdout)
    assert found["backbones"] == [
        {"name": "VGG16", "blocks": 5},
        {"name": "ResNet50", "blocks": 17},
    ]
    assert found["size"] == file.stat().st_size
    shown = run("simulate", "--out", file, "--overwrite").stdout
    assert "ResNet-18 (9 blocks)" in shown
    assert f"{file}: open it in a browser" in " ".join(shown.split())


def test_neither_keras_nor_a_template_is_imported_before_it_is_needed(tmp_path):
    script = (
        "import sys; import ktransfer.cli, ktransfer.pages; assert 'jinja2' not in sys.modules; "
        "from ktransfer.pages import write_simulator; write_simulator(sys.argv[1]); "
        "assert not {'keras', 'tensorflow'} & set(sys.modules), 'slow'"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "page.html")], check=True)
