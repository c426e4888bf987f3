"""``fusemax validate``: every kernel against the reference interpreter in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusemax.cli import completion, options
from fusemax.cli.output import say, show, table, write, write_json

if TYPE_CHECKING:
    from kernels.validate import Check

FAILED = 1


def validate(
    cascades: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|FILE]...",
            help="Only kernels of these cascades; without any, of the library.",
            autocompletion=completion.cascades,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of the random inputs.")] = 0,
    json: options.Json = False,
) -> None:
    """Compare every kernel with the interpreter.

    The attention kernels tuned by hand and the kernel compiled from each
    cascade run on random inputs of several shapes, ragged ones too, and
    are compared with the reference interpreter in float64. The exit status
    is 1 if an error is larger than its tolerance. The first run compiles;
    later ones find the machine code on disk.
    """
    from einsum_cascades.extras import require
    from einsum_cascades.load import load_cascade

    require("kernels", "a comparison of kernels")
    from fusemax.cli.output import progress
    from kernels.validate import cases, check

    planned = cases([load_cascade(name) for name in dict.fromkeys(cascades)] if cascades else None)
    found = []
    with progress(len(planned)) as step:
        for case in planned:
            step(f"{case.cascade.name}, {case.kernel}, {case.dtype}")
            found.append(check(case, seed))
    failed = sum(not result.ok for result in found)
    if json:
        write_json({"seed": seed, "checks": [as_row(result) for result in found], "failed": failed})
    else:
        _show(found)
        for problem in dict.fromkeys(f"{r.case.kernel} {r.case.cascade.name}: {r.problem}" for r in found if r.problem):
            say(problem)
        write(f"{len(found) - failed} of {len(found)} checks passed")
    if failed:
        typer.echo(f"error: {failed} of {len(found)} checks failed", err=True)
        raise typer.Exit(FAILED)


def as_row(result: Check) -> dict[str, Any]:
    """Return plain data of one comparison."""
    case = result.case
    return {
        "kernel": case.kernel,
        "cascade": case.cascade.name,
        "dtype": case.dtype,
        "shape": dict(case.sizes),
        "causal": case.causal,
        "error": result.error,
        "tolerance": result.tolerance,
        "ok": result.ok,
        "problem": result.problem,
    }


def _show(found: Sequence[Check]) -> None:
    view = table()
    for heading in ("kernel", "cascade", "dtype", "shape"):
        view.add_column(heading)
    for heading in ("error", "allowed", "ok"):
        view.add_column(heading, justify="right")
    for result in found:
        case = result.case
        shape = case.shape + ", causal" * case.causal
        figures = (f"{result.error:.1e}", f"{result.tolerance:.0e}", "yes" if result.ok else "NO")
        view.add_row(case.kernel, case.cascade.name, case.dtype, shape, *figures)
    show(view)
