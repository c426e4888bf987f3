"""``fusemax rewrite``: derive cascades with fewer passes, step by step, each checked on random inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusemax.cli import options
from fusemax.cli.output import show, table, write, write_json

if TYPE_CHECKING:
    from einsum_cascades.ir import Cascade
    from einsum_cascades.rewrites import Derivation


def rewrite(
    cascade: options.CascadeArgument,
    rank: options.Rank = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the derived cascade here.")] = None,
    passes: Annotated[
        int | None, typer.Option("--passes", min=1, metavar="N", help="Show the best form with this many passes.")
    ] = None,
    unstable: Annotated[
        bool, typer.Option("--unstable", help="Also follow rewrites that can overflow where the source does not.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Derive the cascade with the fewest passes that the rewrites reach.

    The rewrites are algebra on the Einsums alone: partition a rank, defer a factor, correct tile by tile, iterate.
    What can overflow in the source already is said, but stops no rewrite.
    """
    from einsum_cascades.load import load_cascade
    from einsum_cascades.rewrites import derive
    from fusemax.tables import check_file, write_atomically

    if out is not None:
        check_file(out)
    source = load_cascade(cascade)
    over = source.whole_rank(rank or default_rank(source))
    derivation = derive(source, over, allow_unstable=unstable)
    if passes is not None:
        derivation = form_with(derivation, passes)
    if out is not None:
        write_atomically(out, str(derivation.cascade).encode())
    if json:
        write_json(as_dict(derivation))
        return
    _show(derivation)
    write("")
    write(str(derivation.cascade) if out is None else f"written to {out}")


def default_rank(cascade: Cascade) -> str:
    """Return the rank that the cascade makes most passes over.

    Raises:
        InputError: the cascade reduces no rank.
    """
    from einsum_cascades.errors import InputError
    from mappers.rows import row_rank

    found = row_rank(cascade)
    if found is None:
        raise InputError(f"{cascade.name} reduces no rank, so it makes no pass", hint="there is nothing to rewrite")
    return found


def form_with(derivation: Derivation, passes: int) -> Derivation:
    """Return the best form with a number of passes that the search came by.

    Raises:
        InputError: there is none.
    """
    from einsum_cascades.errors import InputError

    forms = derivation.with_passes(passes)
    if not forms:
        known = sorted({form.passes for form in derivation.forms})
        raise InputError(
            f"no form of {derivation.source.name} with {passes} passes over {derivation.rank} was found",
            hint="forms found have " + ", ".join(map(str, known)) + " passes",
        )
    return forms[0]


def as_dict(derivation: Derivation) -> dict[str, Any]:
    """Return plain data: the steps with the passes after each, and the derived cascade as text."""
    from einsum_cascades.rewrites import risks

    return {
        "source": derivation.source.name,
        "rank": derivation.rank,
        "passes_before": derivation.passes_before,
        "steps": [
            {
                "rewrite": step.name,
                "description": step.rewrite.describe(),
                "passes": step.passes,
                "error": step.error,
                "warnings": list(step.warnings),
                "caution": step.caution,
                "compared": step.compared,
                "hidden": step.hidden,
            }
            for step in derivation.steps
        ],
        "passes": derivation.passes,
        "warnings": list(derivation.warnings),
        "risks": [str(risk) for risk in risks(derivation.source)],
        "obstacles": list(derivation.obstacles),
        "offers": [{"rewrite": str(offer), "warnings": list(offer.warnings)} for offer in derivation.offers],
        "refused": [{"rewrite": str(step), "reasons": list(step.warnings)} for step in derivation.refused],
        "cascade": str(derivation.cascade),
    }


def _show(derivation: Derivation) -> None:
    from einsum_cascades.rewrites import risks

    view = table()
    view.add_column("rewrite")
    view.add_column(f"passes over {derivation.rank}", justify="right")
    view.add_column("error", justify="right")
    view.add_column("values compared", justify="right")
    view.add_row(derivation.source.name, str(derivation.passes_before), "", "")
    for step in derivation.steps:
        view.add_row(step.rewrite.describe(), str(step.passes), f"{step.error:.0e}", f"{step.compared:,}")
    show(view)
    if not derivation.steps:
        write("no rewrite lowers the passes" if derivation.passes > 1 else "one pass is the least there is")
    hidden = min((step.hidden for step in derivation.steps), default=0)
    lines = [f"in the check, masks hide whole tiles of {hidden:,} rows"] if hidden else []
    lines += [f"caution: {text}" for text in derivation.cautions]
    lines += [f"in the source: {risk}" for risk in risks(derivation.source)]
    lines += [f"warning: {text}" for text in derivation.warnings]
    lines += [f"in the way: {text}" for text in derivation.obstacles]
    for offer in derivation.offers:
        lines.append(f"not taken, since it can overflow: {offer}")
        lines += [f"  {text}" for text in offer.warnings]
    for step in derivation.refused:
        lines.append(f"not taken, since it is wrong: {step}")
        lines += [f"  {text}" for text in step.warnings]
    if lines:
        write("\n".join(lines))
