"""The command ``fusemax``: one file per command, imported without what only its work needs.

Exit status: 0 done, 1 a check failed, 2 unusable input, 130 ended by Ctrl-C, 143 by SIGTERM, 141 by a closed pipe.
"""

from __future__ import annotations

from typing import Annotated

import typer

import fusemax
from fusemax.cli.analyze import analyze
from fusemax.cli.cascades import cascades
from fusemax.cli.cite import cite
from fusemax.cli.evaluate import evaluate
from fusemax.cli.examples import epilog
from fusemax.cli.group import Commands, run_commands
from fusemax.cli.machines import machines
from fusemax.cli.map import map_
from fusemax.cli.mappers import mappers
from fusemax.cli.mapping import mapping
from fusemax.cli.measure import measure
from fusemax.cli.measure_gpu import gpu
from fusemax.cli.models import models
from fusemax.cli.report import report
from fusemax.cli.reproduce import reproduce
from fusemax.cli.rewrite import rewrite
from fusemax.cli.schema import schema
from fusemax.cli.simulate import simulate
from fusemax.cli.sweep import sweep
from fusemax.cli.validate import validate

__all__ = ["app", "main"]

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    epilog=epilog(""),
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS = (
    reproduce,
    cascades,
    machines,
    models,
    mappers,
    evaluate,
    map_,
    simulate,
    mapping,
    analyze,
    rewrite,
    sweep,
    report,
    validate,
    schema,
    cite,
)
for _command in _COMMANDS:
    _name = _command.__name__.rstrip("_")
    app.command(_name, epilog=epilog(_name))(_command)
measure.command(epilog=epilog("measure gpu"))(gpu)
app.add_typer(measure, name="measure", epilog=epilog("measure"))


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"fusemax {fusemax.__version__}")
        raise typer.Exit


@app.callback()
def _fusemax(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Passes, traffic, latency and energy of attention algorithms written as cascades of Einsums."""


def main() -> None:
    """Run the command line."""
    run_commands(app)
