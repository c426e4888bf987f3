"""FLAT's published choices, by machine and shape of a head.

Source: the evaluation of Nayak et al., "FuseMax", MICRO 2024 (``tables/flat.csv``), after Kao et al., "FLAT", ASPLOS
2023.
"""

from __future__ import annotations

import csv
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from einsum_cascades.loops.space import Step
from einsum_cascades.loops.tree import INSTANCES
from mappers.presets.flat_phases import Phases
from mappers.presets.flat_tree import TILE, Choice, Layout, SegmentTree

STATIONARY = ("first", "second", "result")
_Key = tuple[int, int, int, int]
_PRODUCTS = [
    (("Q", ("E", "P")), ("K", ("E", "M")), ("QK", ("M", "P"))),
    (("A", ("M", "P")), ("V", ("F", "M")), ("AV", ("F", "P"))),
]


@lru_cache(maxsize=1)
def rows() -> dict[_Key, dict[str, str]]:
    """Return the published choices by array side, buffer bytes, head dim and sequence length; do not mutate them."""
    with (Path(__file__).parents[1] / "tables" / "flat.csv").open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(line for line in file if not line.startswith("#"))
        return {(int(r["array_side"]), int(r["buffer_bytes"]), int(r["head_dim"]), int(r["seq_len"])): r for r in table}


def tabulated(phases: Phases) -> Choice | None:
    """Return the published choice for the same cascade, machine and shape, if there is one."""
    if not _attention(phases):
        return None
    parts, sizes = phases.problem.parts, phases.space.sizes
    numbers = {r: sizes[r] for r in ("E", "F", "M", "P")}
    sides = [length for _, length in parts.matrix.dimensions]
    if not all(isinstance(n, int) for n in (*numbers.values(), *sides, parts.buffer.bytes)) or len(sides) != 2:
        return None
    if sides[0] != sides[1] or numbers["E"] != numbers["F"] or numbers["M"] != numbers["P"]:
        return None
    row = rows().get((sides[0], parts.buffer.bytes or 0, numbers["E"], numbers["P"]))
    return None if row is None else _choice(phases, row)


def _attention(phases: Phases) -> bool:
    """Whether a cascade is the table's, whatever its tensors and ranks are called outside the products."""
    products = [name for name in phases.steps if phases.is_product(name)]
    return [_shape(phases.steps[name]) for name in products] == _PRODUCTS and len(phases.segments) == 1


def _shape(step: Step) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((o.tensor, tuple(sorted(o.ranks))) for o in (*step.inputs, step.output))


def _choice(phases: Phases, row: dict[str, str]) -> Choice:
    return choice(
        phases,
        int(row["fused_queries"]),
        dict(zip(("QK", "AV"), (row["qk_stationary"], row["av_stationary"]), strict=True)),
        row["on_chip"].split(),
        Fraction(row["spilled"]),
    )


def choice(
    phases: Phases, fused: int, stationary: dict[str, str], on_chip: list[str], spilled: Fraction = Fraction(0)
) -> Choice:
    """Return a choice in the table's words.

    Args:
        fused: columns fused at a time.
        stationary: per product the operand that stays put: ``first``, ``second`` or ``result``.
        on_chip: tensors in the buffer for a whole tile.
        spilled: the part of them that is not kept.
    """
    layouts = {name: stationary_layout(phases, name, still) for name, still in stationary.items()}
    return Choice(fused, dict.fromkeys(on_chip, TILE), layouts, spilled=spilled)


def stationary_layout(phases: Phases, name: str, still: str) -> Layout:
    """Return the layout of a product in which an operand stays put: ranks that it lacks are walked innermost."""
    step = phases.steps[name]
    operand = (*step.inputs, step.output)[STATIONARY.index(still)]
    segment = next(s for s in phases.segments if name in s.names)
    _, groups = SegmentTree(phases, segment, Choice(1)).groups(name)
    time = tuple(i for i, group in enumerate(groups) if operand.name not in group[0].members)
    along = tuple(i for i in range(len(groups)) if i not in time)
    return Layout(along, time)


__all__ = ["INSTANCES", "STATIONARY", "choice", "stationary_layout", "tabulated"]
