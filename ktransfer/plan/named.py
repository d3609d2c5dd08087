"""The plans that have a name, each with the paper that it comes from.

Their settings are where to start from. No plan wins everywhere: with 300 images, fine-tuning
everything gained 11 points on hand signs and lost 42 on spectrograms, so choose on validation
images. `lp_ft`, `classic` and `from_scratch` flip: whether that keeps the label, the images say.

Each function raises an `InputError` that names the field if a value is out of range.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ktransfer.features import FEATURE_SETS
from ktransfer.plan.fields import whole
from ktransfer.plan.plan import Plan
from ktransfer.plan.stage import ALL, Stage

#: Adam's first learning rate for a head on features of unit root mean square; on training photos of
#: steel, chests, flowers and ants, rates from half to twice of it did as well.
HEAD_LEARNING_RATE = 2e-3


def linear_probe(
    epochs: int = 30,
    learning_rate: float = HEAD_LEARNING_RATE,
    *,
    patience: int | None = 10,
    features: str = "last",
) -> Plan:
    """Return the head alone, on a frozen backbone: what `FineTuner.fit` does.

    Args:
        epochs: most epochs.
        learning_rate: the head's, on features of unit root mean square, decayed to 0 by a cosine.
        patience: epochs without a better one after which it ends.
        features: what the head reads, as in `Plan`; those of all blocks help where images are far
            from the backbone's own (Evci et al. 2021, Head2Toe, arXiv 2201.03529).

    Source: Donahue et al. 2013, DeCAF (arXiv 1310.1531); the name from Alain and Bengio 2016
        (arXiv 1610.01644). Changed: Adam instead of a solver for logistic regression; the settings
        are those that the library measured for its heads.
    """
    stage = _head_stage(epochs, learning_rate, patience)
    return Plan("linear_probe", (stage,), features=features)


def lp_ft(
    epochs: int = 12,
    learning_rate: float = 5e-4,
    *,
    head_epochs: int = 30,
    block_multiplier: float = 1.0,
    layer_decay: float = 1.0,
    patience: int | None = None,
    features: str = "last",
    last_first: int | None = None,
) -> Plan:
    """Return the head first, then everything: a random head would distort what the backbone knows.

    With 300 training images and MobileNetV2 0.35, everything at 5e-4 gained most where it gained at
    all (flowers, hand signs) and lost elsewhere (X-rays); 1e-4 gained and lost little. The probe is
    kept where no epoch is better on the validation images, so the rate that can gain is the
    default. The first epochs are worse than the probe also where the last are better: hence no
    patience.

    Args:
        epochs: most epochs of the second stage; the learning rate rises during the first.
        learning_rate: of everything in the second stage, a quarter of the new head's in the first.
        head_epochs: most epochs of the first stage.
        block_multiplier: what scales the learning rate of the blocks.
        layer_decay: what scales it once more for each block away from the head.
        patience: epochs without a better one after which the second stage ends; None: never.
        features: what the head reads, as in `Plan`.
        last_first: how many last blocks train in a stage of their own before everything does, as in
            `last_blocks`: it is cheap, since what the others say is computed once, and where it is
            no better it is dropped. None: there is no such stage.

    Source: Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features and Underperform
        Out-of-Distribution (arXiv 2202.10054). Changed: Adam, an epoch of warm-up while
        its moments are new, and flips.
    """
    epochs = whole("lp_ft", "epochs", epochs, 1)
    rest = _tuning_stage(
        ALL,
        epochs,
        learning_rate,
        block_multiplier=block_multiplier,
        layer_decay=layer_decay,
        warmup_epochs=min(1, epochs - 1),
        augmentation="light",
        patience=patience,
    )
    first = (*last_blocks(last_first, features=features).stages[1:],) if last_first else ()
    return Plan("lp_ft", (_head_stage(head_epochs), *first, rest), features=features)


def last_blocks(
    k: int,
    epochs: int = 12,
    learning_rate: float = 3e-4,
    *,
    head_epochs: int = 30,
    block_multiplier: float = 1.0,
    patience: int | None = None,
    features: str = "last",
) -> Plan:
    """Return the head first, then the last blocks with it; the first blocks stay as they are.

    Args:
        k: how many last blocks train, at least 1.
        epochs: most epochs of the second stage; the learning rate rises during the first.
        learning_rate: of the head and the last blocks in the second stage.
        head_epochs: most epochs of the first stage.
        block_multiplier: what scales the learning rate of the blocks.
        patience: epochs without a better one after which the second stage ends; None: never.
        features: what the head reads, as in `Plan`; the first blocks' part of it stays as it is.

    Raises:
        InputError: `k` is under 1; with 0 it would be a `linear_probe`.

    Source: Yosinski et al. 2014, How transferable are features in deep neural networks?
        (arXiv 1411.1792): the last layers are the specific ones. Changed: the head is trained
        before, as in `lp_ft`.
    """
    k = whole("last_blocks (the head alone is linear_probe)", "k", k, 1)
    epochs = whole("last_blocks", "epochs", epochs, 1)
    last = _tuning_stage(
        k,
        epochs,
        learning_rate,
        block_multiplier=block_multiplier,
        warmup_epochs=min(1, epochs - 1),
        patience=patience,
    )
    return Plan("last_blocks", (_head_stage(head_epochs), last), features=features)


def lp_ft_refit(
    unfreeze: int | str = ALL,
    learning_rate: float = 5e-4,
    *,
    epochs: tuple[int, int] = (4, 8),
    head_epochs: int = 30,
    refit: str = FEATURE_SETS[-1],
) -> Plan:
    """Return the head on the last features, then blocks, then a wide head on the tuned blocks.

    What `FineTuner.fit` tries. Blocks are tuned under a head on the last features: a wide one that
    was solved in closed form fits the training images already, and leaves nothing to learn. Few
    epochs come first, so that a rate that ruins the network shows early; each stage ends with its
    last epoch, where its rate has come to rest.

    Args:
        unfreeze: how many last blocks train; `"all"` of them see the images flipped, fewer are
            trained from what the others say once.
        learning_rate: of the head and the blocks.
        epochs: of the first stage of blocks, and of the second, which goes on.
        head_epochs: most epochs of the head's stage.
        refit: what the head reads that is solved at the end, as `Plan.refit`.

    Source: `lp_ft`, then the heads of Evci et al. 2021, Head2Toe (arXiv 2201.03529), on blocks that
        were tuned.
    """
    first, further = (whole("lp_ft_refit", "epochs", each, 1) for each in epochs)
    light = "light" if unfreeze == ALL else "none"
    stages = [
        dataclasses.replace(
            _tuning_stage(unfreeze, number, learning_rate, warmup_epochs=min(1, number - 1)),
            name=name,
            augmentation=light,
            keep="end",
        )
        for name, number in (
            (_stage_name(unfreeze), first),
            (f"{_stage_name(unfreeze)}, further", further),
        )
    ]
    return Plan("lp_ft_refit", (_head_stage(head_epochs), *stages), refit=refit)


def full_fine_tune(
    epochs: int = 20,
    learning_rate: float = 1e-3,
    *,
    block_multiplier: float = 0.1,
    layer_decay: float = 0.9,
    patience: int | None = 5,
    features: str = "last",
) -> Plan:
    """Return everything at once, the blocks 10 to 100 times slower than the head.

    Args:
        epochs: most epochs; the learning rate rises during the first (if there are more).
        learning_rate: the head's.
        block_multiplier: what scales the learning rate of the blocks.
        layer_decay: what scales it once more for each block away from the head. With both defaults
            the blocks of a backbone of at most 21 are 11 to 91 times slower than the head.
        patience: epochs without a better one after which it ends.
        features: what the head reads, as in `Plan`.

    Source: Girshick et al. 2013, R-CNN (arXiv 1311.2524), which fine-tunes at a tenth of the
        learning rate of pre-training; layer decay from Clark et al. 2020, ELECTRA
        (arXiv 2003.10555). Changed: Adam, a cosine after one epoch of warm-up while the head is
        new; a decay gentle enough for the many blocks of a convolutional network.
    """
    epochs = whole("full_fine_tune", "epochs", epochs, 1)
    stage = _tuning_stage(
        ALL,
        epochs,
        learning_rate,
        block_multiplier=block_multiplier,
        layer_decay=layer_decay,
        warmup_epochs=min(1, epochs - 1),
        patience=patience,
    )
    return Plan("full_fine_tune", (stage,), features=features)


def gradual_unfreeze(
    k: int = 4,
    epochs: int = 3,
    learning_rate: float = 1e-3,
    *,
    blocks_per_stage: int = 1,
    block_multiplier: float = 0.1,
    patience: int | None = None,
) -> Plan:
    """Return the head, then one block more in each stage, from the last one towards the first.

    Args:
        k: how many blocks train in the end, at least 1. The paper goes on until all do; its network
            has four layers under the head, hence the 4. Over many more the paper's factor leaves
            the first ones all but still: take `.with_settings(layer_decay=0.9)` as well.
        epochs: most epochs of each stage.
        learning_rate: the head's, in every stage.
        blocks_per_stage: how many blocks each stage adds, at least 1.
        block_multiplier: what scales the learning rate of the blocks.
        patience: epochs without a better one after which a stage ends; None: each stage
            takes all its epochs.

    Raises:
        InputError: `k` or `blocks_per_stage` is under 1.

    Source: Howard and Ruder 2018, ULMFiT (arXiv 1801.06146): one layer more each epoch, each layer
        2.6 times slower than the one above it, a short rise of the rate and a long linear fall.
        Changed: the rise (a tenth) and the fall (to 0, not to 1/32) span one stage, not the whole
        training; all blocks are ten times slower still, as images of a distant domain need it.
    """
    k = whole("gradual_unfreeze (the head alone is linear_probe)", "k", k, 1)
    step = whole("gradual_unfreeze", "blocks_per_stage", blocks_per_stage, 1)
    epochs = whole("gradual_unfreeze", "epochs", epochs, 1)
    depths = [*range(0, k, step), k]
    stages = [
        _tuning_stage(
            depth,
            epochs,
            learning_rate,
            block_multiplier=block_multiplier,
            layer_decay=1 / 2.6,
            schedule="linear",
            warmup_epochs=epochs / 10,
            patience=patience,
        )
        for depth in depths
    ]
    return Plan("gradual_unfreeze", tuple(stages))


def from_scratch(
    epochs: int = 100, learning_rate: float = 1e-3, *, patience: int | None = None
) -> Plan:
    """Return everything from random weights: what fine-tuning is compared with.

    Args:
        epochs: most epochs; the learning rate rises during the first twentieth.
        learning_rate: of all weights.
        patience: epochs without a better one after which it ends.

    Source: He, Girshick and Dollar 2018, Rethinking ImageNet Pre-training (arXiv 1811.08883): with
        enough images and time it ends as well, but not sooner. Changed: AdamW (Loshchilov and
        Hutter 2017, arXiv 1711.05101) with warm-up and cosine, since its rate depends less on the
        batch size than that of SGD; random parts and flips, which small data needs.
    """
    epochs = whole("from_scratch", "epochs", epochs, 1)
    stage = Stage(
        name=_stage_name(ALL),
        unfreeze=ALL,
        epochs=epochs,
        learning_rate=learning_rate,
        optimizer="adamw",
        weight_decay=0.05,
        schedule="cosine",
        warmup_epochs=epochs / 20,
        batch_norm="train",
        augmentation="standard",
        patience=patience,
        scale_features=False,
    )
    return Plan("from_scratch", (stage,), pretrained=False)


def classic(unfreeze: int | str = ALL) -> Plan:
    """Return the textbook's settings: everything at 0.001 with SGD, ten times less every 7 epochs.

    Args:
        unfreeze: `"all"` fine-tunes the network; 0 is the same tutorial's fixed feature extractor
            (there the statistics of the frozen batch norm still move; here they do not).

    Source: Chilamkurthy, Transfer Learning for Computer Vision Tutorial (PyTorch tutorials): SGD
        0.001, momentum 0.9, StepLR(7, 0.1), 25 epochs, batches of 4, RandomResizedCrop and
        RandomHorizontalFlip. Changed: nothing that a plan can say. Keras keeps the rate within the
        momentum and PyTorch outside: for some ten steps after each drop Keras still moves faster.
    """
    stage = Stage(
        name=_stage_name(unfreeze),
        unfreeze=unfreeze,
        epochs=25,
        learning_rate=0.001,
        optimizer="sgd",
        momentum=0.9,
        schedule="step",
        decay_every_epochs=7,
        decay_factor=0.1,
        batch_norm="train",
        augmentation="standard",
        batch_size=4,
        scale_features=False,
    )
    return Plan("classic", (stage,))


def _stage_name(unfreeze: int | str) -> str:
    """Say what trains, in words."""
    if unfreeze == ALL:
        return "everything"
    return f"last {unfreeze}" if unfreeze else "head"


def _head_stage(
    epochs: int, learning_rate: float = HEAD_LEARNING_RATE, patience: int | None = 10
) -> Stage:
    return Stage(
        name="head",
        unfreeze=0,
        epochs=epochs,
        learning_rate=learning_rate,
        schedule="cosine",
        patience=patience,
    )


def _tuning_stage(unfreeze: int | str, epochs: int, learning_rate: float, **settings: Any) -> Stage:
    """Return a stage on pretrained blocks.

    Batch norm stays frozen, as the guide of Keras has it.
    """
    return Stage(
        name=_stage_name(unfreeze),
        unfreeze=unfreeze,
        epochs=epochs,
        learning_rate=learning_rate,
        **{"schedule": "cosine", **settings},
    )
