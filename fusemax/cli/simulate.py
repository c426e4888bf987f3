"""``fusemax simulate``: a mapping executed, in cycles and on numbers, beside the engine's figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fusemax.cli import options
from fusemax.cli.output import say, shares, show, write_json
from fusemax.cli.signals import kept
from fusemax.cli.workload_options import takes_workload

if TYPE_CHECKING:
    from fusemax.simulation.simulated import Simulation

FAILED: Final = 1
"""Exit status where the engine and a simulation do not agree."""


@takes_workload
def simulate(
    workload: Any,
    cascade: options.OptionalCascade = None,
    arch: options.OptionalArch = None,
    mapper: options.OptionalMapper = None,
    mapping: options.Mapping = None,
    functional: Annotated[
        bool,
        typer.Option("--functional", help="Run it on numbers too: result, accesses and room are checked; small sizes."),
    ] = False,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Engine beside simulation, by cause, Einsum and node; accesses are checked."),
    ] = False,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", metavar="FILE", help="Write a trace of the whole run for ui.perfetto.dev."),
    ] = None,
    waterfall: Annotated[
        Path | None,
        typer.Option("--waterfall", metavar="FILE", help="Draw a few epochs, into a .png, .pdf or .svg file."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--every", help="Run each task, also what is proven to repeat what was run.")
    ] = False,
    dtype: options.Dtype = None,
    accounting: options.OptionalAccounting = None,
    set_arch: options.SetArch = None,
    json: options.Json = False,
) -> None:
    """Execute a mapping on a spatial array, cycle by cycle, beside what the engine says.

    Arrays fill and drain, memories have ports and room, tiles come ahead as far as
    there is room: what an array waits for is told by cause. Instances that are alike
    and steady states that repeat run once, unless --every is given.

    --functional runs every point on random numbers in memories of their real sizes.
    Its result must be the interpreter's, its accesses and its room the engine's, to
    the value. Exit status 1 if a check of it or of --compare fails.
    """
    from fusemax.evaluation import Asked
    from fusemax.simulation.simulated import simulate_request

    request = Asked(cascade, arch, mapper, mapping, workload, accounting, set_arch or (), dtype=dtype).request()
    if waterfall is not None:
        from fusemax.pictures import checked_place

        checked_place(waterfall)
    with kept(lambda: _kept(trace)), shares() as progress:
        found = simulate_request(request, functional=functional, every=every, trace=trace, progress=progress)
    written = [] if trace is None else [trace]
    if waterfall is not None:
        from fusemax.pictures import draw_waterfall

        written += draw_waterfall(found.recording, cycles=found.cycles).save(waterfall)
    if json:
        write_json(found.as_dict())
    else:
        _show(found, compare=compare)
        for path in written:
            say(f"written to {path}")
    if _failed(found, compare=compare):
        raise typer.Exit(FAILED)


def _show(found: Simulation, *, compare: bool) -> None:
    from fusemax.cli.simulate_tables import comparison, summary

    show(*summary(found))
    if compare:
        show(*comparison(found))


def _failed(found: Simulation, *, compare: bool) -> bool:
    on_numbers = found.on_numbers
    return bool(compare and found.differences) or bool(on_numbers and not on_numbers.passed)


def _kept(trace: Path | None) -> str:
    """Return what is in a trace, and how to go on."""
    if trace is None or not trace.is_file():
        return "nothing is kept; the same command starts anew"
    if not trace.stat().st_size:
        return f"nothing is in {trace} yet; the same command starts anew"
    return f"{trace} has what ran until then, and opens as it is; the same command starts anew"
