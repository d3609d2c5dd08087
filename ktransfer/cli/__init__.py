"""The command `ktransfer`, a module for each of its commands.

Keras and TensorFlow take seconds to import, so that they are imported inside the commands, after
all that can be checked without them. Results go to standard output, progress to standard error.
"""

from __future__ import annotations

import ktransfer.cli.startup  # noqa: F401 - before click

# isort: split
import click

from ktransfer._version import __version__
from ktransfer.cli.advise import advise
from ktransfer.cli.backbones import backbones
from ktransfer.cli.cache import cache
from ktransfer.cli.demo import demo
from ktransfer.cli.doctor import doctor
from ktransfer.cli.evaluate import evaluate
from ktransfer.cli.explain import explain
from ktransfer.cli.export import export
from ktransfer.cli.look import look
from ktransfer.cli.predict import predict
from ktransfer.cli.program import Program
from ktransfer.cli.report import report
from ktransfer.cli.runs import runs
from ktransfer.cli.simulate import simulate
from ktransfer.cli.train import train
from ktransfer.cli.tune import tune


@click.group(cls=Program, invoke_without_command=True)
@click.version_option(__version__, prog_name="ktransfer")
@click.pass_context
def main(context: click.Context) -> None:
    """Transfer learning for a few hundred or a few thousand images.

    Begin with `ktransfer demo`, which needs neither photos nor a network.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in (
    advise,
    train,
    tune,
    evaluate,
    report,
    predict,
    runs,
    export,
    doctor,
    look,
    backbones,
    simulate,
    explain,
    cache,
    demo,
):
    main.add_command(_command)
