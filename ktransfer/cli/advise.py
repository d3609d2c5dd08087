"""`ktransfer advise`."""

from __future__ import annotations

from typing import Any

import click

from ktransfer.cli import checks, terminal
from ktransfer.cli.options import (
    built,
    class_names_option,
    fine_tuning_option,
    json_option,
    tuner_options,
    verbosity_options,
    words_of,
)
from ktransfer.cli.startup import at_work, elapsed
from ktransfer.show.timing import timed


@click.command()
@click.argument("data")
@tuner_options
@fine_tuning_option
@click.option("--depths", is_flag=True, help="Judge a head on each block by itself, too.")
@class_names_option
@verbosity_options
@json_option
def advise(data: str, verbose: bool, quiet: bool, as_json: bool, **options: Any) -> None:
    """Look at the images in DATA and say what to freeze, without training.

    One pass through the backbone measures how far the images are from its own, and what a head
    would get right on the features of several depths. `train` does the same first, and finds in
    the cache what was computed here.
    """
    checks.check_backbone(options["backbone"], options["weights"])
    options["weights"] = checks.checked_weights(options["weights"])
    similarity = checks.checked_similarity(options["similarity"])
    checks.check_labelled(data, options["class_names"])
    seconds: dict[str, float] = {}
    with at_work(seconds, quiet=quiet):
        with timed(seconds, "backbone"):
            finetuner = built(options, verbose=verbose, quiet=quiet)
        with timed(seconds, "decide"):
            advice = finetuner.advise(
                data,
                similarity=similarity,
                fine_tuning=options["fine_tuning"],
                validation_fraction=options["validation_fraction"],
                value_range=options["value_range"],
                class_names=options["class_names"],
                depths=options["depths"],
            )
    seconds["total"] = elapsed()
    if as_json:
        name = {"backbone": finetuner.backbone.name}
        terminal.print_json({**advice.to_dict(), **name, "seconds": seconds})
    else:
        terminal.show(advice.printed(finetuner.backbone.name))
        if verbose:
            terminal.show(advice.details())
            terminal.print_seconds(seconds)
        terminal.print_next(_train_command(data, options))


def _train_command(data: str, options: dict[str, Any]) -> list[str]:
    """Say what trains as was decided here: with the same backbone, and asked for the same."""
    asked = {"--similarity": options["similarity"], "--fine-tuning": options["fine_tuning"]}
    words = [word for each in asked.items() if each[1] not in (None, "auto") for word in each]
    return ["ktransfer", "train", data, *words_of(options), *words, "--out", "runs/photos"]
