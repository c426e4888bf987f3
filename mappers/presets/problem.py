"""What a preset is given, and the parts of a machine that it uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade, Einsum
from einsum_cascades.loops.arith import Number, anywhere, least, steps
from einsum_cascades.loops.sites import Plan
from einsum_cascades.loops.space import Space
from einsum_cascades.loops.tree import INSTANCES, Loop, LoopTree, Node
from einsum_cascades.operations import work_classes
from hw_models.accounting import Accounting
from hw_models.machine import Array, Machine, Memory
from hw_models.spatial.activity import value_bits


@dataclass(frozen=True, eq=False)
class Problem:
    """A cascade to be mapped onto a machine; sizes and the machine's numbers may be arrays over points.

    Attributes:
        sizes: by whole rank, ``instances`` included.
        further: how many memories further out than the nearest one the buffer is.
    """

    cascade: Cascade
    sizes: Mapping[str, Number]
    machine: Machine
    accounting: Accounting
    further: int = 0

    def size(self, rank: str) -> Number:
        """Return the size of a rank.

        Raises:
            InputError: it has none.
        """
        if rank not in self.sizes:
            known = ", ".join(f"{r}={s}" for r, s in self.sizes.items())
            raise InputError(f"rank {rank} has no size", hint=f"give one with --set {rank}=SIZE; sizes known: {known}")
        return self.sizes[rank]

    def bits(self, tensor: str) -> Number:
        """Return the bits of a tensor's values."""
        return value_bits(tensor, self.cascade, self.machine)

    def plan(self, tree: LoopTree) -> Plan:
        """Return a tree resolved for this problem."""
        return Plan(tree, Space.of(self.cascade, self.sizes, tree.split), self.machine.levels)

    @cached_property
    def parts(self) -> Parts:
        """The parts of the machine."""
        return Parts.of(self.machine, self.further)


@dataclass(frozen=True)
class Parts:
    """The parts of a machine that presets name.

    Attributes:
        matrix: the array with the most multiply-accumulators, for products.
        vector: the array for all else; the same one if there is only one.
        buffer: a memory of stated size that both take values from: what tiles are cut for.
        buffers: how many there are.
        between: the memory through which values change arrays, if that is not the buffer.
        outside: dimensions over which all of these have instances: (name, length).
    """

    machine: Machine
    matrix: Array
    vector: Array
    buffer: Memory
    buffers: int
    between: Memory | None
    outside: tuple[tuple[str, Number], ...]

    @classmethod
    def of(cls, machine: Machine, further: int = 0) -> Parts:
        """Find them.

        Args:
            further: which buffer: 0 is the nearest to the arrays.

        Raises:
            InputError: the machine has no array, or no memory between its arrays and the off-chip one.
        """
        if not machine.arrays:
            raise InputError(f"{machine.name} has no array", hint="give it a node of the kind array")
        able = [array for array in machine.arrays if array.offers(("mac",))] or list(machine.arrays)
        matrix = max(able, key=lambda a: _size(machine.instances(a.name)))
        others = [array for array in machine.arrays if array is not matrix] or [matrix]
        vector = max(others, key=lambda a: (len(a.units), -_size(machine.instances(a.name))))
        shared = [n for n in machine.path(matrix.name) if n in machine.path(vector.name) and isinstance(n, Memory)]
        on_chip = [node for node in shared[1:] if node.bytes is not None]
        if not on_chip:
            raise InputError(
                f"{machine.name} has no memory of a stated size between its arrays and {machine.root.name}",
                hint="presets cut tiles for one: give it 'bytes'",
            )
        buffer = on_chip[-1 - further]
        between = shared[-1] if shared[-1] is not buffer else None
        outside = tuple(
            (f"{node.name}.{name}", length)
            for node in shared[: shared.index(buffer) + 1]
            for name, length in node.dimensions
        )
        return cls(machine, matrix, vector, buffer, len(on_chip), between, outside)

    def offers(self, array: Array, einsum: Einsum) -> bool:
        """Whether an array does all the work of an Einsum."""
        return array.offers(work_classes(einsum))

    def offered(self, einsum: Einsum, first: Array) -> Array:
        """Return the preferred array if it offers an Einsum's operators, else another one.

        Raises:
            InputError: none does.
        """
        for array in (first, self.vector, self.matrix, *self.machine.arrays):
            if self.offers(array, einsum):
                return array
        raise InputError(
            f"no array of {self.machine.name} offers all that {einsum.name} needs: "
            + ", ".join(sorted(set(work_classes(einsum)))),
            hint="; ".join(f"{a.name} offers " + ", ".join(a.unit_of) for a in self.machine.arrays),
        )

    def dimensions(self, array: Array) -> list[tuple[str, Number]]:
        """Return the full names and lengths of an array's dimensions, the last one first."""
        return [(f"{array.name}.{name}", length) for name, length in reversed(array.dimensions)]


def _size(number: Number) -> int:
    return number if isinstance(number, int) else int(number.max())


def lanes(dimensions: Iterable[tuple[str, Number]]) -> Number:
    """Return how many positions dimensions have together."""
    found: Number = 1
    for _, length in dimensions:
        found = found * length
    return found


def spread(rank: str, size: Number, dimensions: list[tuple[str, Number]], body: Node) -> Node:
    """Return spatial loops that lay a rank over dimensions, the first one fastest; in time around what they lack.

    Args:
        size: points of the rank that are left where this stands.
    """
    around: list[tuple[Number, str]] = []
    tile: Number = 1
    for name, length in dimensions:
        if isinstance(length, int) and length == 1:
            continue
        around.append((tile, name))
        tile = tile * length
    for inner, name in around:
        body = Loop(rank, inner, body, name)
    if anywhere(size > tile):
        body = Loop(rank, tile, body)
    return body


def chunks(rank: str, size: Number, count: Number, dimension: str, body: Node) -> Node:
    """Return a spatial loop that cuts what is left of a rank into as many chunks as there are positions, at most."""
    return Loop(rank, steps(size, least(size, count)), body, dimension)


def over_instances(problem: Problem, body: Node) -> Node:
    """Return a loop over the copies of a cascade, over the machine's instances where it has several."""
    return spread(INSTANCES, problem.sizes.get(INSTANCES, 1), list(problem.parts.outside), body)
