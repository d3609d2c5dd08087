"""Classes of unequal size: what is done about them in training, and why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ktransfer.errors import unknown_name

BALANCES = ("auto", "none", "class_weights", "sampling")

#: From this ratio of the largest to the smallest class "auto" weights the classes. In probes of
#: flowers (benchmarks/results/imbalance.md) weights cost 0.4 points of balanced accuracy at 2 to 1,
#: gained 1.7 at 4 to 1 and 3.6 at 10 to 1; even sampling gained a little less from 4 to 1 on.
BALANCE_FROM = 3.0


@dataclass(frozen=True)
class Balance:
    """What is done about classes of unequal size.

    Attributes:
        method: "none", "class_weights" or "sampling".
        reason: in words; empty where there is nothing to say.
    """

    method: str
    reason: str


def check_balance(balance: str) -> None:
    """Raise an `InputError` where it is none of `BALANCES`."""
    if balance not in BALANCES:
        raise unknown_name("balance", str(balance), BALANCES)


def choose_balance(balance: str, labels: np.ndarray, class_names: tuple[str, ...]) -> Balance:
    """Say what to do about classes of unequal size.

    Args:
        balance: one of `BALANCES`; "auto" weights the classes where the largest has at least
            `BALANCE_FROM` times the images of the smallest, and does nothing below.
        labels: of the training images, integers `(images,)`, positions in the names.
        class_names: for the reason.

    Raises:
        InputError: `balance` is unknown.
    """
    check_balance(balance)
    counts = np.bincount(labels, minlength=len(class_names))
    most, fewest = int(counts.argmax()), int(counts.argmin())
    sizes = (
        f"the largest class, {class_names[most]!r}, has {counts[most]:,} training images, the "
        f"smallest, {class_names[fewest]!r}, {counts[fewest]:,}"
    )
    if balance != "auto":
        said = "" if balance == "none" else f"balance={balance!r} as asked: {sizes}"
        return Balance(balance, said)
    if counts[most] < BALANCE_FROM * counts[fewest]:
        return Balance("none", "")
    ratio = f"{counts[most] / counts[fewest]:.1f} times" if counts[fewest] else "many times"
    return Balance(
        "class_weights",
        f"{sizes}: {ratio} as many, so every class weighs the same in the loss "
        f'(balance="class_weights", chosen from {BALANCE_FROM:g} times on; balance="none" leaves '
        "it)",
    )


def class_weights(labels: np.ndarray) -> np.ndarray:
    """Weigh each image so that every class weighs the same: images / (classes * of class).

    Args:
        labels: integers `(images,)`. Classes without images do not count.

    Returns:
        float32 `(images,)`; their mean is 1, so that learning rates keep their meaning.

    Source: King and Zeng 2001, Logistic Regression in Rare Events Data; scikit-learn's "balanced".
    """
    classes, positions, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights = len(labels) / (len(classes) * counts)
    return weights[positions].astype(np.float32)
