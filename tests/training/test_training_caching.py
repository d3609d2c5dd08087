"""Whether what the frozen blocks say is kept, and the sentence that says why."""

import re

import numpy as np
import pytest
from conftest import write_pictures
from training_networks import make_stage, network_of, source_of, three_blocks

from ktransfer import InputError
from ktransfer.cache import Store
from ktransfer.features import RowSource
from ktransfer.training import CACHE_MODES, caching, check_cache_mode


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("caching") / "pictures", 5)


@pytest.fixture
def source(folder):
    return source_of(folder, network_of(three_blocks()), budget_mb=64)


def decision(source, mode="auto", **fields):
    return caching.decide(make_stage(**fields), source.network, source, mode)


def takes(monkeypatch, seconds_per_image):
    monkeypatch.setattr(RowSource, "seconds_per_image", lambda source, cut: seconds_per_image)


def test_modes_are_checked_and_near_names_given():
    for mode in CACHE_MODES:
        check_cache_mode(mode)
    with pytest.raises(InputError, match="unknown cache 'of': did you mean off"):
        check_cache_mode("of")
    with pytest.raises(InputError, match="unknown cache 'True'"):
        check_cache_mode(True)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"unfreeze": 3}, "nothing is frozen: only the decoded images are kept"),
        ({"augmentation": "light"}, r"light makes a new view .* \(views=4 would fix four views"),
        ({"augmentation": "standard", "unfreeze": 1}, "standard makes a new view of each image"),
        ({"augmentation": "strong"}, "strong mixes the images of each batch, so the frozen blocks"),
    ],
)
def test_unsound_caching_is_named_and_refused_where_asked_for(source, fields, why):
    for mode in ("auto", "off"):
        found = decision(source, mode, **fields)
        assert not found.cached
        assert re.match(why, found.reason)
    with pytest.raises(InputError, match=rf'cache="on", but stage .one. cannot be cached: {why}'):
        decision(source, "on", **fields)


def test_of_chosen_cuts_the_last_one_before_the_stage_is_read(source, monkeypatch):
    monkeypatch.setattr(RowSource, "seconds_per_image", None)
    for unfreeze, mode, expected in (
        (0, (1,), (True, 0)),  # features always
        (2, (1,), (True, 0)),
        (1, [1], (False, 1)),
        (1, (), (False, 0)),
        (1, (2,), (True, 0)),
        (2, (2,), (False, 0)),
    ):
        found = decision(source, mode, unfreeze=unfreeze)
        assert (found.cached, found.start) == expected
    assert "the frozen blocks from block 1 on run" in decision(source, (1,), unfreeze=1).reason
    assert "the frozen blocks from the images on run" in decision(source, (), unfreeze=1).reason
    assert "makes a new view" in decision(source, (1,), augmentation="light", unfreeze=1).reason


@pytest.mark.parametrize("cuts", [(0,), (4,), (1.5,), (True,), ["1"]])
def test_cuts_that_there_are_not_are_refused(source, cuts):
    with pytest.raises(InputError, match="are numbers of first blocks, from 1 to 3, got"):
        decision(source, cuts, unfreeze=1)


def test_off_is_off_and_runs_nothing(source, monkeypatch):
    monkeypatch.setattr(RowSource, "seconds_per_image", None)
    found = decision(source, "off")
    assert (found.cached, found.reason) == (False, 'not cached: cache="off"')


@pytest.mark.parametrize("store", [True, False])
def test_what_was_computed_before_is_not_weighed_again(folder, tmp_path, monkeypatch, store):
    store = Store(tmp_path / "cache") if store else None
    source = source_of(folder, network_of(three_blocks()), store=store)
    takes(monkeypatch, 0.0)
    source.rows("train", 2)
    assert not decision(source, unfreeze=1).cached, "of validation nothing was computed"
    source.rows("validation", 2)
    if store:
        source = source_of(folder, network_of(three_blocks()), store=store)
    monkeypatch.setattr(RowSource, "seconds_per_image", None)
    found = decision(source, unfreeze=1)
    assert (found.cached, found.reason) == (
        True,
        "cached: what block 2 of 3 says was computed before",
    )
    assert not decision(source, "off", unfreeze=1).cached


