"""The demonstration: 300 flowers by formula, and a classifier of them within a minute.

    from ktransfer.demo import draw_flowers
    draw_flowers("flowers/")              # flowers/bluebell/000.jpg ...

The pictures are generated, so that the demonstration needs no download and no photo of anybody's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ktransfer.demo.flowers import SPECIES, draw_flower_picture
from ktransfer.errors import InputError
from ktransfer.files.writing import check_free
from ktransfer.show.timing import timed

if TYPE_CHECKING:
    from ktransfer.classifier import Evaluation, FitResult
    from ktransfer.classifier.mistakes import Mistake
    from ktransfer.finetuner import FineTuner
    from ktransfer.serving import Predictions

#: How many pictures each part of the demonstration has, and the seed that draws it.
PARTS = {"train": (200, 0), "val": (50, 1), "test": (50, 2)}


@dataclass(frozen=True, eq=False)
class Demo:
    """What a demonstration did.

    Attributes:
        tuner: trained on `train/` and `val/`.
        result: of the training.
        evaluation: of the held-back pictures in `test/`.
        examples: predictions on one held-back picture of each species.
        seconds: wall time by phase: `backbone`, then those of `result`, then `evaluate`.
    """

    tuner: FineTuner
    result: FitResult
    evaluation: Evaluation
    examples: Predictions
    seconds: dict[str, float]

    def named_within(self, folder: Path) -> Demo:
        """Return the same with the pictures named as they lie in a folder.

        The path of a folder that is gone tells nobody anything.
        """

        def within(path: str) -> str:
            return Path(path).relative_to(folder).as_posix()

        def renamed(mistakes: Sequence[Mistake]) -> tuple[Mistake, ...]:
            return tuple(replace(each, image=within(each.image)) for each in mistakes)

        return replace(
            self,
            result=replace(self.result, mistakes=renamed(self.result.mistakes)),
            evaluation=replace(self.evaluation, mistakes=renamed(self.evaluation.mistakes)),
            examples=replace(self.examples, paths=tuple(map(within, self.examples.paths))),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON.

        The result's fields and what follows it.
        """
        return {
            **self.result.to_dict(),
            "generated": True,
            "evaluation": self.evaluation.to_dict(),
            "examples": [asdict(each) for each in self.examples],
        }


def draw_flowers(
    folder: str | os.PathLike[str],
    num_images: int = 300,
    seed: int = 0,
    *,
    overwrite: bool = False,
) -> Path:
    """Draw pictures of five species of flowers into class folders.

    Args:
        folder: made if it does not exist.
        num_images: how many in all, at least 5; the species have the same number, give or take one.
        seed: the same seed draws the same pictures, with the same version of NumPy and Pillow.
        overwrite: replace files of the names that the pictures will have.

    Returns:
        The folder, with a folder of JPEG files of 160 to 256 pixels for each species.

    Raises:
        InputError: `num_images` is less than the number of species, `seed` is negative, or a file
            is where a picture is to be.

    Example:
        >>> import tempfile
        >>> drawn = draw_flowers(tempfile.mkdtemp(), num_images=5)
        >>> sorted(each.name for each in drawn.iterdir())
        ['bluebell', 'daisy', 'rose', 'sunflower', 'tulip']
    """
    if num_images < len(SPECIES):
        raise InputError(f"num_images must be at least {len(SPECIES)}, got {num_images}")
    if seed < 0:
        raise InputError(f"seed must be at least 0, got {seed}")
    names = list(SPECIES)
    paths = [
        Path(folder, names[index % len(names)], f"{index // len(names):03}.jpg")
        for index in range(num_images)
    ]
    for path in paths:  # all of them, before the first is drawn
        check_free(path, f"the picture {str(path)!r}", overwrite=overwrite)
    for index, path in enumerate(paths):
        # A generator for each picture: it stays the same however many others there are.
        random = np.random.default_rng([seed, index])
        width, height = (int(each) for each in random.integers(160, 257, 2))
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = draw_flower_picture(path.parent.name, (width, height), random)
        path.unlink(missing_ok=True)  # and not through a link
        picture.save(path, quality=int(random.integers(80, 93)))
    return Path(folder)


def draw_demo_photos(folder: Path, *, share: float = 1.0) -> Path:
    """Draw `train/`, `val/` and `test/`, each from a seed of its own.

    Args:
        folder: made if it does not exist.
        share: of the pictures of `PARTS` to draw, in (0, 1].
    """
    for name, (num_images, seed) in PARTS.items():
        draw_flowers(folder / name, round(share * num_images), seed)
    return folder


def train_on(photos: Path, *, verbose: bool = True) -> Demo:
    """Train on the drawn pictures as anybody would, and looks at those held back.

    Args:
        photos: from `draw_demo_photos`.
        verbose: show progress on standard error.
    """
    from ktransfer.finetuner import FineTuner

    seconds: dict[str, float] = {}
    with timed(seconds, "backbone"):
        tuner = FineTuner("MobileNetV2", weights="mini", verbose=verbose)
    # Trying to fine-tune as well would take longer than all the rest.
    result = tuner.fit(photos, fine_tuning="off")
    seconds |= result.seconds
    with timed(seconds, "evaluate"):
        evaluation = tuner.evaluate(photos / "test")
        examples = tuner.predict(_one_of_each(photos / "test", result.classes))
    return Demo(tuner, result, evaluation, examples, seconds)


def _one_of_each(folder: Path, classes: Sequence[str]) -> list[Path]:
    return [folder / name / "000.jpg" for name in classes]
