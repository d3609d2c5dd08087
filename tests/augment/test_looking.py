"""The page of images before and after augmentation."""

import importlib
import json
import os

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import small_network, write_pictures
from PIL import Image, ImageFont

from ktransfer import FineTuner, InputError
from ktransfer.augment import augment, view_seed
from ktransfer.augment.page import Block, Cell, Page, draw_page, fitted
from ktransfer.augment.samples import look
from ktransfer.cli import main
from ktransfer.data import image_dataset, read_folder

CELL = 164


def page_of(path):
    with Image.open(path) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def cells_of(page, rows, columns, *, top=164, row_height=214):
    """The squares of the cells of the first block, by row and column."""
    return [
        [
            page[top + row * row_height :, 32 + column * 174 :][:CELL, :CELL]
            for column in range(columns)
        ]
        for row in range(rows)
    ]


def as_drawn(pixels):
    filter_ = Image.Resampling.NEAREST if CELL / len(pixels) > 2 else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(pixels).resize((CELL, CELL), filter_, reducing_gap=3.0))


def test_page_shows_what_the_network_sees_and_the_views_of_the_training(tmp_path):
    folder = write_pictures(tmp_path / "pictures", 6)
    found = look(folder, tmp_path / "page.png", augmentation="light", input_size=(16, 16), seed=3)
    page = page_of(tmp_path / "page.png")
    assert (page.shape[1], page.shape[0]) == (found.width, found.height)
    splits = read_folder(folder, seed=3)
    paths = [file.path for file in splits.train.files]
    rows = [paths.index(path) for path, _ in found.images]
    assert [label for _, label in found.images] == ["blue", "green", "red"] * 2
    images = np.concatenate([each.numpy() for each, _ in image_dataset(splits.train, (16, 16))])
    for row, cells in zip(rows, cells_of(page, 6, 8), strict=True):
        np.testing.assert_array_equal(cells[1], as_drawn(images[row]))
        for view, cell in enumerate(cells[2:]):
            made = augment(images[row], view_seed(3, row, view), "light", (16, 16)).numpy()
            np.testing.assert_array_equal(cell, as_drawn(made))


def test_same_seed_draws_the_same_page_and_another_one_others(tmp_path):
    folder = write_pictures(tmp_path / "pictures", 6)
    made = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        look(folder, tmp_path / f"{name}.png", augmentation="noise", input_size=(16, 16), seed=seed)
        made.append((tmp_path / f"{name}.png").read_bytes())
    assert made[0] == made[1] != made[2]


def test_without_a_name_every_policy_has_a_block(tmp_path):
    folder = write_pictures(tmp_path / "pictures", 4)
    found = look(folder, tmp_path / "page.png", input_size=(16, 16))
    assert found.augmentations == (
        "light", "standard", "strong", "grey", "blur", "noise", "colour_shift"
    )  # fmt: skip
    assert len(found.images) == 2
    one = look(folder, tmp_path / "one.png", augmentation="none", input_size=(16, 16))
    assert one.width < found.width


def test_grey_turned_tall_and_wide_files_are_drawn_whole_and_bad_ones_named(tmp_path):
    folder = write_pictures(tmp_path / "pictures", 3, classes=("red", "blue"))
    for path in folder.rglob("*.png"):
        path.unlink()
    Image.new("L", (40, 30), 90).save(folder / "red" / "grey.png")
    Image.new("RGB", (4000, 1), "lime").save(folder / "red" / "wide.png")
    Image.new("RGB", (1, 3000), "navy").save(folder / "blue" / "tall.png")
    turned = Image.new("RGB", (60, 30), "white")
    turned.paste((255, 0, 0), (0, 0, 30, 30))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right: what is left comes to the top
    turned.save(folder / "blue" / "turned.jpg", exif=exif)
    noise = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "red" / "cut.png")
    whole = (folder / "red" / "cut.png").read_bytes()
    (folder / "red" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "train").mkdir()
    for name in ("red", "blue"):
        (folder / name).rename(folder / "train" / name)
    write_pictures(folder / "val", 1, classes=("red", "blue"))
    found = look(folder, tmp_path / "page.png", augmentation="none", input_size=(16, 16))
    assert [os.path.basename(each.path) for each in found.skipped] == ["cut.png"]
    page = page_of(tmp_path / "page.png")
    shown = dict(
        zip([os.path.basename(path) for path, _ in found.images], cells_of(page, 4, 1), strict=True)
    )
    assert (shown["grey.png"][0][80, 80] == 90).all()
    top, bottom = shown["turned.jpg"][0][30, 82], shown["turned.jpg"][0][130, 82]
    assert top[0] > 200 > 60 > top[1]
    assert bottom.min() > 240
    assert (shown["wide.png"][0][81, :] == (0, 255, 0)).all()
    assert (shown["tall.png"][0][:, 81] == (0, 0, 128)).all()


