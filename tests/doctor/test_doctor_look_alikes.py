"""Sets in which every image looks like many others: copies are found there, and nothing else."""

import io
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from bad_folder import encoded, photo
from PIL import Image

from ktransfer.data import read_listing
from ktransfer.doctor import closer, sameness
from ktransfer.doctor.examining import Examined
from ktransfer.doctor.grouping import around_centres, copies_among
from ktransfer.doctor.inspection import RECORD
from ktransfer.doctor.sizes import size_findings
from ktransfer.doctor.subject import of_listing

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from look_alikes import CHANGES, LOOK_ALIKES, write_with_copies


def examined(root):
    """As `examine`, without processes of its own."""
    subject = of_listing(read_listing(root))
    return Examined(subject, data="a set", verbose=False, quick=True)


def found_in(report, kind):
    return {
        tuple(sorted(group))
        for finding in report.findings
        if finding.kind == kind
        for group in finding.paths
    }


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_copies_are_told_from_what_looks_like_them(tmp_path, name):
    images = list(LOOK_ALIKES[name](40, 3))
    planted = write_with_copies(images, tmp_path, copies=2)
    report = examined(tmp_path).report
    copies = {tuple(sorted(pair)) for _, *pair in planted}
    found = found_in(report, "near_duplicate")
    assert found <= copies
    # Of pictures under common axes a cropped one has them in another place.
    sought = {
        tuple(sorted(pair))
        for change, *pair in planted
        if (name, change) != ("spectrograms", "cropped")
    }
    assert found >= sought
    assert not found_in(report, "leak")


def close(image):
    return np.asarray(image.convert("L").resize((closer.CLOSE_PX,) * 2))


def agreement(one, other, crop=(0.0,) * 4):
    images = np.stack([close(one), close(other)])
    return float(closer.agreements(images, np.array([[0, 1]]), np.array([crop]))[0])


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_agrees_with_its_photo(change):
    copy = Image.open(io.BytesIO(CHANGES[change](photo(1, (320, 240)))))
    assert agreement(photo(1, (320, 240)), copy) > 0.95


def test_what_is_cropped_is_laid_where_it_was():
    whole = photo(2, (400, 300))
    copy = whole.crop((24, 9, 392, 282))
    exact = (9 / 300, 18 / 300, 24 / 400, 8 / 400)
    assert agreement(whole, copy, exact) > 0.97
    assert agreement(whole, copy, (0.05, 0.05, 0.05, 0.05)) > 0.97


def test_agreement_is_of_what_is_shown():
    assert agreement(photo(1), photo(2)) < 0.4
    # Where neither shows anything there is nothing to disagree on.
    assert agreement(Image.new("L", (64, 64), 90), Image.new("L", (64, 64), 120)) == 1.0
    assert agreement(photo(1), Image.new("L", (64, 64), 90)) < 0.5
    nothing = closer.agreements(
        np.empty((0, closer.CLOSE_PX, closer.CLOSE_PX), np.uint8),
        np.empty((0, 2), int),
        np.empty((0, 4)),
    )
    assert nothing.shape == (0,)


def test_every_pair_is_in_a_group_whose_members_agree_with_one():
    random = np.random.default_rng(0)
    pairs = {tuple(sorted(each)) for each in random.integers(0, 60, (80, 2)).tolist()}
    pairs = sorted(pair for pair in pairs if pair[0] != pair[1])
    groups = around_centres(pairs)
    assert all(any(set(pair) <= set(group) for group in groups) for pair in pairs)
    for group in groups:
        assert any(
            all(tuple(sorted((centre, each))) in pairs for each in group if each != centre)
            for centre in group
        )
    assert around_centres([]) == []


CHAIN = np.array([[at, at + 1] for at in range(9)])


def test_a_chain_is_no_group_of_copies():
    differences = np.full(9, 0.1)
    assert not copies_among(CHAIN, differences, 1_000).any()
    # One that differs far less than the links of the chain is a copy in it.
    differences[4] = 0.02
    assert copies_among(CHAIN, differences, 1_000).nonzero()[0].tolist() == [4]


def test_a_photo_and_its_copies_are_no_chain():
    star = np.array([[0, at] for at in range(1, 9)])
    assert copies_among(star, np.full(8, 0.1), 1_000).all()
    assert not copies_among(star, np.full(8, 0.3), 1_000).any()


