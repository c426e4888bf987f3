"""Loops of one product or one run of vector Einsums on an array: what lies along its dimensions, what is walked in
time.

A rank that some operands see more coarsely than others (``space.py``) is cut at each such length; each cut is an
*atom*, with the operands that change along it. Atoms are laid over dimensions one after another, as far as positions
are left, so several short ranks lie along a dimension together; the rest is walked in time. A register stands as far
out as the innermost loops in time reach that its tensor lacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from einsum_cascades.loops.arith import Number, anywhere, everywhere, least, steps
from einsum_cascades.loops.space import Operand, Space, Step
from einsum_cascades.loops.tree import Hold, Loop, Node

Dimensions = Sequence[tuple[str, Number]]


@dataclass(frozen=True, eq=False)
class Atom:
    """A cut of a rank.

    Attributes:
        unit: points of one iteration.
        extent: iterations that a tile has at most.
        members: operands that change along it.
    """

    rank: str
    unit: Number
    extent: Number
    members: frozenset[str]


@dataclass(frozen=True, eq=False)
class Turn:
    """A loop of a nest; ``over`` is None for one in time."""

    atom: Atom
    tile: Number
    over: str | None = None


def operands_of(run: Iterable[Step]) -> dict[str, list[Operand]]:
    """Return what Einsums read and write, by name."""
    found: dict[str, list[Operand]] = {}
    for step in run:
        for operand in (*step.inputs, step.output):
            found.setdefault(operand.name, []).append(operand)
    return found


def atoms_of(space: Space, run: Sequence[Step], tiles: Mapping[str, Number]) -> list[Atom]:
    """Return the cuts of all ranks that Einsums walk, the coarser ones of a rank first.

    Args:
        tiles: points of ranks that loops further out leave.
    """
    grains = {
        name: [space.grains(operand.ranks) for operand in operands] for name, operands in operands_of(run).items()
    }
    walked = [space.grains(step.ranks) for step in run]
    found: list[Atom] = []
    for rank in dict.fromkeys(rank for grain in walked for rank in grain):
        all_grains = [*walked, *(g for several in grains.values() for g in several)]
        lengths = sorted({g[rank] for g in all_grains if rank in g}, key=len, reverse=True)
        left = least(space.sizes[rank], tiles[rank]) if rank in tiles else space.sizes[rank]
        for grain in lengths:
            unit = space.length(grain)
            members = frozenset(
                name
                for name, several in grains.items()
                if any(rank in g and len(g[rank]) <= len(grain) for g in several)
            )
            found.append(Atom(rank, unit, steps(left, unit), members))
            left = unit
    return found


def lay(atoms: Sequence[Atom], dimensions: Dimensions) -> tuple[list[Turn], list[Turn]]:
    """Lay atoms over dimensions jointly, each as far as positions are left.

    Returns:
        Loops in time around, and spatial loops, outermost first.
    """
    time: list[Turn] = []
    spatial: list[Turn] = []
    free = list(dimensions)
    for atom in atoms:
        tile: Number = 1
        while free and anywhere(atom.extent > tile):
            name, left = free[0]
            taken = least(steps(atom.extent, tile), left)
            if not _one(taken):
                spatial.insert(0, Turn(atom, atom.unit * tile, name))
                tile = tile * taken
                free[0] = (name, left // taken)
            if not everywhere(free[0][1] <= 1):
                break
            free.pop(0)
        if anywhere(atom.extent > tile):
            time.append(Turn(atom, atom.unit * tile))
    return time, spatial


def walked(atoms: Iterable[Atom]) -> list[Turn]:
    """Return loops in time, one iteration a turn; what has one iteration needs none."""
    return [Turn(atom, atom.unit) for atom in atoms if not _one(atom.extent)]


def nested(turns: Sequence[Turn], body: Node, tensors: Iterable[str], array: str, *, lean: bool = False) -> Node:
    """Return loops around computes, with a register for each tensor as far out as it may stand.

    Args:
        lean: no register for tensors that change in the innermost loop in time.
    """
    names = list(tensors)
    depth = {
        name: max((i + 1 for i, turn in enumerate(turns) if turn.over is None and name in turn.atom.members), default=0)
        for name in names
    }
    deepest = max((i + 1 for i, turn in enumerate(turns) if turn.over is None), default=0)
    if lean:
        names = [name for name in names if depth[name] < deepest]
    for place in range(len(turns), -1, -1):
        for name in reversed(names):
            if depth[name] == place:
                body = Hold(name, array, body)
        if place:
            turn = turns[place - 1]
            body = Loop(turn.atom.rank, turn.tile, body, turn.over)
    return body


def _one(number: Number) -> bool:
    return everywhere(number == 1)
