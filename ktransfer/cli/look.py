"""`ktransfer look`."""

from __future__ import annotations

import click

from ktransfer.augment.policies import AUGMENTATIONS
from ktransfer.cli import checks, terminal
from ktransfer.cli.options import (
    class_names_option,
    json_option,
    overwrite_option,
    seed_option,
    value_range_option,
)
from ktransfer.cli.startup import at_work, elapsed
from ktransfer.errors import InputError
from ktransfer.show.timing import timed

_INPUT_PX = 224


@click.command()
@click.argument("data")
@click.option("--out", required=True, metavar="PAGE.png", help="Where to write the page.")
@click.option(
    "--augmentation",
    type=click.Choice(AUGMENTATIONS),
    help="Show this policy; default a few rows of each.",
)
@click.option(
    "--backbone", metavar="NAME|PATH.keras", help="See the images at this backbone's size."
)
@click.option(
    "--input-size", type=click.IntRange(1), metavar="N", help="Or at so many pixels; default 224."
)
@value_range_option
@class_names_option
@seed_option
@overwrite_option("PAGE.png, should there be one")
@json_option
def look(
    data: str,
    out: str,
    augmentation: str | None,
    backbone: str | None,
    input_size: int | None,
    value_range: str | tuple[float, float],
    class_names: list[str] | None,
    seed: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Draw a page of the images in DATA, before and after augmentation.

    A row for an image: the file, what the network sees of it, and its views in the first epochs.
    """
    checks.check_labelled(data, class_names)
    checks.check_file(out, "--out", data, overwrite=overwrite, ending=".png")
    size = _size(backbone, input_size)
    seconds: dict[str, float] = {}
    with at_work(seconds):
        from ktransfer.augment.samples import look as draw

        with timed(seconds, "look"):
            page = draw(
                data,
                out,
                augmentation=augmentation,
                input_size=size,
                seed=seed,
                overwrite=overwrite,
                value_range=value_range,
                class_names=class_names,
            )
    seconds["total"] = elapsed()
    if as_json:
        terminal.print_json({**page.to_dict(), "input_size": size, "seconds": seconds})
    else:
        terminal.show(page.printed())
        terminal.print_seconds(seconds)


def _size(backbone: str | None, input_size: int | None) -> tuple[int, int]:
    """Return the size of the views in pixels, without building a network."""
    if input_size is not None or backbone is None:
        return (input_size or _INPUT_PX,) * 2
    if backbone.startswith("hub:"):
        raise InputError(f"the size of {backbone!r} is not known here: give --input-size N")
    checks.check_backbone(backbone)
    from ktransfer.backbones import list_backbones
    from ktransfer.backbones.model_file import input_size_of, is_model_file

    if is_model_file(backbone):
        return input_size_of(backbone)
    sizes = {each.name.casefold(): each.input_size for each in list_backbones()}
    return sizes[backbone.casefold()]
