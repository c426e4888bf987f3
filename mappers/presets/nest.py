"""The innermost part of presets: one Einsum's loops on an array, with the registers that its operands need.

Ranks that are not laid over the array are walked in time, one point after another; an operand's register stands as far out
as the innermost loops that it lacks reach, so that what stays is not fetched again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from einsum_cascades.loops.space import Operand, Step
from einsum_cascades.loops.tree import Compute, Hold, Loop, Node


def walk(step: Step, array: str, ranks: Sequence[tuple[str, str]], kept: Collection[str]) -> Node:
    """Return the loops in time of an Einsum, one point a turn, with its operands in registers.

    Args:
        array: where it runs.
        ranks: (rank of the cascade, whole rank) of the loops, outermost first.
        kept: operands that stand in registers already.
    """
    operands: dict[str, set[str]] = {}
    for operand in (*step.inputs, step.output):
        if operand.name not in kept:
            operands.setdefault(operand.name, set()).update(operand.ranks)
    depth = {name: _depth(own, ranks) for name, own in operands.items()}
    body: Node = Compute(step.name, array)
    for place in range(len(ranks), -1, -1):
        for name in reversed(operands):
            if depth[name] == place:
                body = Hold(name, array, body)
        if place and any(d >= place for d in depth.values()):
            body = Loop(ranks[place - 1][1], 1, body)
    return body


def _depth(own: Collection[str], ranks: Sequence[tuple[str, str]]) -> int:
    """How many of the loops an operand's register stands inside: up to the last one that the operand has."""
    return max((i + 1 for i, (rank, _) in enumerate(ranks) if rank in own), default=0)


def names(operands: Sequence[Operand]) -> tuple[str, ...]:
    """Return the names of operands, each once."""
    return tuple(dict.fromkeys(operand.name for operand in operands))