def test_rows_of_blocks_that_have_moved_since_are_weighed_again(folder, monkeypatch):
    source = source_of(folder, network_of(three_blocks()))
    for part in ("train", "validation"):
        source.rows(part, 2)
    source.network.backbone.model.get_layer("conv_1").kernel.assign_add(
        np.ones((3, 3, 3, 4), np.float32)
    )
    takes(monkeypatch, 0.0)
    assert "would not pay" in decision(source, unfreeze=1).reason


def test_too_little_space_is_said_and_an_error_where_asked_for(source, monkeypatch):
    takes(monkeypatch, 1.0)
    monkeypatch.setattr(source, "free_mb", lambda: 0.0)
    found = decision(source, unfreeze=1)
    assert not found.cached
    assert found.reason.startswith("not cached, for want of space: 15 rows of 4 x 4 x 5 behind ")
    assert "(0 free)" in found.reason
    with pytest.raises(
        InputError, match=r'cache="on", but stage .one. does not fit: 15 rows .*free'
    ):
        decision(source, "on", unfreeze=1)


def test_what_does_not_pay_is_not_cached_unless_asked_for(source, monkeypatch):
    takes(monkeypatch, 0.0)
    found = decision(source, unfreeze=1)
    assert not found.cached
    assert found.reason.startswith("not cached, since it would not pay: 15 rows")
    assert decision(source, "on", unfreeze=1).cached
    # One epoch runs the frozen blocks as often as the cache would.
    takes(monkeypatch, 1.0)
    assert not decision(source, unfreeze=1, epochs=1).cached
    assert decision(source, unfreeze=1, epochs=2).cached


def test_features_for_the_head_are_always_kept(source, monkeypatch):
    takes(monkeypatch, 0.0)
    assert decision(source, unfreeze=0, epochs=1).cached


@pytest.mark.parametrize(
    ("fields", "rows", "shape"),
    [
        ({"unfreeze": 0}, 15, (6,)),
        ({"unfreeze": 1}, 15, (4, 4, 5)),
        ({"unfreeze": 2}, 15, (8, 8, 4)),
        # Four views of each of the 12 training images, one of the 3 others.
        ({"unfreeze": 2, "augmentation": "light", "views": 4}, 51, (8, 8, 4)),
    ],
)
def test_the_sentence_has_the_true_figures(source, monkeypatch, fields, rows, shape):
    takes(monkeypatch, 1.0)
    found = decision(source, **fields, epochs=10)
    assert found.cached
    size = rows * np.prod(shape) * 4 / 2**20
    words = " x ".join(map(str, shape))
    cut = 3 - fields["unfreeze"]
    assert found.reason.startswith(
        f"cached: {rows} rows of {words} behind block {cut} of 3 take {size:,.1f} MB (64 free) and "
        f"about {rows:.1f} s; each epoch then saves about 15.0 s, "
    )
    saved = float(found.reason.split()[-4])
    assert saved == pytest.approx(150 - rows, abs=0.2)
    held = source.rows("train", cut).nbytes + source.rows("validation", cut).nbytes
    if "views" not in fields:
        assert size == pytest.approx(held / 2**20)


def test_float16_takes_half(folder, monkeypatch):
    takes(monkeypatch, 1.0)
    source = source_of(folder, network_of(three_blocks(size=128)), dtype="float16")
    # 15 rows of 64 x 64 x 4 numbers of two bytes.
    assert "take 0.5 MB" in decision(source, unfreeze=2).reason


def test_space_is_that_of_the_memory_or_the_disk_whichever_is_more(folder, tmp_path):
    store = Store(tmp_path / "store", limit_mb=5)
    assert source_of(folder, store=store, budget_mb=2).free_mb() == 5
    assert source_of(folder, store=store, budget_mb=9).free_mb() == 9
    assert source_of(folder, store=None, budget_mb=2).free_mb() == 2


def test_the_time_of_an_image_is_measured_at_the_cut(source):
    assert 0 < source.seconds_per_image(2) < 1