@pytest.mark.parametrize(
    "name", ["שלום", "line\nbreak", "x" * 5_000, "日本", "tab\there", "éclair", "\u202eabc", " "]
)
def test_names_of_classes_stay_in_their_cell_whatever_they_are(name):
    shown = fitted(name, 14, CELL)
    font = ImageFont.load_default(14)
    assert len(shown) > 0
    assert font.getlength(shown) <= CELL
    assert shown.isprintable()
    cell = Cell(np.full((4, 4, 3), 200, np.uint8), (name, name))
    picture = draw_page(Page(name, name, (Block("light", name, (name,), ((cell,),)),)))
    outside = np.asarray(picture)[:, 32 + CELL + 1 :]
    assert (outside == 255).all()


def test_names_that_the_font_lacks_are_told_apart():
    assert fitted("éclair à la Ångström", 14, 400) == "eclair a la Angstrom"
    assert fitted("של", 14, CELL) != fitted("שם", 14, CELL)
    assert fitted("line\nbreak", 14, CELL) == r"line\nbreak"
    assert fitted("a" * 100, 14, CELL).endswith("a...")


def test_strong_labels_its_mixed_batches(tmp_path, monkeypatch):
    module = importlib.import_module("ktransfer.augment.samples")
    pages = []
    monkeypatch.setattr(
        module, "write_page", lambda page, path, **options: pages.append(page) or (1, 1)
    )
    look(
        write_pictures(tmp_path / "pictures", 6),
        tmp_path / "page.png",
        augmentation="strong",
        input_size=(16, 16),
    )
    (block,) = pages[0].blocks
    assert block.columns[-2:] == ("mixed batch 1", "mixed batch 2")
    for row in block.rows:
        for cell in row[-2:]:
            shares = [int(line.split("%")[0]) for line in cell.lines]
            assert sum(shares) in (99, 100, 101)
            assert {line.split("% ")[1] for line in cell.lines} <= {"red", "green", "blue"}


def test_what_cannot_be_drawn_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    folder = write_pictures(tmp_path / "pictures", 4)
    for path, message in (
        ("page.jpg", r"page\.jpg' must end in \.png"),
        ("no/page.png", "there is no folder .*no'"),
    ):
        with pytest.raises(InputError, match=message):
            look(folder, tmp_path / path)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match=r"folder\.png' is a folder"):
        look(folder, tmp_path / "folder.png")
    with pytest.raises(InputError, match="unknown augmentation 'lihgt': did you mean light"):
        look(folder, tmp_path / "page.png", augmentation="lihgt")
    (tmp_path / "page.png").write_text("before")

    def full(self, file, *args, **options):
        file.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(InputError, match=r"page\.png' cannot be written: No space left"):
        look(
            folder,
            tmp_path / "page.png",
            augmentation="light",
            input_size=(16, 16),
            overwrite=True,
        )
    assert (tmp_path / "page.png").read_text() == "before"
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "folder.png", "page.png", "pictures"
    ]  # fmt: skip


def test_no_image_that_can_be_decoded_is_an_error(tmp_path):
    folder = write_pictures(tmp_path / "pictures", 4)
    for path in folder.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(
        InputError, match=r"none of the \d+ training images can be decoded; .*trunc"
    ):
        look(folder, tmp_path / "page.png", augmentation="light", input_size=(16, 16))


def test_a_tuner_looks_with_its_own_size_and_seed(tmp_path):
    folder = write_pictures(tmp_path / "pictures", 4)
    tuner = FineTuner(small_network(), seed=5, verbose=False)
    tuner.look(folder, tmp_path / "one.png", augmentation="standard")
    look(folder, tmp_path / "two.png", augmentation="standard", input_size=(16, 16), seed=5)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_the_command_draws_the_page_and_says_what_is_on_it(tmp_path, monkeypatch):
    folder = write_pictures(tmp_path / "pictures", 4)
    run = CliRunner()
    page = str(tmp_path / "page.png")
    arguments = ["look", str(folder), "--out", page, "--overwrite", "--augmentation", "grey"]
    done = run.invoke(main, [*arguments, "--input-size", "16", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["augmentations"] == ["grey"]
    assert said["input_size"] == [16, 16]
    assert len(said["images"]) == 6
    assert page_of(tmp_path / "page.png").shape[:2] == (said["height"], said["width"])
    done = run.invoke(main, [*arguments, "--backbone", "xception"])
    assert "Policies      grey" in done.stdout
    for more, message in (
        (["--backbone", "hub:resnet"], "give --input-size N"),
        (["--backbone", "ResNet5"], "did you mean ResNet50"),
        (["--augmentation", "gray"], "'gray' is not one of"),
    ):
        done = run.invoke(main, [*arguments, *more])
        assert done.exit_code == 2
        assert message in done.output