def test_where_many_are_alike_copies_stand_out():
    pairs = np.arange(20).reshape(10, 2)
    differences = np.array([0.4] * 8 + [0.15, 0.05])
    assert copies_among(pairs, differences, 100).nonzero()[0].tolist() == [9]
    # Among so many images ten pairs that are alike are no crowd.
    assert copies_among(pairs, differences, 1_000).nonzero()[0].tolist() == [8, 9]
    # Nor are three, however few images there are.
    assert copies_among(pairs[7:], differences[7:], 20).nonzero()[0].tolist() == [1, 2]
    # Many clear copies are none either.
    assert copies_among(pairs, np.full(10, 0.04), 20).all()


def write_leak(root, *, same_bytes):
    for part in ("train", "val"):
        for name in ("a", "b"):
            (root / part / name).mkdir(parents=True)
            for at in range(3):
                seed = len(part) * 100 + ord(name) * 10 + at
                photo(seed).save(root / part / name / f"{at}.png")
    photo(1).save(root / "train/a/x.png")
    (root / "val/a/x.jpg").write_bytes(encoded(photo(1), "JPEG", quality=70))
    (root / "train/b/y.jpg").write_bytes(encoded(photo(1), "JPEG", quality=60))
    if same_bytes:
        photo(2).save(root / "train/a/z.png")
        photo(2).save(root / "val/b/z.png")


@pytest.mark.parametrize("same_bytes", [False, True])
def test_what_only_looks_the_same_is_a_warning(tmp_path, same_bytes):
    write_leak(tmp_path, same_bytes=same_bytes)
    found = {each.kind: each for each in examined(tmp_path).report.findings}
    for kind in ("leak", "conflicting_labels"):
        assert found[kind].severity == ("error" if same_bytes else "warning")
        assert found[kind].count == 1 + same_bytes


def outliers(sizes):
    """What is found of images of these sizes."""
    records = np.zeros(len(sizes), RECORD)
    records["seen"] = True
    records["width"], records["height"] = np.array(sizes).T
    subject = types.SimpleNamespace(paths=lambda indices: tuple(f"{at}.png" for at in indices))
    return list(size_findings(subject, records))


def test_a_few_images_of_quite_another_size_are_named():
    (found,) = outliers([(100, 100)] * 2_059 + [(3_024, 3_024), (3_024, 4_032), (20, 24)])
    assert (found.kind, found.severity, found.count) == ("size_outlier", "warning", 3)
    assert found.message == (
        "3 images are of quite another size than the rest, such as 100 x 100 pixels"
    )
    assert found.paths == (("2059.png",), ("2060.png",), ("2061.png",))
    assert found.reasons == ("3,024 x 3,024 pixels", "3,024 x 4,032 pixels", "20 x 24 pixels")


def test_sizes_that_vary_are_no_outliers():
    assert outliers([(100, 100)] * 60 + [(60, 150), (300, 300)]) == []
    assert outliers([(100, 100)] * 18 + [(900, 900)]) == [], "of so few none is usual"
    assert outliers([(20 * at, 15 * at) for at in range(2, 60)]) == []
    assert outliers([(100, 100)] * 60 + [(8, 8)]) == [], "that is tiny"
    assert outliers([(100, 100)] * 30 + [(900, 900)] * 30) == [], "two usual sizes"


def test_sizes_are_among_the_findings(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    for at in range(20):
        photo(at, (40, 40)).save(tmp_path / "ab"[at % 2] / f"{at}.png")
    photo(99, (400, 400)).save(tmp_path / "a" / "odd.png")
    found = found_in(examined(tmp_path).report, "size_outlier")
    assert found == {(str(tmp_path / "a" / "odd.png"),)}


def test_an_image_that_vanished_before_the_closer_look_agrees_with_nothing(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    photo(1).save(tmp_path / "a/1.png")
    photo(1).save(tmp_path / "b/1.webp", quality=80)
    assert len(examined(tmp_path).same.near) == 1
    found = sameness.near_pairs

    def then_gone(*args):
        (tmp_path / "a/1.png").unlink()
        return found(*args)

    monkeypatch.setattr(sameness, "near_pairs", then_gone)
    assert examined(tmp_path).same.near == ()
