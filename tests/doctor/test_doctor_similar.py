"""Near duplicates: copies are found, and photos that only look alike are not."""

import io

import numpy as np
import pytest
from bad_folder import encoded, photo
from PIL import Image, ImageEnhance

from ktransfer.doctor import similar
from ktransfer.doctor.close_up import close_ups_of
from ktransfer.doctor.crew import inspect_all
from ktransfer.doctor.grouping import components
from ktransfer.doctor.inspection import RECORD, inspect_file
from ktransfer.doctor.sameness import find_same


def records_of(tmp_path, contents):
    found = np.zeros(len(contents), RECORD)
    for at, content in enumerate(contents):
        path = tmp_path / f"{at}.img"
        path.write_bytes(content)
        found[at], fault = inspect_file(str(path))
        assert fault is None
    return found


class Files:
    """Paths by position, as `ImageFiles` has them."""

    value_range = None

    def __init__(self, paths):
        self.name = [str(path) for path in paths].__getitem__


def same_of(tmp_path, contents, **options):
    """Which of these files are the same."""
    records = records_of(tmp_path, contents)
    files = Files(tmp_path / f"{at}.img" for at in range(len(contents)))
    return find_same(records, closer=close_ups_of(files), **options)


def test_the_search_finds_what_comparing_all_with_all_finds(monkeypatch):
    random = np.random.default_rng(0)
    monkeypatch.setattr(similar, "_BLOCK", 37)
    hashes = random.integers(0, 2**63, 300, dtype=np.uint64)
    hashes[100:200] = hashes[:100] ^ (np.uint64(1) << random.integers(0, 60, 100, dtype=np.uint64))
    hashes[200:220] = hashes[5]
    proposed, limit = similar._proposals(hashes, 10_000)
    slow = {
        (i, j)
        for i in range(300)
        for j in range(i + 1, 300)
        if int(hashes[i] ^ hashes[j]).bit_count() <= similar.MAX_DISTANCE
    }
    assert {tuple(pair) for pair in proposed.tolist()} == slow
    assert len(proposed) == len(slow)
    assert limit == similar.MAX_DISTANCE


def test_a_crowd_of_look_alikes_narrows_the_search(monkeypatch):
    monkeypatch.setattr(similar, "_BLOCK", 64)
    random = np.random.default_rng(1)
    flips = np.uint64(1) << random.integers(0, 60, (500, 5), dtype=np.uint64)
    hashes = np.bitwise_xor.reduce(flips, axis=1)
    proposed, limit = similar._proposals(hashes, 1_000)
    assert limit < similar.MAX_DISTANCE
    assert len(proposed) <= 1_000
    apart = [int(hashes[i] ^ hashes[j]).bit_count() for i, j in proposed.tolist()]
    assert max(apart) <= limit
    same, limit = similar._proposals(np.zeros(500, np.uint64), 1_000)
    assert len(same) == 1_000
    assert limit == 0


def test_copies_are_joined_and_other_photos_are_not(tmp_path):
    contents = [encoded(photo(seed), "PNG") for seed in range(30)]
    contents += [encoded(photo(4).resize((80, 60)), "JPEG"), encoded(photo(4), "WEBP", quality=60)]
    same = same_of(tmp_path, contents)
    assert [group.tolist() for group in same.near] == [[4, 30, 31]]
    assert same.exact == ()


def textured(texture_seed):
    """The blobs of photo 1 under a texture of its own, as two X-rays share the ribs."""
    texture = np.random.default_rng(texture_seed).integers(-60, 61, (32, 32)).astype(np.float32)
    large = np.asarray(Image.fromarray(texture).resize((320, 240), Image.Resampling.BICUBIC))
    blobs = np.asarray(photo(1).resize((320, 240)), np.float32) * 0.5 + 64
    return Image.fromarray(np.clip(blobs + large[..., np.newaxis], 0, 255).astype(np.uint8))


def test_what_differs_in_detail_only_is_proposed_and_not_confirmed(tmp_path):
    contents = [encoded(textured(seed), "PNG") for seed in range(1, 6)]
    proposed, _ = similar._proposals(records_of(tmp_path, contents)["hash"], 100)
    assert len(proposed) >= 1
    assert same_of(tmp_path, contents).near == ()


