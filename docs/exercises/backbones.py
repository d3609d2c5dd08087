"""Exercise 4: another dataset, three backbones: which one, and does ImageNet's order hold?

    python docs/exercises/backbones.py steel/ --candidate MobileNetV2,weights=imagenet \
        --candidate ResNet50,weights=imagenet --candidate EfficientNetB0,weights=imagenet
    python docs/exercises/backbones.py                               # drawn flowers

Each candidate runs once; linear heads on it are judged by leaving out one image after the other.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from ktransfer import recommend_backbones
from ktransfer.demo import draw_demo_photos

DRAWN = [
    "MobileNetV2,weights=mini,alpha=0.35",
    "MobileNetV2,alpha=0.35,input_size=96",
    "MobileNet,alpha=0.25,input_size=96",
]


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", help="photos by class; default: drawn flowers")
    parser.add_argument(
        "--candidate", action="append", help="NAME[,OPTION=VALUE...], as of `ktransfer backbones`"
    )
    parser.add_argument("--smoke", action="store_true", help="a few pictures, one candidate")
    return parser.parse_args()


def candidate(text: str) -> dict[str, Any]:
    """Return a candidate as `recommend_backbones` takes it; without weights they are random."""
    name, *rest = text.split(",")
    given: dict[str, Any] = dict(each.split("=", 1) for each in rest)
    size = given.pop("input_size", None)
    return {
        "name": name,
        "weights": given.pop("weights", None),
        "input_size": int(size) if size else None,
        "options": {key: float(value) for key, value in given.items()},
    }


def main() -> None:
    """Compare the candidates, and print the table."""
    args = parse()
    with tempfile.TemporaryDirectory() as scratch:
        data = args.folder or draw_demo_photos(Path(scratch), share=0.2 if args.smoke else 1.0)
        named = args.candidate or DRAWN
        print(recommend_backbones(data, list(map(candidate, named[:1] if args.smoke else named))))


if __name__ == "__main__":
    main()
