"""Exercise 1: is it enough to train the head, or does fine-tuning pay?

    python docs/exercises/extraction_or_tuning.py photos/ --weights imagenet
    python docs/exercises/extraction_or_tuning.py                    # drawn flowers, weights "mini"

The same images, three plans: the head alone, the head and then the last 4 blocks, the head and then
everything. Each is scored on the test part, or on the validation images where there is none.
"""

import argparse
import tempfile
import time
from pathlib import Path

from ktransfer import FineTuner
from ktransfer.demo import draw_demo_photos

PLANS = {"linear_probe": {}, "last_blocks": {"unfreeze": 4}, "lp_ft": {}}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", help="photos by class; default: drawn flowers")
    parser.add_argument("--weights", default="mini", help='"imagenet", "mini" or a file')
    parser.add_argument("--alpha", type=float, default=0.35, help="width of MobileNetV2")
    parser.add_argument("--input-size", type=int, default=96, help="pixels")
    parser.add_argument("--epochs", type=int, default=8, help="most epochs of a stage")
    parser.add_argument("--smoke", action="store_true", help="a few pictures, 1 epoch")
    return parser.parse_args()


def main() -> None:
    """Carry out each plan, and say what it reached and what it took."""
    args = parse()
    with tempfile.TemporaryDirectory() as scratch:
        data = args.folder or draw_demo_photos(Path(scratch), share=0.1 if args.smoke else 1.0)
        finetuner = FineTuner(
            "MobileNetV2", weights=args.weights, alpha=args.alpha, input_size=args.input_size
        )
        print("plan          images     accuracy  95 % interval     seconds")
        for plan, options in PLANS.items():
            start = time.perf_counter()
            epochs = 1 if args.smoke else args.epochs
            result = finetuner.fit(data, plan=plan, epochs=epochs, **options)
            seconds = time.perf_counter() - start
            score = result.test or result.validation
            low, high = score.interval
            kept = "" if result.stages[-1].kept else "  (the head was kept)"
            print(
                f"{plan:<12} {score.num_images:>7} {score.accuracy:>12.1%}  "
                f"{low:.1%} to {high:.1%} {seconds:>9.0f}{kept}"
            )


if __name__ == "__main__":
    main()
