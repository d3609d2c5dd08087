"""`ktransfer backbones`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ktransfer.cli import checks, terminal
from ktransfer.cli.options import KeyValue, class_names_option, json_option, overwrite_option
from ktransfer.cli.startup import at_work, elapsed
from ktransfer.errors import InputError
from ktransfer.show.charts import ENDINGS
from ktransfer.show.results import Bold

if TYPE_CHECKING:
    from ktransfer.backbones.catalog import BackboneInfo
    from ktransfer.recommend import Default, Recommendation

Candidate = tuple[str, Mapping[str, Any]]


class NameAndOptions(click.ParamType):
    """`MobileNetV2,alpha=0.35` as `("MobileNetV2", {"alpha": 0.35})`."""

    name = "NAME[,OPTION=VALUE...]"

    def convert(self, value: Any, param: Any, ctx: Any) -> Candidate:
        """Split at the commas."""
        name, *options = value.split(",")
        pairs = [KeyValue().convert(each, param, ctx) for each in options]
        return name, dict(pairs)


@click.command()
@click.option(
    "--data", metavar="DATA", help="Compare candidates on these images, as `train` takes them."
)
@click.option(
    "--candidate",
    "candidates",
    type=NameAndOptions(),
    multiple=True,
    help="One to compare, such as MobileNetV2,alpha=0.35; also weights=FILE and input_size=N. "
    "Repeatable; default a list from small to accurate.",
)
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    metavar="imagenet|mini|none|FILE",
    help="Of the candidates without weights of their own.",
)
@click.option("--max-latency-ms", type=float, metavar="MS", help="Longest time for one image here.")
@click.option("--max-size-mb", type=float, metavar="MB", help="Largest weights, as float32.")
@click.option("--max-memory-mb", type=float, metavar="MB", help="Most memory, as estimated.")
@click.option("--plot", metavar="FILE.svg", help="Draw accuracy over latency, as SVG or PNG.")
@class_names_option
@overwrite_option("FILE.svg, should there be one")
@json_option
def backbones(
    data: str | None,
    candidates: Sequence[Candidate],
    weights: str,
    plot: str | None,
    class_names: list[str] | None,
    overwrite: bool,
    as_json: bool,
    **limits: Any,
) -> None:
    """List the backbones that can be named, or compare some on your images.

    With --data, linear heads on each candidate are judged on at most 500 of the training images,
    beside its latency on this machine, its size and the memory it needs.
    """
    if data is None:
        _list(candidates, plot, limits, as_json)
        return
    own_weights = _check(candidates, weights, limits)
    checks.check_labelled(data, class_names)
    models = [weights, *(str(each["weights"]) for _, each in candidates if "weights" in each)]
    checks.check_file(plot, "--plot", data, models=models, overwrite=overwrite, ending=ENDINGS)
    seconds: dict[str, float] = {}
    with at_work(seconds):
        from ktransfer.recommend import recommend_backbones

        found = recommend_backbones(
            data, candidates or None, weights=own_weights, class_names=class_names, **limits
        )
        if plot:
            found.plot(plot, overwrite=overwrite)
    seconds = {**seconds, **found.seconds, "total": elapsed()}
    if as_json:
        terminal.print_json({**found.to_dict(), "plot": plot, "seconds": seconds})
    else:
        _print_recommendation(found, data, class_names)
        if plot:
            terminal.echo(f"picture: {plot}")


def _list(
    candidates: Sequence[Candidate],
    plot: str | None,
    limits: Mapping[str, float | None],
    as_json: bool,
) -> None:
    if candidates or plot or any(each is not None for each in limits.values()):
        raise InputError("candidates are compared on images: give --data DATA")
    from ktransfer.backbones import list_backbones
    from ktransfer.recommend import DEFAULTS

    rows = list_backbones()
    if as_json:
        defaults = [asdict(each) for each in DEFAULTS]
        terminal.print_json({"backbones": [asdict(each) for each in rows], "defaults": defaults})
    else:
        _print_backbones(rows, DEFAULTS)


def _check(
    candidates: Sequence[Candidate],
    weights: str,
    limits: Mapping[str, float | None],
) -> str | None:
    """Say what can be checked before TensorFlow is imported; the weights."""
    from ktransfer.recommend.limits import Limits

    for name, options in candidates:
        checks.check_backbone(name)
        own = options.get("weights")
        if own is not None:
            checks.checked_weights(str(own))
    Limits(**limits)
    return checks.checked_weights(weights)


def _print_backbones(rows: Iterable[BackboneInfo], defaults: Iterable[Default]) -> None:
    """Return a table of names, sizes and blocks, and which of them to begin with."""
    terminal.echo(Bold(f"{'name':<20}{'parameters':>13}{'blocks':>8}{'input px':>10}"))
    for row in rows:
        terminal.echo(f"{row.name:<20}{row.parameters:>13,}{row.blocks:>8}{row.input_size[0]:>10}")
    terminal.echo()
    terminal.echo(
        'Parameters without a classifier. KerasHub presets: "hub:NAME", with ktransfer[hub]; '
        "a model of your own: PATH.keras."
    )
    terminal.heading("To begin with (--data DATA compares them on your images)")
    for each in defaults:
        options = "".join(f" {name}={value}" for name, value in each.options.items())
        terminal.print_row(each.role, f"{each.name}{options}: {each.reason}")


def _print_recommendation(
    found: Recommendation, data: str, class_names: Sequence[str] | None
) -> None:
    """Return the table, the heads of its columns in bold, and what to type next."""
    from ktransfer.backbones import list_backbones

    for line in str(found).splitlines():
        stands_out = line.startswith(("best:", "     backbone"))
        terminal.echo(Bold(line) if stands_out else line)
    terminal.print_seconds(found.seconds)
    best = found.best
    command = ["ktransfer", "train", data, "--backbone", best.name]
    for name, value in best.options.items():
        command += ["--backbone-option", f"{name}={value}"]
    if best.weights not in ("imagenet", "own"):
        command += ["--weights", best.weights or "none"]
    usual = {each.name: each.input_size for each in list_backbones()}.get(best.name)
    if best.weights != "mini" and best.input_size and best.input_size != usual:
        command += ["--input-size", str(best.input_size[0])]
    if class_names:
        command += ["--class-names", ",".join(class_names)]
    terminal.print_next([*command, "--out", "runs/mine"])
