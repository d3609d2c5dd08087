"""The table of the backbones that can be named, readable without keras.

`python -m ktransfer.backbones.catalog` builds every model and writes the table anew.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

from ktransfer.backbones.families import FAMILY_OF_NAME

_FILE = "catalog.json"


@dataclass(frozen=True)
class BackboneInfo:
    """What a backbone with its default options is, without building it.

    Attributes:
        name: the name for `load_backbone`.
        parameters: how many numbers its weights hold, without a classifier.
        blocks: how many blocks it has.
        input_size: height and width in pixels that its ImageNet weights were trained at.
    """

    name: str
    parameters: int
    blocks: int
    input_size: tuple[int, int]


def list_backbones() -> tuple[BackboneInfo, ...]:
    """Return the backbones of keras.applications, ResNet18, ResNet34 and AlexNet, by name.

    Reads a table that ships with ktransfer; neither keras nor TensorFlow is imported.

    Returns:
        One entry for each name.

    Example:
        >>> from ktransfer.backbones import list_backbones
        >>> [info.blocks for info in list_backbones() if info.name in ("MobileNetV2", "VGG16")]
        [19, 5]
    """
    rows = json.loads(resources.files("ktransfer.backbones").joinpath(_FILE).read_text("utf-8"))
    return tuple(BackboneInfo(**{**row, "input_size": tuple(row["input_size"])}) for row in rows)


def measure(name: str) -> BackboneInfo:
    """Build a backbone with random weights and describes it.

    Args:
        name: as in `FAMILY_OF_NAME`.

    Returns:
        The entry for the table.
    """
    from ktransfer.backbones.loading import load_backbone

    backbone = load_backbone(name, weights=None)
    return BackboneInfo(name, backbone.parameters, len(backbone.blocks), backbone.input_size)


def main() -> None:
    """Write the table anew."""
    import keras

    rows = []
    for name in sorted(FAMILY_OF_NAME):
        rows.append(asdict(measure(name)))
        keras.utils.clear_session()  # 40 networks together do not fit into memory
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    Path(__file__).with_name(_FILE).write_text(f"[\n{lines}\n]\n", "utf-8")


if __name__ == "__main__":
    main()
