"""Exercise 3: does augmentation help with 50 images a class?

    python docs/exercises/augmentation.py photos/ --weights imagenet
    python docs/exercises/augmentation.py                            # drawn flowers, weights "mini"

50 images of each class train, up to 60 others are kept aside, and four policies give 4 views of
each training image. With a fixed number of views the frozen backbone still runs only once.
"""

import argparse
import random
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from ktransfer import FineTuner, Plan, Stage
from ktransfer.demo import draw_flowers

#: "strong" mixes the images of a batch, always others, and has no fixed views.
POLICIES = ("none", "light", "standard", "colour_shift")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", help="class folders; default: drawn flowers")
    parser.add_argument("--weights", default="mini", help='"imagenet", "mini" or a file')
    parser.add_argument("--alpha", type=float, default=0.35, help="width of MobileNetV2")
    parser.add_argument("--input-size", type=int, default=96, help="pixels")
    parser.add_argument("--images", type=int, default=50, help="training images of each class")
    parser.add_argument("--smoke", action="store_true", help="4 pictures a class, 1 epoch")
    return parser.parse_args()


def divided(folder: Path, per_class: int, size: int) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Read so many images of each class to train on, and up to 60 others, as arrays and labels."""
    parts: dict[str, list[Path]] = {"train": [], "validation": []}
    for each in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(each.iterdir())
        random.Random(0).shuffle(files)
        parts["train"] += files[:per_class]
        parts["validation"] += files[per_class : per_class + 60]
    return {
        name: (
            np.stack(
                [np.asarray(Image.open(f).convert("RGB").resize((size, size))) for f in files]
            ),
            [each.parent.name for each in files],
        )
        for name, files in parts.items()
    }


def main() -> None:
    """Train a head with each policy, and say how many of the other images it gets right."""
    args = parse()
    per_class = 4 if args.smoke else args.images
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or draw_flowers(Path(scratch), 10 * per_class, seed=5)
        data = divided(Path(folder), per_class, args.input_size)
        finetuner = FineTuner(
            "MobileNetV2", weights=args.weights, alpha=args.alpha, input_size=args.input_size
        )
        for policy in POLICIES:
            views = None if policy == "none" else 4
            epochs = 1 if args.smoke else 30
            stage = Stage(
                name="head",
                unfreeze=0,
                epochs=epochs,
                learning_rate=2e-3,
                schedule="cosine",
                augmentation=policy,
                views=views,
            )
            score = finetuner.fit(data, plan=Plan(policy, (stage,)), check="off").validation
            low, high = score.interval
            print(
                f"{policy:<13} {score.accuracy:.1%} of {score.num_images}, {low:.1%} to {high:.1%}"
            )


if __name__ == "__main__":
    main()
