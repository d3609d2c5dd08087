"""Exercise 6: what becomes of the accuracy when the images change, and what helps?

    python docs/exercises/shift.py photos/ --weights imagenet
    python docs/exercises/shift.py                                   # drawn flowers, weights "mini"

Two heads on the same frozen backbone: one trained on the images as they are, one on views of
shifted colour. Both are judged on the images as they are, grey, blurred, noisy and recoloured.
"""

import argparse
import tempfile
from pathlib import Path

from ktransfer import FineTuner, Plan, Stage
from ktransfer.demo import draw_demo_photos


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", help="photos by class; default: drawn flowers")
    parser.add_argument("--weights", default="mini", help='"imagenet", "mini" or a file')
    parser.add_argument("--alpha", type=float, default=0.35, help="width of MobileNetV2")
    parser.add_argument("--input-size", type=int, default=96, help="pixels")
    parser.add_argument("--smoke", action="store_true", help="a few pictures, 1 epoch")
    return parser.parse_args()


def plan(augmentation: str, epochs: int) -> Plan:
    """Plan a head on views of the images; with so many views the backbone still runs once."""
    views = None if augmentation == "none" else 4
    stage = Stage(
        name="head",
        unfreeze=0,
        epochs=epochs,
        learning_rate=2e-3,
        schedule="cosine",
        augmentation=augmentation,
        views=views,
    )
    return Plan(augmentation, (stage,))


def main() -> None:
    """Train both heads, and print their accuracy under each shift, the weakest first."""
    args = parse()
    with tempfile.TemporaryDirectory() as scratch:
        data = args.folder or draw_demo_photos(Path(scratch), share=0.1 if args.smoke else 1.0)
        finetuner = FineTuner(
            "MobileNetV2", weights=args.weights, alpha=args.alpha, input_size=args.input_size
        )
        for augmentation in ("none", "colour_shift"):
            finetuner.fit(data, plan=plan(augmentation, 1 if args.smoke else 30))
            found = finetuner.evaluate(data, corruptions=True)
            print(f"trained with augmentation {augmentation!r}")
            print(f"  as they are   {found.accuracy:.1%} of {found.score.num_images}")
            for name, scores in found.corruptions.items():
                print(f"  {name:<12} ", "  ".join(f"{each.accuracy:.1%}" for each in scores))


if __name__ == "__main__":
    main()
