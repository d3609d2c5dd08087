"""Fixtures that several test modules share: small folders of pictures and a small network."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest

# Fixtures. Not in a conftest of its own: tests say `from conftest import`, and of two of that name
# they get the one that pytest has read last.
from pages.browser import browser, open_page  # noqa: F401
from PIL import Image

COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (210, 50, 40)}


def write_pictures(folder: Path, per_class: int, *, classes=tuple(COLOURS), seed=0) -> Path:
    """Class folders of noisy PNG pictures, 20 x 24 pixels, whose mean colour tells the class."""
    random = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            pixels = np.array(COLOURS[name]) + random.normal(0, 40, (20, 24, 3))
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            image.save(folder / name / f"{number:03}.png")
    return folder


def small_network(channels: int = 6, size: int = 16) -> keras.Model:
    """Two convolution blocks with batch norm and random weights; scales its pixels itself."""
    keras.utils.set_random_seed(7)
    images = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    for filters in (4, channels):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same")(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
    return keras.Model(images, x, name="small_network")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """A cache of the tests' own: nothing of an earlier run is found, nothing of ours is left."""
    os.environ["KTRANSFER_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def pictures(tmp_path):
    return write_pictures(tmp_path / "pictures", 20)


@pytest.fixture
def network():
    return small_network()


@pytest.fixture(scope="session")
def shared():
    """The folder of real photos and weights; tests that use it are marked `shared`."""
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("KTRANSFER_SHARED", default))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real photos at {folder} (KTRANSFER_SHARED)")
    return folder