@pytest.mark.parametrize("edges", [(0.05, 0.05, 0.05, 0.05), (0.06, 0, 0, 0), (0, 0, 0, 0.06)])
def test_a_cropped_copy_is_found_by_laying_it_on_the_whole(tmp_path, edges):
    left, top, right, bottom = edges
    whole = textured(1)
    width, height = whole.size
    box = (left * width, top * height, width - right * width, height - bottom * height)
    contents = [encoded(whole, "PNG"), encoded(whole.crop(box), "PNG")]
    records = records_of(tmp_path, contents)
    as_they_are = [
        similar._unit(similar._detail(records["thumbnail"][[at]] * 1.0)) for at in (0, 1)
    ]
    assert (as_they_are[0] * as_they_are[1]).sum() < similar.MIN_DETAIL
    assert [group.tolist() for group in same_of(tmp_path, contents).near] == [[0, 1]]


def test_blank_images_are_no_near_duplicates(tmp_path):
    contents = [
        encoded(Image.new("RGB", (64, 64), (shade,) * 3), "PNG") for shade in range(0, 250, 9)
    ]
    noise = np.random.default_rng(0).integers(120, 122, (5, 64, 64), dtype=np.uint8)
    contents += [encoded(Image.fromarray(each), "PNG") for each in noise]
    # One grey level of difference is no detail, be it the same in both.
    steps = [
        np.pad(np.full((64, 32), at + 1, np.uint8), ((0, 0), (32, 0)), constant_values=at)
        for at in (50, 150)
    ]
    contents += [encoded(Image.fromarray(each), "PNG") for each in steps]
    assert same_of(tmp_path, contents).near == ()


def test_equal_bytes_are_one_content_in_a_near_group(tmp_path):
    contents = [encoded(photo(1), "PNG")] * 3 + [encoded(photo(1), "JPEG", quality=50)]
    same = same_of(tmp_path, contents)
    assert [group.tolist() for group in same.exact] == [[0, 1, 2]]
    assert [group.tolist() for group in same.near] == [[0, 1, 2, 3]]
    assert [group.tolist() for group in same.groups] == [[0, 1, 2, 3]]
    assert same_of(tmp_path, contents, near=False).near == ()


def test_components_join_chains_that_meet_late():
    assert components([(1, 2), (3, 4), (5, 6), (4, 5), (2, 6)]) == [[1, 2, 3, 4, 5, 6]]
    assert components([]) == []


CHANGES = {
    "half": lambda image: image.resize((image.width // 2, image.height // 2)),
    "square": lambda image: image.resize((224, 224)),
    "as it is": lambda image: image,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "grey": lambda image: image.convert("L"),
    "cropped": lambda image: image.crop(
        (image.width // 33, image.height // 33, image.width * 32 // 33, image.height * 32 // 33)
    ),
}


@pytest.mark.shared
@pytest.mark.parametrize("data", ["ants_bees", "flowers"])
def test_copies_of_real_photos_are_found(shared, tmp_path, data):
    paths = sorted((shared / "data" / data).glob("*/*/*.jpg"))[::40][:40]
    found = {}
    for name, change in CHANGES.items():
        hits = 0
        for path in paths:
            with Image.open(path) as opened:
                image = opened.convert("RGB")
            copy = io.BytesIO()
            change(image).save(copy, "JPEG", quality=70)
            hits += len(same_of(tmp_path, [path.read_bytes(), copy.getvalue()]).near)
        found[name] = hits / len(paths)
    assert min(found.values()) >= 0.9, found


HIDDEN = {
    "ants_bees": ([], []),
    "steel_defects": (
        [["patches_101.jpg", "patches_105.jpg"]],
        [
            ["patches_189.jpg", "patches_193.jpg"],
            ["patches_2.jpg", "patches_5.jpg"],
            ["pitted_surface_171.jpg", "pitted_surface_292.jpg"],
            ["scratches_178.jpg", "scratches_185.jpg"],
        ],
    ),
    "chest_xray": (
        [["00002658_001.jpg", "00002658_002.jpg"]],
        [
            [
                "E63574A7-4188-4C8D-8D17-9D67A18A1AFA.jpg",
                "F4341CE7-73C9-45C6-99C8-8567A5484B63.jpg",
            ]
        ],
    ),
}


@pytest.mark.shared
@pytest.mark.parametrize(
    "data",
    [
        "ants_bees",
        *(pytest.param(each, marks=pytest.mark.slow) for each in HIDDEN if each != "ants_bees"),
    ],
)
def test_what_real_folders_hide_is_found_and_nothing_else(shared, data):
    exact, near = HIDDEN[data]
    paths = sorted(map(str, (shared / "data" / data).rglob("*.*")))
    records, faults = inspect_all(paths)
    assert faults == {}
    same = find_same(records, closer=close_ups_of(Files(paths)))

    def names(groups):
        return [[paths[at].rpartition("/")[2] for at in group] for group in groups]

    assert names(same.exact) == exact
    assert names(same.near) == near
