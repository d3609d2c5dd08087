"""Few images that look like nothing in ImageNet: which of the backbone's features?

Case: 300 images of a distant domain (cell `small_different` of the 2x2 rule), everything frozen.
The textbook's head reads an earlier block, since the last ones are specific to the source. Here
beside it: the last features, those of all blocks, and those with the ones inside the blocks.

    python recipes/small_different.py                     # 300 of 600 digits of scikit-learn
    python recipes/small_different.py --data steel/ --weights imagenet

Data: train/ val/ test/ with class folders inside, or class folders alone, which are judged by the
images that `fit` holds back; without --data, handwritten digits, 8 x 8 pixels, drawn large.
Time: 28 s on 2 CPU cores, half of it importing TensorFlow and decoding.
Result: of 300 digits held back, with "mini", the head gets 88.3 % right on the last features,
87.7 % on those of an earlier block, 93.3 % on those of all blocks, and 95.0 % with the ones inside
them, which `fit(data)` would choose by itself: 6.7 points gained.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from ktransfer import FineTuner
from ktransfer.advisor import plan_for
from ktransfer.plan import linear_probe


def parse() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of images; default: digits of scikit-learn")
    parser.add_argument("--backbone", default="MobileNetV2")
    parser.add_argument("--weights", default="mini", help='"imagenet", "mini" or a file')
    parser.add_argument("--smoke", action="store_true", help="a few images, 2 epochs")
    return parser.parse_args()


def write_digits(folder: Path, count: int) -> Path:
    """Digits of scikit-learn, half to learn from and half to test on, by class."""
    digits = load_digits()
    # Drawn by chance: in their own order, those at the end are by other writers.
    for drawn, number in enumerate(np.random.default_rng(0).permutation(1797)[:count]):
        part = "train" if drawn < count / 2 else "test"
        place = folder / part / str(digits.target[number])
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((digits.images[number] * 15).astype("uint8"))
        picture.resize((64, 64)).save(place / f"{number:04}.png")
    return folder


def main() -> None:
    """Print what is advised, trains a head on each set of features, and says what each gained."""
    args = parse()
    finetuner = FineTuner(args.backbone, weights=args.weights, verbose=False)
    plans = {
        "last features": linear_probe(),
        "an earlier block": plan_for(finetuner.textbook_rule(300, 10, "different")),
        "all blocks": linear_probe(features="all_blocks"),
        "all, and inside": linear_probe(features="all_blocks_and_inner"),
    }
    with tempfile.TemporaryDirectory() as scratch:
        data = args.data or write_digits(Path(scratch), 200 if args.smoke else 600)
        # Before anything trains: the gap, the estimate of each head, and what `fit` would do.
        print(finetuner.advise(data))
        epochs = 2 if args.smoke else None
        fitted = [finetuner.fit(data, plan=plan, epochs=epochs) for plan in plans.values()]
        scores = [each.test or each.validation for each in fitted]
        for name, score in zip(plans, scores, strict=True):
            low, high = score.interval
            share = f"{score.accuracy:.1%} of {score.num_images}, {low:.1%} to {high:.1%}"
            print(f"{name:<16} {share}; {100 * (score.accuracy - scores[0].accuracy):+.1f} points")


if __name__ == "__main__":
    main()
