"""How many images of a pipeline are worked on at a time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


def num_cores() -> int:
    """Say how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


#: Twice the cores: images differ in size, and a small one should not wait for a large one.
PARALLEL_CALLS = 2 * num_cores()
#: Batches that are ready before they are asked for.
PREFETCHED = 2


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return the dataset with the numbers above as they are.

    TensorFlow's autotuning begins with little and learns within seconds what is needed. A pass over
    a few hundred photos is over by then: about half of the passes over 398 photos were a third
    slower with it, on 2 cores and TensorFlow 2.21.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
