"""Loop trees: what a mapping says. A tree is all that a program needs to execute it; nothing is implied by its maker.

    for M step 256 [over array_2d.rows]   Loop      cuts the range of a rank into tiles, the last one smaller
    keep K in global_buffer               Hold      while its body runs, the tile that the ranges select is there
    seq                                   Sequential  children one after another
    par                                   Parallel  children side by side; one may take what an earlier one makes
    pipe                                  Pipeline  as seq, in each iteration of the loop around it, and ``late n``
    late 1                                Late      works on the iteration so many before that of its pipeline
    last M                                Last      only in the last iteration of the loops over a rank
    compute BQK on array_2d               Compute   walks the ranges that are left, point by point

Ranks are those of the cascade as a whole: of a split one (``M`` into ``M1``, ``M0``) the loops cut ``M``, and ``split``
says how long a part is. ``instances`` is the rank of the independent copies (batch and heads) of a cascade that leaves
them unwritten. Ranks that an Einsum's tensors have all or none of may be cut as one: ``for H*E step 256`` takes 256 points
of the two at a time, the last rank walked fastest.

Sources of the idea: Parashar et al., "Timeloop", ISPASS 2019; Nayak et al., "TeAAL", MICRO 2023; Andrulis et al.,
AccelForge. Unlike there, holds are explicit and in order with the loops: what is not said to stay does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, TypeAlias

from einsum_cascades.errors import Location
from einsum_cascades.loops.arith import Number

INSTANCES: Final = "instances"
"""The rank of the copies of a cascade that leaves its batch ranks unwritten."""
JOIN: Final = "*"
"""Joins the names of ranks that a loop cuts as one."""


def parts_of(rank: str) -> tuple[str, ...]:
    """Return the ranks that a loop's rank joins; a plain one alone."""
    return tuple(rank.split(JOIN))


@dataclass(frozen=True)
class Loop:
    """``for rank step tile``: in time, or over a dimension of the machine (``array_2d.rows``)."""

    rank: str
    tile: Number
    body: Node
    over: str | None = None
    location: Location | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Hold:
    """A memory keeps a tensor's tile while the body runs.

    Entering fetches it from the next hold further out, or its home; leaving writes back what was made.

    Attributes:
        tensor: its name; with a prime (``RM'``) its values of an earlier iteration.
        state: it is carried along an iterative rank whose loop is inside: of that rank the newest value is kept.
        double: takes its room twice, so that the next tile comes in while this one is used.
        part: the part of the tile that is kept; accesses to the rest go further out.
        place: the tensor whose room it takes, value by value, as that one is used up.
    """

    tensor: str
    memory: str
    body: Node
    state: bool = False
    double: bool = False
    part: Fraction = Fraction(1)
    place: str | None = None
    location: Location | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Sequential:
    """Children one after another."""

    children: tuple[Node, ...]


@dataclass(frozen=True)
class Parallel:
    """Children side by side, on different units; a later one may take what an earlier one makes as it comes."""

    children: tuple[Node, ...]


@dataclass(frozen=True)
class Pipeline:
    """Children one after another in each iteration of the loop around it; ``Late`` ones work on earlier iterations."""

    children: tuple[Node, ...]


@dataclass(frozen=True)
class Late:
    """In epoch i of a pipeline its body works on iteration i - by."""

    by: int
    body: Node
    location: Location | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Last:
    """Its body runs only in the last iteration of all loops over a rank."""

    rank: str
    body: Node
    location: Location | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Compute:
    """Runs an Einsum on a unit, at all points that the loops around it leave."""

    einsum: str
    unit: str
    location: Location | None = field(default=None, compare=False, repr=False)


Several: TypeAlias = Sequential | Parallel | Pipeline
Node: TypeAlias = Loop | Hold | Sequential | Parallel | Pipeline | Late | Last | Compute


@dataclass(frozen=True)
class LoopTree:
    """A mapping.

    Attributes:
        body: the outermost node.
        split: (part, size) of the inner parts of split ranks, such as ``("M0", 256)``.
    """

    body: Node
    split: tuple[tuple[str, Number], ...] = ()


def children(node: Node) -> tuple[Node, ...]:
    """Return a node's children in order."""
    if isinstance(node, Compute):
        return ()
    if isinstance(node, Sequential | Parallel | Pipeline):
        return node.children
    return (node.body,)


def nodes(node: Node) -> Iterator[Node]:
    """Yield a node and all below it, parents first."""
    waiting = [node]
    while waiting:
        here = waiting.pop()
        yield here
        waiting.extend(reversed(children(here)))


def keep(tensors: str | tuple[str, ...], memory: str, body: Node) -> Node:
    """Return holds of several tensors (words of a text) in one memory around a body."""
    names = tensors.split() if isinstance(tensors, str) else tensors
    for tensor in reversed(names):
        body = Hold(tensor, memory, body)
    return body


def sequence(*parts: Node) -> Node:
    """Return nodes one after another; one alone stands for itself."""
    return parts[0] if len(parts) == 1 else Sequential(parts)
