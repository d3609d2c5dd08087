"""Was the recommended backbone the right one? Beside choosing by ImageNet, LogME and H-score.

    python benchmarks/backbones.py

On each data set `recommend_backbones` judges the candidates on at most 500 training images. Then a
ridge head on the features that it chose is trained on these images, and judged on held-out images
that nothing has seen. Regret: how much the most accurate there is better than the one chosen.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from reporting import shared_folder, table, write_results
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ktransfer import load_backbone, recommend_backbones
from ktransfer.backbones import Backbone
from ktransfer.data import Part, read_data
from ktransfer.features import extract_part, taps_of
from ktransfer.profile.probes import even_sample
from ktransfer.recommend.costs import compile_taps
from ktransfer.recommend.judgement import sampled

DATA = ("ants_bees", "flowers", "steel_defects", "chest_xray")
MOST_HELD_OUT = 600
ALPHAS = np.logspace(0, 5, 11)
FILES = (
    ("MobileNetV2", "mobilenetv2_1.0", {}),
    ("MobileNetV2", "mobilenetv2_0.35", {"alpha": 0.35}),
    ("MobileNet", "mobilenet_0.25", {"alpha": 0.25}),
)
RANKINGS = ("imagenet_top1", "logme", "h_score")


def held_out_accuracy(backbone: Backbone, features: str, train: Part, test: Part) -> float:
    """Accuracy on `test` of a ridge head that was trained on `train`."""
    forward = compile_taps(backbone, taps_of(backbone, features))
    (known, train, _), (unseen, test, _) = (
        extract_part(forward, part, backbone.input_size) for part in (train, test)
    )
    head = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=ALPHAS))
    head.fit(known.values, train.labels)
    return float(head.score(unseen.values, test.labels))


def compare(data: Path, backbones: list[Backbone]) -> list[dict[str, Any]]:
    """Say what is said of each backbone, and how well it does."""
    splits = read_data(str(data))
    train = sampled(splits.train, splits.class_names)
    held_out = splits.validation
    held_out = held_out.select(even_sample(held_out.labels, MOST_HELD_OUT))
    found = recommend_backbones(str(data), backbones)
    rows = []
    for backbone, rated in zip(backbones, found.candidates, strict=True):
        accuracy = held_out_accuracy(backbone, rated.features, train, held_out)
        chosen = {"data": data.name, "best": rated is found.best, "held_out": accuracy}
        rows.append({**rated.to_dict(), **chosen, "held_out_images": len(held_out)})
    return rows


def regrets(figures: list[dict[str, Any]]) -> list[list[str]]:
    """For each way of choosing its regret on every data set, in points."""
    choices: dict[str, Any] = {"recommended": lambda each: each["best"]}
    choices |= {name: lambda each, name=name: each[name] for name in RANKINGS}
    choices["accuracy alone"] = lambda each: each["accuracy"]
    choices["fastest"] = lambda each: -each["latency_ms"]
    lines = []
    for name, key in choices.items():
        line = []
        for data in dict.fromkeys(each["data"] for each in figures):
            rows = [each for each in figures if each["data"] == data]
            best = max(each["held_out"] for each in rows)
            line.append(100 * (best - max(rows, key=key)["held_out"]))
        lines.append([name, *(f"{each:.1f}" for each in line), f"{np.mean(line):.1f}"])
    return lines


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    shared = shared_folder()
    backbones = [
        load_backbone(name, shared / "weights" / f"{file}_224_notop.weights.h5", **options)
        for name, file, options in FILES
    ]
    figures = [row for name in DATA for row in compare(shared / "data" / name, backbones)]
    heads = [
        "data", "backbone", "left-one-out", "held out", "features", "ms", "MB", "memory", "LogME",
        "H-score", "ImageNet",
    ]  # fmt: skip
    rows = [
        [
            each["data"],
            each["label"] + (" (recommended)" if each["best"] else ""),
            f"{each['accuracy']:.3f}",
            f"{each['held_out']:.3f}",
            each["features"],
            f"{each['latency_ms']:.1f}",
            f"{each['size_mb']:.1f}",
            f"{each['memory_mb']:.1f}",
            f"{each['logme']:.2f}",
            f"{each['h_score']:.2f}",
            f"{each['imagenet_top1']:.3f}",
        ]
        for each in figures
    ]
    body = (
        f"{table(heads, rows)}\n\nRegret on the held-out images, in points, of choosing by:\n\n"
        f"{table(['choice', *DATA, 'mean'], regrets(figures))}\n"
    )
    write_results(arguments.out, "backbones", body, figures)


if __name__ == "__main__":
    main()
