"""The options that `train`, `plan` and `tune` share: the backbone, how the images are looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from ktransfer.cli.program import KeyValue, Range

if TYPE_CHECKING:
    from ktransfer.finetuner import FineTuner

_OF_THE_TUNER = ("input_size", "pooling", "seed")
_DEFAULTS = {"pooling": "avg", "validation_fraction": 0.2, "value_range": "auto", "seed": 0}

value_range_option = click.option(
    "--value-range",
    type=Range(),
    default="auto",
    show_default=True,
    help="Which values are black and white in grey images of more than 8 bits, such as 0,4095; "
    "auto is measured, full is the whole of 16 bits.",
)

_OPTIONS = (
    click.option(
        "--backbone", default="MobileNetV2", show_default=True, help="A name from `backbones`."
    ),
    click.option(
        "--backbone-option",
        "backbone_options",
        multiple=True,
        type=KeyValue(),
        help="For the backbone's constructor, such as alpha=0.35. May be repeated.",
    ),
    click.option(
        "--weights",
        default="imagenet",
        show_default=True,
        metavar="PATH|imagenet|mini|none",
        help="What the backbone knows; mini is for demonstrations.",
    ),
    click.option(
        "--input-size", type=click.IntRange(1), metavar="N", help="Pixels; default the backbone's."
    ),
    click.option(
        "--pooling",
        type=click.Choice(["avg", "max", "avgmax", "token"]),
        default=_DEFAULTS["pooling"],
        show_default=True,
    ),
    click.option(
        "--similarity",
        metavar="similar|different|0..1",
        help="How similar the images are to the backbone's own; default: it is measured.",
    ),
    click.option(
        "--validation-fraction",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=_DEFAULTS["validation_fraction"],
        show_default=True,
        help="Share of each class held back where DATA has no val folder.",
    ),
    value_range_option,
    click.option("--seed", type=click.IntRange(0), default=_DEFAULTS["seed"], show_default=True),
)

fine_tuning_option = click.option(
    "--fine-tuning",
    type=click.Choice(["auto", "on", "off"]),
    default="auto",
    show_default=True,
    help="Whether to try to train blocks too, and keep what validation says is better.",
)


def tuner_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that `built` reads, and those of looking at the images."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def built(options: Mapping[str, Any]) -> FineTuner:
    """A `FineTuner` by these options."""
    from ktransfer.finetuner import FineTuner

    own = dict(options["backbone_options"])
    chosen = named((*_OF_THE_TUNER, "dropout"), options)
    return FineTuner(options["backbone"], options["weights"], **chosen, **own)


def words_of(options: Mapping[str, Any]) -> list[str]:
    """What a command with these options is typed as, but for how the domain gap is measured."""
    words = ["--backbone", options["backbone"], "--weights", options["weights"] or "none"]
    for name, value in options["backbone_options"]:
        words += ["--backbone-option", f"{name}={value}"]
    for name in (*_OF_THE_TUNER, "validation_fraction", "value_range"):
        value = options.get(name)
        if value not in (None, _DEFAULTS.get(name)):
            several = isinstance(value, list | tuple)
            text = ",".join(f"{each:.17g}" for each in value) if several else str(value)
            words += [f"--{name.replace('_', '-')}", text]
    return words


def named(names: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that there are.

    A run that is resumed may have begun before there was such an option: then the default holds.
    """
    return {name: options[name] for name in names if name in options}
