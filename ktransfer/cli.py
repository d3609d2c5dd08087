"""The command `ktransfer`: train, evaluate, predict, backbones, demo.

Keras and TensorFlow take seconds to import, so that they are imported inside the commands, after
all that can be checked without them. Results go to standard output, progress to standard error.
"""

from __future__ import annotations

import time

_STARTED = time.perf_counter()  # before click is imported: `total` is what the user waits

import contextlib  # noqa: E402
import shlex  # noqa: E402
import shutil  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Iterator, Sequence  # noqa: E402
from dataclasses import asdict  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

import click  # noqa: E402

from ktransfer import __version__, _early, _terminal  # noqa: E402
from ktransfer._checks import RunError  # noqa: E402
from ktransfer._program import INTERRUPTED, KeyValue, Program, json_option  # noqa: E402
from ktransfer._timing import timed  # noqa: E402

if TYPE_CHECKING:
    from ktransfer.finetuner import FineTuner
    from ktransfer.results import FitResult


_TUNER_OPTIONS = ("input_size", "pooling", "dropout", "seed")
_FIT_OPTIONS = (
    "unfreeze",
    "epochs",
    "batch_size",
    "patience",
    "validation_fraction",
    "cache",
    "similarity",
)


@click.group(cls=Program, invoke_without_command=True)
@click.version_option(__version__, prog_name="ktransfer")
@click.pass_context
def main(context: click.Context) -> None:
    """Transfer learning for a few hundred or a few thousand images.

    Begin with `ktransfer demo`, which needs neither photos nor a network.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@main.command()
@click.argument("data", required=False)
@click.option(
    "--backbone", default="MobileNetV2", show_default=True, help="A name from `backbones`."
)
@click.option(
    "--backbone-option",
    "backbone_options",
    multiple=True,
    type=KeyValue(),
    help="For the backbone's constructor, such as alpha=0.35. May be repeated.",
)
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    metavar="PATH|imagenet|mini|none",
    help="What the backbone knows; mini is for demonstrations.",
)
@click.option(
    "--out", metavar="RUN", help="Folder for the trained model, and for checkpoints until then."
)
@click.option(
    "--plan",
    default="auto",
    show_default=True,
    metavar="NAME|FILE.json",
    help="What trains when: auto (the 2x2 rule), lp_ft, gradual_unfreeze, ..., or a file.",
)
@click.option(
    "--unfreeze",
    type=click.IntRange(0),
    metavar="K",
    help="How many last blocks train; 0 is the head alone.",
)
@click.option(
    "--resume",
    metavar="RUN",
    help="Go on with the training in RUN that was killed; all options come from there.",
)
@click.option(
    "--input-size", type=click.IntRange(1), metavar="N", help="Pixels; default the backbone's."
)
@click.option(
    "--similarity",
    metavar="similar|different|0..1",
    help="How similar the images are to what the backbone was trained on.",
)
@click.option(
    "--pooling",
    type=click.Choice(["avg", "max", "avgmax", "token"]),
    default="avg",
    show_default=True,
)
@click.option(
    "--epochs", type=click.IntRange(1), help="Most epochs of every stage; default the plan's."
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    help="Images a step; default the plan's, or an eighth of them, from 4 to 32.",
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    help="Epochs without a lower validation loss until a stage ends; default the plan's.",
)
@click.option(
    "--dropout", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True
)
@click.option(
    "--validation-fraction",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of each class held back where DATA has no val folder.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--cache",
    type=click.Choice(["auto", "on", "off"]),
    default="auto",
    show_default=True,
    help="Whether what frozen blocks say is computed once.",
)
@click.option("--overwrite", is_flag=True, help="Replace the run in RUN.")
@json_option
@click.pass_context
def train(
    context: click.Context,
    data: str | None,
    out: str | None,
    resume: str | None,
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Train a classifier of the images in DATA.

    DATA holds a folder for each class, or train/, val/ and perhaps test/ with such folders inside.
    A training that was killed goes on with `ktransfer train --resume RUN`.
    """
    if resume is None:
        out, command = _early.new_training(data, out, options, overwrite=overwrite)
    else:
        _early.check_only_resume(context)
        if _early.is_complete(resume):
            return _already_complete(resume, as_json=as_json)
        out, command = resume, _early.training_to_resume(resume, data)
    seconds: dict[str, float] = {}
    with _at_work(seconds), _resumable(out):
        result, name = _trained(command, out, resume=resume is not None, seconds=seconds)
    seconds["total"] = time.perf_counter() - _STARTED
    if as_json:
        extra = {"out": out, "backbone": name, "seconds": seconds}
        _terminal.print_json({**result.to_dict(), **extra})
    else:
        _terminal.print_fit(result, name)
        _terminal.print_seconds(seconds)
        _terminal.print_saved(out, command["data"])
        if result.interrupted:
            _terminal.print_resumable(out)
    return INTERRUPTED if result.interrupted else 0


def _trained(
    command: dict[str, Any], out: str, *, resume: bool, seconds: dict[str, float]
) -> tuple[FitResult, str]:
    """Carry out a command that `_early` has checked, or go on with it."""
    from ktransfer.plan import Plan

    with timed(seconds, "backbone"):
        tuner = _built(command)
    plan = command["plan"]
    # Killed before its first step, it has nothing to go on from, and begins.
    resume = resume and _early.has_begun(out)
    result = tuner.fit(
        command["data"],
        plan=Plan.from_dict(plan) if isinstance(plan, dict) else plan,
        out=out,
        resume=resume,
        # That it may be, `_early` has checked, before the command was noted there.
        overwrite=not resume and _early.holds_run(out),
        **_named(_FIT_OPTIONS, command),
    )
    seconds |= result.seconds
    return result, tuner.backbone.name


