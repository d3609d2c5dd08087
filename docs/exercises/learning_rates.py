"""Exercise 2: how much does the learning rate matter?

    python docs/exercises/learning_rates.py photos/ --weights imagenet
    python docs/exercises/learning_rates.py                          # drawn flowers, weights "mini"

First the head alone, then the head with the last blocks, each at four constant learning rates.
"""

import argparse
import tempfile
from pathlib import Path

from ktransfer import FineTuner
from ktransfer.demo import draw_demo_photos

RATES = (1e-4, 1e-3, 1e-2, 1e-1)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", help="photos by class; default: drawn flowers")
    parser.add_argument("--weights", default="mini", help='"imagenet", "mini" or a file')
    parser.add_argument("--alpha", type=float, default=0.35, help="width of MobileNetV2")
    parser.add_argument("--input-size", type=int, default=96, help="pixels")
    parser.add_argument("--epochs", type=int, default=5, help="epochs at each rate")
    parser.add_argument("--smoke", action="store_true", help="a few pictures, 1 epoch")
    return parser.parse_args()


def main() -> None:
    """Sweep the rates of the head and of the last blocks."""
    args = parse()
    with tempfile.TemporaryDirectory() as scratch:
        data = args.folder or draw_demo_photos(Path(scratch), share=0.1 if args.smoke else 1.0)
        finetuner = FineTuner(
            "MobileNetV2", weights=args.weights, alpha=args.alpha, input_size=args.input_size
        )
        for unfreeze in (0, 4):
            found = finetuner.sweep_learning_rates(
                data, RATES, unfreeze=unfreeze, epochs=1 if args.smoke else args.epochs
            )
            what = f"the head and the last {unfreeze} blocks" if unfreeze else "the head alone"
            print(f"{what}\n{found}\n")


if __name__ == "__main__":
    main()
