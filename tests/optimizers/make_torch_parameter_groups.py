"""Trains a small network with PyTorch's parameter groups: the reference of test_optimizers.py.

    python -m venv venv-torch && venv-torch/bin/pip install torch==2.13.0 numpy
    venv-torch/bin/python tests/data/make_torch_parameter_groups.py

It writes torch_parameter_groups.npz beside itself: the start, the data, and for each optimizer the
weights after 20 steps in float32, with kernels laid out as Keras has them, (inputs, outputs).
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

SIZES = (6, 12, 12, 12, 3)
MULTIPLIERS = (0.0, 0.1, 1.0, 10.0)  # of the four layers, from the inputs on
STEPS = 20
EPSILON = 1e-14  # so small that its place, inside or outside of the root, makes no difference
CLIPNORM = 0.3


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023 (arXiv 2302.06675), algorithm 2; PyTorch has none."""

    def __init__(self, groups, lr, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        """Takes one step."""
        for group in self.param_groups:
            first, second = group["betas"]
            for weight in group["params"]:
                state = self.state[weight]
                momentum = state.setdefault("momentum", torch.zeros_like(weight))
                direction = (first * momentum + (1 - first) * weight.grad).sign()
                weight -= group["lr"] * (direction + group["weight_decay"] * weight)
                state["momentum"] = second * momentum + (1 - second) * weight.grad


OPTIMIZERS = {
    "sgd_momentum": lambda groups: torch.optim.SGD(groups, 0.02, momentum=0.9),
    "sgd_nesterov": lambda groups: torch.optim.SGD(groups, 0.02, momentum=0.9, nesterov=True),
    "sgd_clipped": lambda groups: torch.optim.SGD(groups, 0.02, momentum=0.9),
    "adam": lambda groups: torch.optim.Adam(groups, 0.001, eps=EPSILON),
    "adamw": lambda groups: torch.optim.AdamW(groups, 0.001, eps=EPSILON, weight_decay=0.5),
    "rmsprop": lambda groups: torch.optim.RMSprop(
        groups, 0.001, alpha=0.9, eps=EPSILON, momentum=0.5
    ),
    "lion": lambda groups: Lion(groups, 0.001, weight_decay=0.5),
}


def make_problem():
    """Start weights and data, from NumPy alone."""
    generator = np.random.default_rng(20261121)
    problem = {
        "x": generator.normal(size=(32, SIZES[0])),
        "y": generator.normal(size=(32, SIZES[-1])),
    }
    for layer, (inputs, outputs) in enumerate(pairwise(SIZES)):
        problem[f"start/{layer}/kernel"] = generator.normal(size=(inputs, outputs)) / inputs**0.5
        problem[f"start/{layer}/bias"] = generator.normal(size=outputs) / 10
    return {name: value.astype("float32") for name, value in problem.items()}


def train(problem, make_optimizer, clipnorm):
    """The weights after training, by name."""
    layers = range(len(MULTIPLIERS))
    weights = {
        (layer, kind): torch.tensor(problem[f"start/{layer}/{kind}"], requires_grad=True)
        for layer in layers
        for kind in ("kernel", "bias")
    }
    of_layer = [[weights[layer, "kernel"], weights[layer, "bias"]] for layer in layers]
    optimizer = make_optimizer([{"params": each} for each in of_layer])
    for group, multiplier in zip(optimizer.param_groups, MULTIPLIERS, strict=True):
        group["lr"] *= multiplier
    x, y = torch.tensor(problem["x"]), torch.tensor(problem["y"])
    for _ in range(STEPS):
        hidden = x
        for layer in layers:
            hidden = hidden @ weights[layer, "kernel"] + weights[layer, "bias"]
            hidden = hidden.tanh() if layer < len(MULTIPLIERS) - 1 else hidden
        optimizer.zero_grad()
        ((hidden - y) ** 2).mean().backward()
        if clipnorm:
            torch.nn.utils.clip_grad_norm_(list(weights.values()), clipnorm)
        optimizer.step()
    return {f"{layer}/{kind}": each.detach().numpy() for (layer, kind), each in weights.items()}


def main():
    """Writes the file."""
    torch.set_num_threads(1)
    problem = make_problem()
    numbers = dict(problem)
    for name, make_optimizer in OPTIMIZERS.items():
        clipnorm = CLIPNORM if name.endswith("clipped") else None
        for weight, value in train(problem, make_optimizer, clipnorm).items():
            numbers[f"{name}/{weight}"] = value
    numbers["multipliers"] = np.array(MULTIPLIERS)
    numbers["torch"] = np.array(torch.__version__)
    np.savez_compressed(Path(__file__).with_name("torch_parameter_groups.npz"), **numbers)


if __name__ == "__main__":
    main()
