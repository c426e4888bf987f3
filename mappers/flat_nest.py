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
from mappers.capacity import least, live_bytes, most
from mappers.contraction import INSTANCES, Product, product_of
from mappers.mapping import MappedEinsum, Mapping, NestShape, ScheduledPhase
from mappers.nest import Hold, Operand
from mappers.phases import PhaseGroup, phase_cycles, phase_groups, rank_sizes
from mappers.roles import Roles, find_roles
from mappers.rows import row_sections
from mappers.vector import VectorPhase

STATIONARY = ("first", "second", "result")
ExtentKey = tuple[str, str]
"""A rank, and which part of it a loop walks: ``all``, ``groups`` of fused columns, and within one of them ``time``
(all of it), ``columns`` or ``rows`` of the array, ``column steps`` or ``row steps``."""


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
        spilled = self.spilled_tensors(choice.on_chip)
        stationary = iter(zip(self.products, choice.stationary, strict=True))
        for group in self.groups:
            if group.contraction:
                product, held = next(stationary)
                einsums.append(self.contraction(product, held, choice))
            else:
                einsums += self.vector(group, choice.on_chip)
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

    def spilled_tensors(self, on_chip: frozenset[str]) -> frozenset[str]:
        """Return the tensors of which a part goes to DRAM if what is on chip overflows the buffer."""
        scores = (self._score_tensors(g, on_chip) for g in self.groups if not g.contraction)
        return on_chip.union(*scores)

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
        shape, keys = self.layout(product, stationary, choice.on_chip)
        return MappedEinsum(
            product.name,
            "array_2d",
            shape,
            tuple(self.extent(key, choice.fused) for key in keys),
            (("mac", 1),),
            phase_cycles((("mac", 1),), self.architecture.array_2d, self.accounting),
            prod([self.sizes[r] for r in (INSTANCES, *product.others, *product.ranks)]),
        )

    def layout(
        self, product: Product, stationary: str, on_chip: frozenset[str]
    ) -> tuple[NestShape, tuple[ExtentKey, ...]]:
        """Return a contraction's nest without extents, and what its extents are, outermost first."""
        time, outer, inner = self._order(product, stationary)
        fixed = (INSTANCES, *product.others)
        column = self.roles.column
        ranks = (*fixed, column, outer, inner, time, outer, inner)
        scope = len(ranks) - 5
        shape = NestShape.of(
            product.operands,
            ranks,
            tuple(i >= len(ranks) - 2 for i in range(len(ranks))),
            tuple(h for o in product.operands for h in self._holds(o, scope, len(ranks), on_chip)),
            scope=scope,
        )
        groups = ((column, "groups"),) if column in product.ranks else (("", "one"),)
        tile = ((outer, "column steps"), (inner, "row steps"), (time, "time"), (outer, "columns"), (inner, "rows"))
        return shape, (*((rank, "all") for rank in fixed), *groups, *tile)

    def extent(self, key: ExtentKey, fused: int) -> int:
        """Return the extent of a loop over (a part of) a rank; sizes, machine and ``fused`` may be of arrays."""
        rank, part = key
        if part == "one":
            return 1
        if part == "groups":
            return -(-self.sizes[rank] // fused)
        size = self.sizes[rank]
        if part == "all":
            return size
        if rank == self.roles.column:
            size = least(size, fused)
        if part == "time":
            return size
        side = self.architecture.array_2d.columns if part.startswith("column") else self.architecture.array_2d.rows
        width: int = least(size, side)
        return -(-size // width) if part.endswith("steps") else width

    def _order(self, product: Product, stationary: str) -> tuple[str, str, str]:
        """The rank walked innermost in time, and those along the columns and the rows."""
        still = product.operands[STATIONARY.index(stationary)]
        time = next((r for r in product.ranks if r not in still.ranks), product.ranks[2])
        return time, *self._spatial_order([r for r in product.ranks if r != time])

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
        shared, beside = 0, self.fibers_from_outside
        tiles: list[int] = []
        for tensor, on, off, hands_on in self.places(choice.fused):
            if hands_on:
                shared = most(shared, on if tensor in choice.on_chip else 0)
            else:
                tiles.append(on if tensor in choice.on_chip else off)
        return live_bytes([shared, *tiles, *beside], self.value_bytes)

    def places(self, fused: int) -> list[tuple[str, int, int, bool]]:
        """Return, per operand of each product, the tensor, its values in the buffer if it is on chip and if it is not,
        and whether phases hand it on with a value per row, so that it shares the one place of such tensors."""
        return [place for product in self.products for place in self.places_of(product, fused)]

    def places_of(self, product: Product, fused: int) -> list[tuple[str, int, int, bool]]:
        """Return the same for one product."""
        found = []
        for operand in product.operands:
            sizes = self._fused_tile(product, operand, fused)
            tile = prod(sizes.values())
            if operand.tensor in self.intermediates and self.roles.source in operand.ranks:
                found.append((operand.tensor, tile, 0, True))
            else:
                found.append((operand.tensor, 2 * tile, 2 * self._array_tile(sizes), False))
        return found

    @cached_property
    def fibers_from_outside(self) -> tuple[int, ...]:
        """Lengths of the fibers of the cascade's inputs that vector phases read."""
        read = {a.tensor: a for g in self.groups if not g.contraction for e in g.einsums for a in e.inputs}
        family = self.roles.family | {self.roles.source}
        rows = {t: [r for r in a.ranks if r in family] for t, a in read.items() if t in self.cascade.inputs}
        return tuple(prod([self.sizes[r] for r in ranks]) for ranks in rows.values() if ranks)

    def _fused_tile(self, product: Product, operand: Operand, fused: int) -> dict[str, int]:
        column = self.roles.column
        ranks = [r for r in operand.ranks if r in product.ranks]
        return {r: least(self.sizes[r], fused) if r == column else self.sizes[r] for r in ranks}

    def _array_tile(self, sizes: dict[str, int]) -> int:
        array = self.architecture.array_2d
        sides = [array.columns if r in (self.roles.column, self.roles.source) else array.rows for r in sizes]
        return prod([least(size, side) for size, side in zip(sizes.values(), sides, strict=True)])
