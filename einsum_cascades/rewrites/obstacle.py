"""Which dependency keeps a cascade from having fewer passes, in words.

An Einsum of a later pass that reads a value which is complete only after an earlier pass is what forces the
later pass. Either it has a result for every value of the rank, so that the rank must be walked again; or it
folds a term from which that value cannot be separated, or that cannot be mended while the value changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from einsum_cascades.errors import short
from einsum_cascades.ir import Access, Cascade, Einsum
from einsum_cascades.passes import PassAnalysis, analyse_passes
from einsum_cascades.printer import access_text, einsum_text, expression_text
from einsum_cascades.rewrites.structure import Names, Structure
from einsum_cascades.rewrites.symbolic import distinct_accesses
from einsum_cascades.rewrites.tiles import Tiles

_LONGEST = 160


def obstacles(cascade: Cascade, rank: str, refused: Iterable[str] = ()) -> tuple[str, ...]:
    """Return one sentence for each dependency that forces a pass after the first; none for one pass.

    Args:
        cascade: a cascade that these rules improve no further.
        rank: the rank, or a family by any of its names.
        refused: why forms with fewer passes were not taken.
    """
    analysis = analyse_passes(cascade, rank)
    if analysis.passes < 2:
        return ()
    structure = Structure(cascade, rank)
    tiles = Tiles(cascade, rank)
    why = next(iter(refused), "")
    found: list[str] = []
    for einsum in (*cascade.body, *cascade.final):
        late = sorted({t for a in einsum.inputs for t in structure.late_values(a)})
        late = [t for t in late if 0 < analysis.einsum_pass.get(t, 0) < analysis.einsum_pass[einsum.name]]
        if late:
            found += _reasons(structure, analysis, einsum, late, _unmended(tiles, einsum, why))
    return tuple(dict.fromkeys(found)) or (_by_order(analysis),)


def hidden_rows(cascade: Cascade, rank: str) -> tuple[str, ...]:
    """Return one sentence for each maximum of a cascade that is -inf where a mask hides all, and what helps.

    Args:
        cascade: a cascade as a user wrote it.
        rank: the rank, or a family by any of its names.
    """
    tiles = Tiles(cascade, rank)
    names = Names(cascade)
    found = []
    for movable in tiles.movable.values():
        for tensor in sorted(movable.floors):
            extreme = tiles.movable[tensor]
            if extreme.operator in ("max", "min") and not cascade.init:
                start = "-inf" if extreme.operator == "max" else "inf"
                floor = f"{extreme.operator}({access_text(extreme.einsum.output)}, {start.replace('inf', '1e+30')})"
                output = access_text(Access(names.fresh("F" + tensor), extreme.einsum.output.subscripts))
                found.append(
                    f"where all that {tensor} folds is {start}, it is {start} too, and {movable.einsum.name} is no "
                    f"number; {output} = {floor} in its place keeps it finite"
                )
    return tuple({text.split(",")[0]: text for text in reversed(found)}.values())


def _unmended(tiles: Tiles, einsum: Einsum, why: str) -> str:
    """Why a fold that separates is not mended while it runs; empty where it does not separate."""
    if einsum.name in tiles.movable:
        return f"it can be mended while these change, but the form is not taken: {why}" if why else ""
    return tiles.reasons.get(einsum.name, "")


def _reasons(
    structure: Structure, analysis: PassAnalysis, einsum: Einsum, late: list[str], unmended: str
) -> Iterator[str]:
    cascade, rank = structure.cascade, analysis.rank
    walks = structure.walks(einsum.output)
    needs = f"{_names(late)}, complete only after pass {max(analysis.einsum_pass[t] for t in late)} over {rank}"
    shown = access_text(einsum.output)
    if walks and einsum.name in cascade.outputs:
        yield f"{shown} is a result for every value of {rank}, and needs {needs}: {einsum_text(einsum)}"
    elif walks and einsum.reductions and any(structure.is_late(a) for a in einsum.inputs):
        folded = ", ".join(einsum.reduced_ranks)
        yield f"{shown} folds {folded} inside, so these rules do not look through it for {needs}"
    elif structure.reduces(einsum):
        term = structure.inlined(einsum.expression, late)
        early = [access_text(a) for a in distinct_accesses(term) if structure.walks(a)]
        if structure.whole_reduction(einsum) is None:
            yield f"{shown} folds with several operators, or only a part of {rank}, and needs {needs}"
        elif any(structure.needs(a) for a in distinct_accesses(term)):
            yield f"{shown} needs {needs}, through a value that these rules cannot write out"
        else:
            text = short(expression_text(term), _LONGEST)
            reason = unmended or f"no rule separates {_names(late)} from {_names(early)}"
            yield f"{shown} folds {text} over {rank}: {reason}, and it needs {needs}"


def _by_order(analysis: PassAnalysis) -> str:
    last = [name for name, number in analysis.einsum_pass.items() if number == analysis.passes]
    return f"{_names(last)} can run only in pass {analysis.passes} over {analysis.rank}"


def _names(names: Iterable[str]) -> str:
    first, *rest = names
    return f"{', '.join([first, *rest[:-1]])} and {rest[-1]}" if rest else first
