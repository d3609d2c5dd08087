"""Plans that train few numbers of many blocks: a step costs less, and little can be forgotten."""

from __future__ import annotations

from typing import Any

from ktransfer.plan.fields import whole
from ktransfer.plan.named import linear_probe
from ktransfer.plan.plan import Plan
from ktransfer.plan.stage import ALL, LOW_RANK, Stage, check_unfreeze


def affine(
    k: int | str = ALL,
    epochs: int = 12,
    learning_rate: float = 2e-3,
    *,
    head_epochs: int = 30,
    patience: int | None = None,
) -> Plan:
    """Return the head first, then what scales and shifts each channel; every kernel stays.

    Those are the scale and shift of batch norm, whose statistics stay, biases, and the scale and
    shift of layer norm: in MobileNetV2 one number in twenty.

    Args:
        k: of how many last blocks, at least 1, or `"all"`.
        epochs: most epochs of the second stage; the learning rate rises during the first.
        learning_rate: of the head and the blocks in the second stage.
        head_epochs: most epochs of the first stage.
        patience: epochs without a better one after which the second stage ends; None: never.

    Raises:
        InputError: `k` is under 1; with 0 it would be a `linear_probe`.

    Source: Frankle, Schwab and Morcos 2020, Training BatchNorm and Only BatchNorm (arXiv
        2003.00152), on random kernels; for the biases of transformers Ben Zaken, Ravfogel and
        Goldberg 2021, BitFit (arXiv 2106.10199). Changed: pretrained kernels, the head first, and
        statistics that stay, which a few hundred images only blur.
    """
    settings = {"trains": "affine", "batch_norm": "affine_only"}
    return _head_then("affine", k, epochs, learning_rate, head_epochs, patience, **settings)


def low_rank(
    k: int | str = ALL,
    rank: int = 8,
    epochs: int = 12,
    learning_rate: float = 2e-3,
    *,
    head_epochs: int = 30,
    patience: int | None = None,
) -> Plan:
    """Return the head first, then two thin factors beside each kernel, merged into it at the end.

    What is saved is an ordinary network: kernel + (inputs, rank) x (rank, outputs), where the
    inputs of a convolution are all channels of its window. Depthwise kernels stay.

    Args:
        k: in how many last blocks, at least 1, or `"all"`.
        rank: columns of the first factor and rows of the second.
        epochs: most epochs of the second stage; the learning rate rises during the first.
        learning_rate: of the head and the factors in the second stage.
        head_epochs: most epochs of the first stage.
        patience: epochs without a better one after which the second stage ends; None: never.

    Raises:
        InputError: `k` or `rank` is under 1.

    Source: Hu et al. 2021, LoRA (arXiv 2106.09685), for the attention of transformers. Changed:
        every dense layer and every convolution but the depthwise and grouped ones, alpha = rank,
        and the head first.
    """
    settings = {"trains": LOW_RANK, "rank": whole("low_rank", "rank", rank, 1)}
    return _head_then("low_rank", k, epochs, learning_rate, head_epochs, patience, **settings)


def _head_then(
    name: str,
    k: int | str,
    epochs: int,
    learning_rate: float,
    head_epochs: int,
    patience: int | None,
    **settings: Any,
) -> Plan:
    if k != ALL:
        k = whole(f"{name} (the head alone is linear_probe)", "k", check_unfreeze(name, k), 1)
    epochs = whole(name, "epochs", epochs, 1)
    stage = Stage(
        name=name,
        unfreeze=k,
        epochs=epochs,
        learning_rate=learning_rate,
        schedule="cosine",
        warmup_epochs=min(1, epochs - 1),
        # As in `lp_ft` and `last_blocks`: views would run the frozen blocks in every epoch.
        augmentation="light" if k == ALL else "none",
        patience=patience,
        **settings,
    )
    return Plan(name, (*linear_probe(head_epochs).stages, stage))
