"""The pieces of the intermediate representation: extended Einsums and cascades of them, frozen and hashable.

Source of the notation: Nayak et al., "FuseMax", MICRO 2024, sections 2 and 3; Odemuyiwa et al., "EDGE", 2024,
arXiv 2404.11591.
Rank names are upper case (``M0``); the variable that walks over a rank is its lower-case spelling (``m0``). Inside
brackets these are subscripts; outside they are values: ``m0`` is the number of the point, ``M0`` the rank's size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from einsum_cascades.errors import Location


@dataclass(frozen=True)
class Var:
    """A subscript that walks over a rank, shifted by a constant: ``m1`` or ``m1+1``."""

    rank: str
    shift: int = 0


@dataclass(frozen=True)
class Const:
    """A constant subscript, such as the ``0`` of ``RM[0,p]``."""

    value: int


@dataclass(frozen=True)
class Size:
    """A subscript that is a rank's size, such as the ``M1`` of ``RM[M1,p]``: the value after the last iteration."""

    rank: str


Subscript = Var | Const | Size


@dataclass(frozen=True)
class Access:
    """A tensor read or written at some subscripts; a scalar has none."""

    tensor: str
    subscripts: tuple[Subscript, ...] = ()

    @property
    def ranks(self) -> tuple[str, ...]:
        """Ranks that a variable walks over, in the order written."""
        return tuple(s.rank for s in self.subscripts if isinstance(s, Var))


@dataclass(frozen=True)
class Number:
    """A literal; ``-inf`` and ``inf`` are allowed."""

    value: float


@dataclass(frozen=True)
class Index:
    """A variable outside brackets, such as ``m``: the number of the point along its rank, 0, 1, ...

    The Einsum walks over the rank anyway, in a subscript; this is no access and moves nothing.
    """

    rank: str

    @property
    def ranks(self) -> tuple[str, ...]:
        """The rank whose points it tells apart."""
        return (self.rank,)


@dataclass(frozen=True)
class Extent:
    """A rank's name outside brackets, such as ``M``: its size."""

    rank: str

    @property
    def ranks(self) -> tuple[str, ...]:
        """None: it is the same everywhere."""
        return ()


@dataclass(frozen=True)
class Apply:
    """An operator of the table applied to operands."""

    operator: str
    operands: tuple[Expression, ...]


Leaf = Access | Index | Extent
"""What an expression reads; each has ``ranks``, along which its value changes."""

Expression = Leaf | Number | Apply


def leaves(expression: Expression) -> Iterator[Leaf]:
    """Yield the accesses, indices and extents of an expression from left to right, repeats included."""
    if isinstance(expression, Apply):
        for operand in expression.operands:
            yield from leaves(operand)
    elif not isinstance(expression, Number):
        yield expression


def accesses(expression: Expression) -> Iterator[Access]:
    """Yield the tensor accesses of an expression from left to right, repeats included."""
    return (leaf for leaf in leaves(expression) if isinstance(leaf, Access))


def factors(expression: Expression) -> Iterator[Expression]:
    """Yield the factors of a product, however it is bracketed."""
    if isinstance(expression, Apply) and expression.operator == "mul":
        for operand in expression.operands:
            yield from factors(operand)
    else:
        yield expression


@dataclass(frozen=True)
class Reduction:
    """The action that folds one rank away with an operator of the table."""

    rank: str
    operator: str


@dataclass(frozen=True)
class Einsum:
    """``output = expression :: reductions``, for every point of its iteration space.

    Attributes:
        output: where results go.
        expression: what is computed at each point.
        reductions: one per rank that is walked over on the right and absent on the left; the
            sums that the notation leaves unwritten are stated here too.
        location: where it was written; not part of equality.
    """

    output: Access
    expression: Expression
    reductions: tuple[Reduction, ...] = ()
    location: Location | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """An Einsum is named by the tensor it writes."""
        return self.output.tensor

    @cached_property
    def inputs(self) -> tuple[Access, ...]:
        """Distinct accesses read, in the order written."""
        return tuple(dict.fromkeys(accesses(self.expression)))

    @cached_property
    def ranks(self) -> tuple[str, ...]:
        """The iteration space: the output's ranks, then those that are reduced."""
        right = [r for a in accesses(self.expression) for r in a.ranks]
        return tuple(dict.fromkeys([*self.output.ranks, *right]))

    @property
    def reduced_ranks(self) -> tuple[str, ...]:
        """Ranks that are folded away."""
        return tuple(r.rank for r in self.reductions)


@dataclass(frozen=True)
class Declaration:
    """A tensor's name and its ranks in storage order."""

    tensor: str
    ranks: tuple[str, ...]


@dataclass(frozen=True)
class Partition:
    """A rank split into parts, outermost first: ``M`` into ``(M1, M0)`` with ``m = m1*M0 + m0``."""

    rank: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Stop:
    """``m1 >= M1``: the iterative rank stops when its variable reaches the bound (a rank's size or a constant)."""

    rank: str
    bound: Size | Const


@dataclass(frozen=True)
class CascadeParts:
    """A directed acyclic cascade of Einsums, with iterative ranks.

    Attributes:
        name: library or file name.
        declarations: every tensor, inputs first as written.
        body: the Einsums; those that walk an iterative rank are repeated for each of its values, in order.
        init: Einsums run once before the first iteration.
        final: Einsums run once after the last.
        stop: the stop condition of each iterative rank.
        partitions: how ranks are split into families.
        views: pairs (tiled input, plain tensor that it is a view of), such as ``("BK", "K")``.
        title, citation: what it is and where it comes from.
    """

    name: str
    declarations: tuple[Declaration, ...]
    body: tuple[Einsum, ...]
    init: tuple[Einsum, ...] = ()
    final: tuple[Einsum, ...] = ()
    stop: tuple[Stop, ...] = ()
    partitions: tuple[Partition, ...] = ()
    views: tuple[tuple[str, str], ...] = ()
    title: str = ""
    citation: str = ""

    @cached_property
    def _hash(self) -> int:
        return hash((self.name, self.declarations, self.body, self.init, self.final, self.stop, self.partitions))

    def __hash__(self) -> int:
        return self._hash

    @property
    def einsums(self) -> tuple[Einsum, ...]:
        """All Einsums in the order of a run: init, body, final."""
        return (*self.init, *self.body, *self.final)

    @cached_property
    def ranks_of(self) -> dict[str, tuple[str, ...]]:
        """Declared ranks of each tensor."""
        return {d.tensor: d.ranks for d in self.declarations}

    @cached_property
    def iterative_ranks(self) -> tuple[str, ...]:
        """Ranks whose iterations must run one after another."""
        return tuple(s.rank for s in self.stop)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that no Einsum writes, in declaration order."""
        written = {e.name for e in self.einsums}
        return tuple(d.tensor for d in self.declarations if d.tensor not in written)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Tensors written and read by no other Einsum; what the cascade is for."""
        read = {a.tensor for e in self.einsums for a in e.inputs if a.tensor != e.name}
        return tuple(dict.fromkeys(e.name for e in (*self.body, *self.final) if e.name not in read))

    def whole_rank(self, rank: str) -> str:
        """The rank that a part belongs to: ``M`` of ``M0``; a rank that is no part stands for itself."""
        return next((p.rank for p in self.partitions if rank in p.parts), rank)

    def family(self, rank: str) -> tuple[str, ...]:
        """Parts of the rank's family, outermost first; the rank alone if it is not split."""
        for partition in self.partitions:
            if rank == partition.rank or rank in partition.parts:
                return partition.parts
        return (rank,)
