"""Compute with PyTorch what torchvision's networks make of weights and images by formula.

    python -m venv torch-env && torch-env/bin/pip install torch torchvision safetensors numpy
    torch-env/bin/python tests/backbones/make_torch_zoo.py

It writes beside itself torch_zoo.npz: for each network the shapes of its state_dict, and its
features at two sizes of images, channels last, as `torch_zoo` draws weights and images. And
small.safetensors, written by the package of that name: one tensor of each kind of number.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[1]))
import torch_zoo

#: The constructors, and sizes in pixels: what they were trained at, and one that pads otherwise.
NETWORKS = {"ResNet18": (224, 75), "ResNet34": (224, 75), "AlexNet": (224, 150)}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def features(name: str, network: torch.nn.Module, size_px: int) -> np.ndarray:
    """Return what comes before the last Linear layer, ResNet's map before it is averaged."""
    batch = torch.from_numpy(torch_zoo.images(size_px)).permute(0, 3, 1, 2).float() / 255
    batch = torchvision.transforms.functional.normalize(batch, MEAN, STD)
    last = torch.nn.Identity()
    if name == "AlexNet":
        network.classifier[-1] = last
        return network(batch).numpy()[:, None, None]
    network.avgpool = network.fc = last
    # Without its pooling the network flattens the map: back to (channels, height, width).
    flat, side = network(batch), -(-size_px // 32)
    return flat.reshape(len(batch), 512, side, side).permute(0, 2, 3, 1).numpy()


@torch.no_grad()
def main() -> None:
    """Write both files."""
    found: dict[str, np.ndarray] = {}
    for name, sizes in NETWORKS.items():
        network = getattr(torchvision.models, name.lower())().eval()
        shapes = {each: list(value.shape) for each, value in network.state_dict().items()}
        values = {each: torch.as_tensor(made) for each, made in torch_zoo.weights(shapes).items()}
        network.load_state_dict(values)
        found[f"{name} shapes"] = np.array(json.dumps(shapes))
        for size_px in sizes:
            found[f"{name} {size_px}"] = features(name, network, size_px)
    found["made with"] = np.array(
        f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    )
    np.savez_compressed(Path(__file__).with_name("torch_zoo.npz"), **found)
    row = torch.tensor([[0.5, -1.0, 3.25], [1e-3, 65_000.0, -0.1]])
    save_file(
        {
            "single": row,
            "half": row.half(),
            "brain": row.bfloat16(),
            "double": row.double(),
            "count": torch.tensor(100),
            "empty": torch.zeros(0, 3),
        },
        Path(__file__).with_name("small.safetensors"),
        metadata={"format": "pt"},
    )


if __name__ == "__main__":
    main()
