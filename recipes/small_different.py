"""Few images that look like nothing in ImageNet: which of the backbone's features?

Case: 300 images of a distant domain (cell `small_different` of the 2x2 rule), everything frozen.
The textbook's head reads an earlier block, since the last ones are specific to the source. Here
beside it: the last features, those of all blocks, and those with the ones inside the blocks.

    python recipes/small_different.py                     # 300 of 600 digits of scikit-learn
    python recipes/small_different.py --data steel/ --weights imagenet

Data: train/ val/ test/ with class folders inside, or class folders alone, which are judged by the
images that `fit` holds back; without --data, handwritten digits, 8 x 8 pixels, drawn large.
Time:
Result:
"""

import argparse
import tempfile
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

from ktransfer import FineTuner, InputError
from ktransfer.data import read_data
from ktransfer.plan import linear_probe, plan_for
from ktransfer.profile import measure_gap


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of images; default: digits of scikit-learn")
    parser.add_argument("--backbone", default="MobileNetV2")
    parser.add_argument("--weights", default="mini", help='"imagenet", "mini" or a file')
    parser.add_argument("--smoke", action="store_true", help="a few images, 2 epochs")
    return parser.parse_args()


def write_digits(folder: Path, count: int) -> Path:
    """The first digits of scikit-learn, half to learn from and half to test on, by class."""
    digits = load_digits()
    for number in range(count):
        part = "train" if number < count / 2 else "test"
        place = folder / part / str(digits.target[number])
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((digits.images[number] * 15).astype("uint8"))
        picture.resize((64, 64)).save(place / f"{number:04}.png")
    return folder


def main() -> None:
    """Measures the gap, trains a head on each set of features, and prints what each gained."""
    args = parse()
    tuner = FineTuner(args.backbone, weights=args.weights, verbose=False)
    plans = {
        "last features": linear_probe(),
        "an earlier block": plan_for(tuner.advise(300, 10, "different")),
        "all blocks": linear_probe(features="all_blocks"),
        "all, and inside": linear_probe(features="all_blocks_and_inner"),
    }
    with tempfile.TemporaryDirectory() as scratch:
        data = args.data or write_digits(Path(scratch), 60 if args.smoke else 600)
        try:
            gap = measure_gap(tuner.backbone, read_data(data).train)
            print(f"domain gap {gap.value:.3f}: {'similar' if gap.similar else 'different'}")
        except InputError as error:
            print(f"domain gap unknown: {error}")
        epochs = 2 if args.smoke else None
        fitted = [tuner.fit(data, plan=plan, epochs=epochs) for plan in plans.values()]
        scores = [each.test or each.validation for each in fitted]
        for name, score in zip(plans, scores, strict=True):
            low, high = score.interval
            share = f"{score.accuracy:.1%} of {score.num_images}, {low:.1%} to {high:.1%}"
            print(f"{name:<16} {share}; {100 * (score.accuracy - scores[0].accuracy):+.1f} points")


if __name__ == "__main__":
    main()
