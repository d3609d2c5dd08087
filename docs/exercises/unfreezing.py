"""Exercise 5: unfreeze step by step. After which block does it stop to pay?

    python docs/exercises/unfreezing.py photos/ --weights imagenet
    python docs/exercises/unfreezing.py                              # drawn flowers, weights "mini"

The head, then one block more in each stage, down to the third from the last (ULMFiT, arXiv
1801.06146). A stage that is no better on the validation images is undone.
"""

import argparse
import tempfile
from pathlib import Path

from ktransfer import FineTuner
from ktransfer.demo import draw_demo_photos


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", help="photos by class; default: drawn flowers")
    parser.add_argument("--weights", default="mini", help='"imagenet", "mini" or a file')
    parser.add_argument("--alpha", type=float, default=0.35, help="width of MobileNetV2")
    parser.add_argument("--input-size", type=int, default=96, help="pixels")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of a stage")
    parser.add_argument("--smoke", action="store_true", help="a few pictures, 1 epoch, 1 block")
    return parser.parse_args()


def main() -> None:
    """Carry out the plan, and say what each stage added and that the rest stayed."""
    args = parse()
    with tempfile.TemporaryDirectory() as scratch:
        data = args.folder or draw_demo_photos(Path(scratch), share=0.1 if args.smoke else 1.0)
        finetuner = FineTuner(
            "MobileNetV2", weights=args.weights, alpha=args.alpha, input_size=args.input_size
        )
        result = finetuner.fit(
            data,
            plan="gradual_unfreeze",
            unfreeze=1 if args.smoke else 3,
            epochs=1 if args.smoke else args.epochs,
        )
        for stage in result.stages:
            kept = "kept" if stage.kept else "no better: undone"
            print(f"{stage.unfreeze} blocks  {stage.val_accuracy:.1%} of validation  {kept}")
            print(f"          {stage.proof}")
        print("how far each block moved:")
        for block, moved in result.movement.items():
            print(f"  {block:<28} {moved:.2%}")


if __name__ == "__main__":
    main()
