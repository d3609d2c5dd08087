"""Whether the extra `tuner` is installed, asked before anything of it is imported."""

from __future__ import annotations

import importlib.util

from ktransfer.errors import InputError

#: KerasTuner imports tensorboard when it trains, and does not declare it.
_NEEDED = ("keras_tuner", "tensorboard")


def check_installed() -> None:
    """Raise an `InputError` that names the extra where something of it is missing.

    Raises:
        InputError: KerasTuner or tensorboard is not installed.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f'the search needs {" and ".join(missing)}: pip install "ktransfer[tuner]"'
        )
