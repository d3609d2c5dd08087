"""Watched processes: a decoder that crashes or hangs is named, and the rest is looked at."""

import os
import sys
import textwrap

import numpy as np
import pytest
from bad_folder import encoded, photo
from PIL import Image

from ktransfer import RunError
from ktransfer.doctor import crew
from ktransfer.doctor.inspection import MODES, inspect_file

CRASH, HANG = "its decoder crashed (SIGKILL)", "its decoder took longer than 3 s"


@pytest.fixture
def photos(tmp_path):
    paths = []
    for seed in range(40):
        paths.append(str(tmp_path / f"{seed:02}.jpg"))
        photo(seed).save(paths[-1])
    return paths


@pytest.fixture
def bad_decoder(tmp_path, monkeypatch):
    """Files named `crash` kill the process that reads them, files named `hang` never end."""
    spoilt = tmp_path / "spoilt"
    spoilt.mkdir()
    # Run by every Python that starts with this folder in its path.
    (spoilt / "sitecustomize.py").write_text(
        textwrap.dedent(
            """
            import builtins, os, signal, time
            real = builtins.open
            def spoilt(path, *args, **options):
                name = os.path.basename(str(path))
                if "crash" in name:
                    os.kill(os.getpid(), signal.SIGKILL)
                if "hang" in name:
                    time.sleep(600)
                return real(path, *args, **options)
            builtins.open = spoilt
            """
        )
    )
    monkeypatch.syspath_prepend(spoilt)


def test_a_crash_and_a_hang_are_named_and_the_rest_is_looked_at(tmp_path, photos, bad_decoder):
    for at, name in ((3, "crash"), (4, "crash too"), (20, "hang"), (39, "crash at the end")):
        photos[at] = str(tmp_path / f"{name}.jpg")
        photo(at).save(photos[at])
    records, faults = crew.inspect_all(photos, processes=2, file_limit_s=3.0)
    assert faults == {3: CRASH, 4: CRASH, 20: HANG, 39: CRASH}
    assert np.flatnonzero(~records["seen"]).tolist() == [3, 4, 20, 39]


def test_processes_see_what_one_look_sees(photos):
    calls = []
    records, faults = crew.inspect_all(
        photos, processes=2, progress=lambda *done: calls.append(done)
    )
    assert faults == {}
    assert max(calls) == (40, 40)
    for path, found in zip(photos, records, strict=True):
        assert found == inspect_file(path)[0]
    threaded, faults = crew.inspect_in_threads(photos)
    assert faults == {}
    np.testing.assert_array_equal(threaded, records)


def test_big_images_are_decoded_one_at_a_time(tmp_path, monkeypatch):
    paths = []
    for number in range(40):
        paths.append(str(tmp_path / f"{number}.png"))
        size = (5_100, 5_000) if number in (0, 20, 39) else (20, 20)
        Image.new("L", size, number).save(paths[-1], compress_level=1)
    asked = []
    real = crew._Watched._next

    def heard(*process):
        answer = real(*process)
        if answer == crew.BIG:
            asked.append(process)
        return answer

    monkeypatch.setattr(crew._Watched, "_next", heard)
    records, faults = crew.inspect_all(paths, processes=2)
    assert faults == {}
    assert records["seen"].all()
    assert len(asked) == 3


def test_a_process_that_does_not_start_is_an_error_and_no_fault_of_the_files(
    photos, tmp_path, monkeypatch
):
    (tmp_path / "imagehash.py").write_text("raise ImportError('of a test')")
    monkeypatch.syspath_prepend(tmp_path)
    why = "the process that looks at images does not start: ImportError: of a test"
    with pytest.raises(RunError, match=f"^{why}$"):
        crew.inspect_all(photos)


def test_modules_in_the_folder_of_photos_are_not_run(photos, tmp_path, monkeypatch):
    for name in ("numpy", "imagehash", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'was run')!r}, 'x')")
    monkeypatch.chdir(tmp_path)
    # As in a notebook, whose own path begins with the current folder.
    monkeypatch.setattr("sys.path", ["", *sys.path])
    records, faults = crew.inspect_all(photos, processes=1)
    assert faults == {}
    assert records["seen"].all()
    assert not (tmp_path / "was run").exists()


def test_no_files_start_no_process(monkeypatch):
    monkeypatch.setattr(crew, "Worker", None)
    records, faults = crew.inspect_all([])
    assert len(records) == 0
    assert faults == {}


def test_a_look_agrees_with_pillow(tmp_path):
    path = tmp_path / "a.png"
    photo(3).convert("RGBA").save(path)
    found, fault = inspect_file(str(path))
    assert fault is None
    assert (found["width"], found["height"]) == (160, 120)
    assert MODES[found["mode"]] == "RGBA"
    expected = photo(3).resize((32, 32), Image.Resampling.LANCZOS).convert("L")
    assert np.abs(np.asarray(expected, int) - found["thumbnail"]).max() <= 2
    assert not found["grey"]
    assert found["alpha"]


def test_a_16_bit_image_shows_what_its_8_bit_copy_shows(tmp_path):
    grey = np.asarray(photo(4).convert("L"))
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "b.png")
    Image.fromarray(grey.astype(np.float32) / 255).save(tmp_path / "c.tif")
    shallow, *deep = (inspect_file(str(tmp_path / name))[0] for name in ("a.png", "b.png", "c.tif"))
    assert not shallow["deep"]
    for each in deep:
        assert each["deep"]
        assert each["grey"]
        difference = shallow["thumbnail"].astype(int) - each["thumbnail"]
        assert np.abs(difference).mean() < 3
        assert int(shallow["hash"] ^ each["hash"]).bit_count() <= 4


def test_a_copy_by_link_or_rename_has_the_same_digest_and_another_photo_has_not(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded(photo(5), "JPEG"))
    (tmp_path / "b.jpg").write_bytes(encoded(photo(6), "JPEG"))
    os.symlink(tmp_path / "a.jpg", tmp_path / "c.jpg")
    a, b, c = (
        inspect_file(str(tmp_path / name))[0]["digest"].tobytes()
        for name in ("a.jpg", "b.jpg", "c.jpg")
    )
    assert a == c != b
