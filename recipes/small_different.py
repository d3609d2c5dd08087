"""Few images that look like nothing in ImageNet: which of the backbone's features?

Case: 300 images of a distant domain (cell `small_different` of the 2x2 rule). Too few to fine-tune
much; the backbone stays frozen, and the question is where the head should read it. The textbook
says at an earlier block, since the last ones are specific to the source. Measured, side by side:
the last features, the textbook's, those of all blocks, and those with the ones inside the blocks.

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

from ktransfer import FineTuner, InputError, Plan
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


def heads(tuner: FineTuner) -> dict[str, Plan]:
    """A head on each set of features; the textbook's keeps the first two thirds of the blocks."""
    return {
        "last features": linear_probe(),
        "earlier block": plan_for(tuner.advise(100, 2, "different")),
        "all blocks": linear_probe(features="all_blocks"),
        "all, and inside": linear_probe(features="all_blocks_and_inner"),
    }


def main() -> None:
    """Measures the gap, trains every head, and prints what each gained."""
    args = parse()
    with tempfile.TemporaryDirectory() as scratch:
        data = args.data or write_digits(Path(scratch), 60 if args.smoke else 600)
        tuner = FineTuner(args.backbone, weights=args.weights, verbose=False)
        try:
            gap = measure_gap(tuner.backbone, read_data(data).train)
            print(f"domain gap {gap.value:.3f}: {'similar' if gap.similar else 'different'}")
        except InputError as error:
            print(f"domain gap unknown: {error}")
        first = None
        for name, plan in heads(tuner).items():
            result = tuner.fit(data, plan=plan, epochs=2 if args.smoke else None)
            found = result.test or result.validation
            first = found.accuracy if first is None else first
            low, high = found.interval
            gained = 100 * (found.accuracy - first)
            print(
                f"{name:<16} {found.accuracy:.1%} on {found.num_images} images "
                f"({low:.1%} to {high:.1%}), {gained:+.1f} points"
            )


if __name__ == "__main__":
    main()
