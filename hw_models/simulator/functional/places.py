"""The nodes of a tree with what is around them, numbered in the order in which one iteration visits them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from einsum_cascades.errors import unknown
from einsum_cascades.loops.levels import Levels
from einsum_cascades.loops.space import PRIME, Space
from einsum_cascades.loops.text import line
from einsum_cascades.loops.tree import (
    Compute,
    Hold,
    Last,
    Late,
    Loop,
    Node,
    Parallel,
    Pipeline,
    Sequential,
    children,
    parts_of,
)


@dataclass(eq=False)
class Place:
    """A node of the tree in its place.

    Attributes:
        number: of a hold or compute, its place among these in tree order; else -1.
        first, final: when it begins and ends, among all nodes, in one iteration of what is around it.
        planes: of a hold of a state, how many iterations' values of it live at a time, as far as is known.
        trips: of a loop in time, the most turns of full size that it has had.
    """

    node: Node
    parent: Place | None
    number: int = -1
    first: int = 0
    final: int = 0
    below: list[Place] = field(default_factory=list)
    planes: int = 1
    trips: int = 0

    @cached_property
    def hold(self) -> Hold:
        """The node, which is a hold."""
        assert isinstance(self.node, Hold)
        return self.node

    @cached_property
    def loop(self) -> Loop:
        """The node, which is a loop."""
        assert isinstance(self.node, Loop)
        return self.node

    @cached_property
    def where(self) -> str:
        """The memory of a hold, or the unit of a compute."""
        assert isinstance(self.node, Hold | Compute)
        return self.node.memory if isinstance(self.node, Hold) else self.node.unit

    @cached_property
    def around(self) -> tuple[Place, ...]:
        """The nodes around it, outermost first."""
        return () if self.parent is None else (*self.parent.around, self.parent)

    @cached_property
    def holds(self) -> tuple[Place, ...]:
        """The holds around it, outermost first."""
        return tuple(p for p in self.around if isinstance(p.node, Hold))

    @cached_property
    def loops(self) -> tuple[Place, ...]:
        """The loops around it, outermost first."""
        return tuple(p for p in self.around if isinstance(p.node, Loop))

    @cached_property
    def sides(self) -> tuple[tuple[Place, int], ...]:
        """Each ``par`` around it within the innermost loop in time, and in which of its children it is."""
        found: list[tuple[Place, int]] = []
        for above, inner in pairwise((*self.around, self)):
            if isinstance(above.node, Loop) and above.node.over is None:
                found = []
            elif isinstance(above.node, Parallel):
                found.append((above, above.below.index(inner)))
        return tuple(found)

    @cached_property
    def path(self) -> str:
        """The place in words: the nodes around it and itself, outermost first."""
        said = [p for p in (*self.around, self) if not isinstance(p.node, Sequential | Parallel | Pipeline)]
        return " > ".join(line(p.node) for p in said)

    def encloses(self, other: Place) -> bool:
        """Whether another place is inside this one."""
        return self in other.around

    def all(self) -> Iterator[Place]:
        """Yield it and all below it, parents first."""
        yield self
        for place in self.below:
            yield from place.all()


def places_of(body: Node, space: Space, levels: Levels) -> Place:
    """Return a tree's root in its place.

    Raises:
        InputError: it names what neither the cascade nor the machine has.
    """
    return _Reading(space, levels).read(body, None)


class _Reading:
    def __init__(self, space: Space, levels: Levels) -> None:
        self.space, self.levels = space, levels
        self.numbered = self.clock = 0

    def read(self, node: Node, parent: Place | None) -> Place:
        self._check(node)
        place = Place(node, parent, first=self.clock)
        self.clock += 1
        if isinstance(node, Hold | Compute):
            place.number, self.numbered = self.numbered, self.numbered + 1
        place.below = [self.read(child, place) for child in children(node)]
        place.final, self.clock = self.clock, self.clock + 1
        return place

    def _check(self, node: Node) -> None:
        names = [level.name for level in self.levels.levels]
        match node:
            case Loop():
                for part in parts_of(node.rank):
                    self._known("rank", part, self.space.sizes, node)
                if node.over is not None:
                    self._known("dimension", node.over, self.levels.dimensions, node)
            case Hold():
                self._known("memory", node.memory, names, node)
                self._known("tensor", node.tensor.removesuffix(PRIME), self.space.cascade.ranks_of, node)
            case Last():
                self._known("rank", node.rank, self.space.sizes, node)
            case Compute():
                self._known("Einsum", node.einsum, self.space.steps, node)
                self._known("unit", node.unit, [level.name for level in self.levels.levels if level.computes], node)
            case Late() | Sequential() | Parallel() | Pipeline():
                pass

    @staticmethod
    def _known(kind: str, name: str, known: Collection[str], node: Loop | Hold | Last | Compute) -> None:
        if name not in known:
            raise unknown(kind, name, known, location=node.location)