def _already_complete(run: str, *, as_json: bool) -> int:
    """What came of a training that needs no resuming."""
    with _at_work({}):
        tuner = _loaded(run, {})
    if tuner.result is None:
        raise RunError(f"{run} is a complete run, there is nothing to resume")
    if as_json:
        own = {"out": run, "backbone": tuner.backbone.name, "seconds": tuner.result.seconds}
        _terminal.print_json({**tuner.result.to_dict(), **own})
    else:
        _terminal.print_note(f"{run} was complete already; this is what came of it:")
        _terminal.print_fit(tuner.result, tuner.backbone.name)
    return 0


@contextlib.contextmanager
def _resumable(out: str) -> Iterator[None]:
    """Leaves nothing of a training that could not begin; says how to go on with one that did."""
    try:
        yield
    except BaseException as error:
        if not _early.has_begun(out):
            _early.forget(out)
        elif isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(
                f"interrupted; `ktransfer train --resume {shlex.quote(out)}` goes on"
            ) from error
        raise


def _built(command: dict[str, Any]) -> FineTuner:
    from ktransfer.finetuner import FineTuner

    own = dict(command["backbone_options"])
    named = _named(_TUNER_OPTIONS, command)
    return FineTuner(command["backbone"], command["weights"], **named, **own)


def _named(names: Sequence[str], options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in names}


@main.command()
@click.argument("run")
@click.argument("data")
@json_option
def evaluate(run: str, data: str, as_json: bool) -> None:
    """Measure how good RUN is on the labelled images in DATA.

    DATA holds a folder for each class, or test/ (taken first) or val/ with such folders inside.
    """
    _early.check_run(run)
    _early.check_labelled_folder(data)
    seconds: dict[str, float] = {}
    with _at_work(seconds):
        tuner = _loaded(run, seconds)
        with timed(seconds, "evaluate"):
            evaluation = tuner.evaluate(data)
    seconds["total"] = time.perf_counter() - _STARTED
    if as_json:
        _terminal.print_json({**evaluation.to_dict(), "run": run, "seconds": seconds})
    else:
        _terminal.print_evaluation(evaluation)
        _terminal.print_seconds(seconds)


@main.command()
@click.argument("run")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--csv", "csv_file", metavar="FILE", help="Write path, label, and all probabilities.")
@json_option
def predict(run: str, paths: Sequence[str], csv_file: str | None, as_json: bool) -> None:
    """Classify image files, and all images in folders, with RUN."""
    _early.check_run(run)
    _early.check_paths(paths)
    _early.check_csv(csv_file)
    seconds: dict[str, float] = {}
    with _at_work(seconds):
        tuner = _loaded(run, seconds)
        with timed(seconds, "predict"):
            predictions = tuner.predict(paths)
    _early.check_any_read(predictions)
    if csv_file:
        _terminal.write_csv(Path(csv_file), predictions)
    seconds["total"] = time.perf_counter() - _STARTED
    if as_json:
        _terminal.print_json(
            {
                "predictions": [asdict(each) for each in predictions],
                "skipped": [asdict(each) for each in predictions.skipped],
                "classes": predictions.classes,
                "csv": csv_file,
                "seconds": seconds,
            }
        )
    else:
        _terminal.print_predictions(predictions)
        _terminal.print_skipped(predictions.skipped)


@main.command()
@json_option
def backbones(as_json: bool) -> None:
    """List the backbones that can be named."""
    from ktransfer.backbones import list_backbones

    rows = list_backbones()
    if as_json:
        _terminal.print_json({"backbones": [asdict(each) for each in rows]})
    else:
        _terminal.print_backbones(rows)


@main.command()
@click.option("--out", metavar="DIR", help="Keep the pictures and the run there.")
@json_option
def demo(out: str | None, as_json: bool) -> None:
    """Draw 300 flowers by formula and learn to tell their species, in under a minute."""
    from ktransfer._progress import stderr_console
    from ktransfer.demo import draw_demo_photos, train_on

    seconds: dict[str, float] = {}
    with _demo_folder(out) as folder:
        showing = stderr_console().status("drawing 300 flowers of 5 species by formula")
        with timed(seconds, "draw"), showing:
            photos = draw_demo_photos(folder / "photos")
        with _at_work(seconds):
            done = train_on(photos)
            seconds |= done.seconds
            if out:
                with timed(seconds, "save"):
                    done.tuner.save(folder / "run")
    seconds["total"] = time.perf_counter() - _STARTED
    if as_json:
        _terminal.print_json({**done.to_dict(), "out": out, "seconds": seconds})
    else:
        _terminal.print_demo(done)
        _terminal.print_seconds(seconds)
        _terminal.print_demo_end(out)


@contextlib.contextmanager
def _demo_folder(out: str | None) -> Iterator[Path]:
    """The folder of a demonstration: a temporary one, or `out`, emptied again if it fails."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="ktransfer-demo-") as folder:
            yield Path(folder)
        return
    kept = _early.check_demo_folder(out)
    try:
        yield kept
    except BaseException:
        shutil.rmtree(kept, ignore_errors=True)
        raise


@contextlib.contextmanager
def _at_work(seconds: dict[str, float]) -> Iterator[None]:
    """Imports what is slow, and keeps standard output for results: Keras reports downloads."""
    from ktransfer._progress import stderr_console
    from ktransfer._quiet import hide_chatter

    hide_chatter()
    console = stderr_console()
    with timed(seconds, "import"), console.status("loading TensorFlow"):
        import ktransfer.finetuner  # noqa: F401
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _loaded(run: str, seconds: dict[str, float]) -> FineTuner:
    from ktransfer.finetuner import FineTuner

    with timed(seconds, "load"):
        return FineTuner.load(run)
