"""The fused phases that FLAT's choices span: nests, what is on chip, and what that takes in the buffer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import prod

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.workload import Workload
from hw_models.accounting import Accounting
from hw_models.architecture import Architecture
from mappers.capacity import live_bytes
from mappers.contraction import INSTANCES, Product, product_of
from mappers.mapping import MappedEinsum, Mapping, NestShape, ScheduledPhase
from mappers.nest import Hold, Operand
from mappers.phases import PhaseGroup, phase_cycles, phase_groups, rank_sizes
from mappers.roles import Roles, find_roles
from mappers.rows import row_sections
from mappers.vector import VectorPhase

STATIONARY = ("first", "second", "result")


@dataclass(frozen=True)
class FlatChoice:
    """What FLAT chooses.

    Attributes:
        fused: columns (queries) fused at a time.
        stationary: for each contraction the operand that stays put: ``first``, ``second`` or ``result``.
        on_chip: tensors in the global buffer.
        spilled: part of the on-chip tensors that overflows the buffer.
    """

    fused: int
    stationary: tuple[str, ...]
    on_chip: frozenset[str]
    spilled: Fraction = Fraction(0)


@dataclass(frozen=True)
class FlatProblem:
    """A cascade on a machine, with the sizes of all ranks.

    Attributes:
        sizes: by rank, split ranks also by their own name; INSTANCES is the number of heads.
        products: the contractions in order.
    """

    cascade: Cascade
    architecture: Architecture
    accounting: Accounting
    value_bytes: int
    roles: Roles
    sizes: dict[str, int]
    products: tuple[Product, ...]

    @classmethod
    def of(
        cls, cascade: Cascade, workload: Workload, architecture: Architecture, accounting: Accounting
    ) -> FlatProblem:
        """Collect the problem.

        Raises:
            InputError: a rank has no size, or the cascade has no contraction or nothing to fuse.
        """
        roles = find_roles(cascade)
        sizes = {INSTANCES: workload.instances, **rank_sizes(cascade, workload, architecture)}
        for partition in cascade.partitions:
            sizes[partition.rank] = workload.size(partition.rank)
        ordered = tuple(sorted(sizes.items()))
        products = tuple(product_of(g.einsums[0], cascade, ordered) for g in phase_groups(cascade) if g.contraction)
        if not products or not architecture.array_2d.offers(("mac",)):
            raise InputError(
                f"{cascade.name} on {architecture.name} has no contraction for the 2D array",
                hint="FLAT fuses matrix products with what lies between them; try the mapper unfused",
            )
        return cls(cascade, architecture, accounting, workload.value_bytes, roles, sizes, products)

    @cached_property
    def groups(self) -> tuple[PhaseGroup, ...]:
        """The phases in order."""
        return phase_groups(self.cascade)

    @cached_property
    def intermediates(self) -> frozenset[str]:
        """Tensors that one phase leaves to a later one."""
        made = {t: i for i, g in enumerate(self.groups) for t in g.tensors}
        return frozenset(
            a.tensor
            for i, g in enumerate(self.groups)
            for e in g.einsums
            for a in e.inputs
            if made.get(a.tensor, i) < i
        )

    def mapping(self, strategy: str, choice: FlatChoice) -> Mapping:
        """Return the mapping that a choice stands for."""
        einsums: list[MappedEinsum] = []
        spilled = set(choice.on_chip)
        stationary = iter(zip(self.products, choice.stationary, strict=True))
        for group in self.groups:
            if group.contraction:
                product, held = next(stationary)
                einsums.append(self.contraction(product, held, choice))
            else:
                einsums += self.vector(group, choice.on_chip)
                spilled |= self._score_tensors(group, choice.on_chip)
        live = self.live_bytes(choice)
        capacity = self.architecture.global_buffer.bytes
        return Mapping(
            strategy=strategy,
            einsums=tuple(einsums),
            phases=(ScheduledPhase("fused", (tuple(e.name for e in einsums),)),),
            buffer_bytes=min(live, capacity) if choice.spilled else live,
            passes=max(k for k, _ in row_sections(self.cascade)[1].values()),
            tiled=False,
            value_bytes=self.value_bytes,
            spilled=tuple((t, choice.spilled) for t in sorted(spilled)) if choice.spilled else (),
            tiles=((self.roles.column, choice.fused),),
        )

    def _score_tensors(self, group: PhaseGroup, on_chip: frozenset[str]) -> set[str]:
        """Tensors with a value per row that a phase keeps to itself, if what it works on is on chip."""
        family = self.roles.family
        outside = {
            a.tensor for e in group.einsums for a in e.inputs if a.tensor not in group.tensors and family & set(a.ranks)
        }
        if not outside <= on_chip:
            return set()
        return {e.name for e in group.einsums if family & set(e.output.ranks)} - self.intermediates

    def vector(self, group: PhaseGroup, on_chip: frozenset[str]) -> tuple[MappedEinsum, ...]:
        """Return a vector phase mapped."""
        family, sections = row_sections(self.cascade)
        phase = VectorPhase(group, self.cascade, sections, family, on_chip & self.intermediates)
        return phase.map(self.sizes, self.architecture, self.accounting)

    def contraction(self, product: Product, stationary: str, choice: FlatChoice) -> MappedEinsum:
        """Return a contraction under the loop order that a stationary operand asks for."""
        still = product.operands[STATIONARY.index(stationary)]
        time = next((r for r in product.ranks if r not in still.ranks), product.ranks[2])
        outer, inner = self._spatial_order([r for r in product.ranks if r != time])
        array = self.architecture.array_2d
        size = {r: min(self.sizes[r], choice.fused) if r == self.roles.column else self.sizes[r] for r in product.ranks}
        columns, rows = min(size[outer], array.columns), min(size[inner], array.rows)
        groups = -(-self.sizes[self.roles.column] // choice.fused) if self.roles.column in product.ranks else 1
        loops = [
            *((r, self.sizes[r], False) for r in (INSTANCES, *product.others)),
            (self.roles.column, groups, False),
            (outer, -(-size[outer] // columns), False),
            (inner, -(-size[inner] // rows), False),
            (time, size[time], False),
            (outer, columns, True),
            (inner, rows, True),
        ]
        scope = len(loops) - 5
        shape = NestShape.of(
            product.operands,
            tuple(rank for rank, _, _ in loops),
            tuple(spatial for _, _, spatial in loops),
            tuple(h for o in product.operands for h in self._holds(o, scope, len(loops), choice.on_chip)),
            scope=scope,
        )
        return MappedEinsum(
            product.name,
            "array_2d",
            shape,
            tuple(extent for _, extent, _ in loops),
            (("mac", 1),),
            phase_cycles((("mac", 1),), array, self.accounting),
            prod([self.sizes[r] for r in (INSTANCES, *product.others, *product.ranks)]),
        )

    def _spatial_order(self, ranks: list[str]) -> tuple[str, str]:
        weight = {self.roles.column: 0, self.roles.source: 1, self.roles.row: 1}
        first, second = sorted(ranks, key=lambda r: weight.get(r, 2))
        return first, second

    def _holds(self, operand: Operand, scope: int, end: int, on_chip: frozenset[str]) -> Iterable[Hold]:
        tensor = operand.tensor
        between = tensor in self.intermediates
        if not (between and tensor in on_chip):
            yield Hold("dram", tensor, 0)
        if tensor in on_chip:
            yield Hold("global_buffer", tensor, scope)
        yield Hold("array_2d", tensor, end)

    def live_bytes(self, choice: FlatChoice) -> int:
        """Return the bytes that a choice holds in the buffer.

        Tiles with a value per row that phases hand on share one place, since a vector phase works fiber by fiber; a
        fiber of what it reads from outside stays beside them. All else is double-buffered: the fused tile of what is on
        chip, a tile of the array for what is not.
        """
        shared = [0]
        tiles: list[int] = []
        for product in self.products:
            for operand in product.operands:
                sizes = self._fused_tile(product, operand, choice.fused)
                if operand.tensor in self.intermediates and self.roles.source in operand.ranks:
                    shared.append(prod(sizes.values()) if operand.tensor in choice.on_chip else 0)
                elif operand.tensor in choice.on_chip:
                    tiles.append(2 * prod(sizes.values()))
                else:
                    tiles.append(2 * self._array_tile(sizes))
        return live_bytes([max(shared), *tiles, *self._fibers_from_outside], self.value_bytes)

    @cached_property
    def _fibers_from_outside(self) -> tuple[int, ...]:
        """Lengths of the fibers of the cascade's inputs that vector phases read."""
        read = {a.tensor: a for g in self.groups if not g.contraction for e in g.einsums for a in e.inputs}
        family = self.roles.family | {self.roles.source}
        rows = {t: [r for r in a.ranks if r in family] for t, a in read.items() if t in self.cascade.inputs}
        return tuple(prod([self.sizes[r] for r in ranks]) for ranks in rows.values() if ranks)

    def _fused_tile(self, product: Product, operand: Operand, fused: int) -> dict[str, int]:
        column = self.roles.column
        ranks = [r for r in operand.ranks if r in product.ranks]
        return {r: min(self.sizes[r], fused) if r == column else self.sizes[r] for r in ranks}

    def _array_tile(self, sizes: dict[str, int]) -> int:
        array = self.architecture.array_2d
        sides = [array.columns if r in (self.roles.column, self.roles.source) else array.rows for r in sizes]
        return prod([min(size, side) for size, side in zip(sizes.values(), sides, strict=True)])
