"""What a backbone is made of, block by block, as plain data: of some it ships, others are built.

`python -m ktransfer.pages.simulator.anatomy` builds those that ship and writes their table anew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ktransfer.backbones import Block

_FILE = "anatomies.json"

#: Those that a page shows where nobody names others, each with what people call it.
SHIPPED = {
    "ResNet18": "ResNet-18",
    "AlexNet": "AlexNet",
    "MobileNetV2": "MobileNetV2",
    "EfficientNetB0": "EfficientNetB0",
    "VGG16": "VGG16",
    "ResNet50": "ResNet50",
    "DenseNet121": "DenseNet121",
    "ConvNeXtTiny": "ConvNeXtTiny",
}


@dataclass(frozen=True)
class BlockAnatomy:
    """A block, as far as freezing is concerned.

    Attributes:
        name: as of `Block`.
        parameters: how many numbers its weights hold.
        activations: how many numbers its operations make of an image.
        output: what it says of an image, for example `(height, width, channels)`.
    """

    name: str
    parameters: int
    activations: int
    output: tuple[int, ...]


@dataclass(frozen=True)
class Anatomy:
    """A backbone as a row of blocks, without its weights.

    Attributes:
        name: for `load_backbone`.
        title: what people call it.
        input_size: height and width of its images in pixels.
        blocks: first block first.
    """

    name: str
    title: str
    input_size: tuple[int, int]
    blocks: tuple[BlockAnatomy, ...]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Anatomy:
        """Return the reverse of `dataclasses.asdict`, after JSON."""
        blocks = tuple(
            BlockAnatomy(**{**each, "output": tuple(each["output"])}) for each in data["blocks"]
        )
        return cls(**{**data, "input_size": tuple(data["input_size"]), "blocks": blocks})


def ships(name: str) -> bool:
    """Tell whether nothing need be built to know what a backbone is made of."""
    return name.casefold() in map(str.casefold, SHIPPED)


def anatomies(names: Sequence[str] = ()) -> tuple[Anatomy, ...]:
    """Say what backbones are made of.

    Args:
        names: as of `load_backbone`; each is shown once. None: those that ship. Only one that does
            not ship is built, which imports TensorFlow.

    Raises:
        InputError: a name is unknown.

    Example:
        >>> [len(each.blocks) for each in anatomies(["VGG16", "vgg16", "MobileNetV2"])]
        [5, 19]
    """
    text = resources.files("ktransfer.pages.simulator").joinpath(_FILE).read_text("utf-8")
    shipped = {each["name"].casefold(): Anatomy.from_dict(each) for each in json.loads(text)}
    wanted = dict.fromkeys(each.casefold() for each in names) or shipped
    spelt = {each.casefold(): each for each in names}
    return tuple(shipped[each] if each in shipped else measure(spelt[each]) for each in wanted)


def measure(name: str) -> Anatomy:
    """Build a backbone with random weights and take it apart.

    Args:
        name: as of `load_backbone`.

    Raises:
        InputError: the name is unknown.
    """
    from ktransfer.advisor.costs import Costs
    from ktransfer.backbones import load_backbone
    from ktransfer.backbones.model_file import is_model_file

    own = is_model_file(name)  # with weights that it keeps, of which nothing is shown
    backbone = load_backbone(name, weights="imagenet" if own else None)
    costs = Costs.of(backbone, seconds_per_image=1.0)
    blocks = tuple(
        BlockAnatomy(block.name, parameters, activations, _output(block))
        for block, parameters, activations in zip(
            backbone.blocks, costs.parameters, costs.activations, strict=True
        )
    )
    title = SHIPPED.get(backbone.name, backbone.name.removeprefix("hub:"))
    return Anatomy(name if own else backbone.name, title, backbone.input_size, blocks)


def _output(block: Block) -> tuple[int, ...]:
    # A cut of NASNet has two tensors: the head reads what the last cell says.
    return tuple(block.calls[-1].outputs[0].shape[1:])


def main() -> None:
    """Write the table anew."""
    import keras

    rows = []
    for name in SHIPPED:
        data = asdict(measure(name))
        blocks = ",\n    ".join(json.dumps(each) for each in data.pop("blocks"))
        rows.append(f'  {json.dumps(data)[:-1]}, "blocks": [\n    {blocks}]}}')
        keras.utils.clear_session()
    Path(__file__).with_name(_FILE).write_text("[\n" + ",\n".join(rows) + "\n]\n", "utf-8")


if __name__ == "__main__":
    main()
