"""What one thread block does: products, loops and transfers of each piece of its program, for one tile of keys.

Loops count instructions of lanes. A value per query is held by four lanes, as the results of tensor units lie in the
registers of a warp, and each of them works on it. What a loop hands to a product is converted to 16 bits; a division
by what has no key rank is a multiplication by a reciprocal that was taken once.
Source of the layout: NVIDIA, "Parallel Thread Execution ISA", matrix fragments of mma.m16n8k16 and of wgmma.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Final

from einsum_cascades.ir import Access, Apply, Cascade, Einsum, Expression
from einsum_cascades.operations import operations
from einsum_cascades.workload import Workload
from hw_models.gpu.activity import Loop, Product, Transfer, Trip, Work
from hw_models.gpu.instructions import CONVERT, INSTRUCTIONS, MASK, Instructions
from hw_models.gpu.machine import Gpu
from mappers.cpu_program import Piece, ProductPiece
from mappers.gpu_kernels import GpuKernel
from mappers.gpu_program import GpuPass, GpuProgram

ROW_LANES: Final = 4
STEP: Final = 16
"""Rows and depth of one product instruction of a warp: head sizes are padded to whole ones."""
SUM_BYTES: Final = 4


@dataclass(frozen=True)
class GpuCounter:
    """Counts the work of a cascade's blocks under one kernel.

    Attributes:
        sharers: blocks of one instance, which read the same keys.
    """

    cascade: Cascade
    program: GpuProgram
    workload: Workload
    gpu: Gpu
    kernel: GpuKernel
    sharers: int

    @cached_property
    def keys(self) -> int:
        """Size of the row rank."""
        return self.workload.size(self.program.program.roles.source)

    @cached_property
    def queries(self) -> int:
        """Size of the column rank."""
        return self.workload.size(self.program.program.roles.column)

    def extent(self, ranks: tuple[str, ...], *, queries: int | None = None, keys: int | None = None) -> int:
        """Points of a space of ranks in a tile, the kernel's whole one or a part of it."""
        roles, family = self.program.program.roles, self.program.program.family
        found = 1
        if {roles.row, roles.source} & set(ranks):
            found = self.kernel.keys if keys is None else keys
        for rank in ranks:
            if rank == roles.column:
                found *= self.kernel.queries if queries is None else queries
            elif rank not in family:
                found *= self.workload.size(rank)
        return found

    def padded(self, ranks: tuple[str, ...]) -> int:
        """Points of one side of a product in a whole tile."""
        size = -(-self.extent(ranks) // STEP) * STEP
        return 1 << (size - 1).bit_length() if self.kernel.powers_of_two else size

    def bytes(self, ranks: tuple[str, ...], *, queries: int | None = None, keys: int | None = None) -> int:
        """Bytes of a space of ranks in a tile, in memory."""
        return self.gpu.value_bytes * self.extent(ranks, queries=queries, keys=keys)

    def whole_bytes(self, ranks: tuple[str, ...]) -> int:
        """Bytes of a space of ranks of one instance, in memory."""
        return self.bytes(ranks, queries=self.queries, keys=self.keys)

    def _is_input(self, tensor: str) -> bool:
        return tensor in self.cascade.inputs

    def _per_key(self, ranks: tuple[str, ...]) -> bool:
        return bool(self.program.program.family & set(ranks))

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Inputs, each once: views of others left out."""
        views = dict(self.cascade.views)
        return tuple(t for t in self.cascade.inputs if views.get(t) not in self.cascade.ranks_of)

    @cached_property
    def queried(self) -> tuple[str, ...]:
        """Inputs without a key rank: they are there before the first tile of keys."""
        return tuple(t for t in self.inputs if not self._per_key(self.cascade.ranks_of[t]))

    @cached_property
    def results(self) -> tuple[str, ...]:
        """Results without a key rank, written when a block ends."""
        return tuple(t for t in self.cascade.outputs if not self._per_key(self.cascade.ranks_of[t]))

    def tile_bytes(self, one: GpuPass) -> int:
        """Bytes of the inputs of one whole tile of keys in shared memory."""
        return sum(self.bytes(ranks) for _, ranks in self.key_inputs(one))

    def key_inputs(self, one: GpuPass) -> list[tuple[str, tuple[str, ...]]]:
        """Inputs of a tile of keys, and their ranks."""
        reads = {a.tensor: a.ranks for piece in one.trip for e in piece.parts for a in e.inputs}
        return [(t, ranks) for t, ranks in reads.items() if self._is_input(t) and self._per_key(ranks)]

    def opening(self, queries: int) -> tuple[Transfer, ...]:
        """Loads of what has no key rank."""
        return tuple(Transfer(t, "HBM", self.bytes(self.cascade.ranks_of[t], queries=queries)) for t in self.queried)

    def trip(self, one: GpuPass, queries: int, keys: int, *, masked: bool, times: int) -> Trip:
        """Tiles of keys of a pass that are alike.

        Args:
            one: the pass.
            queries, keys: of the tile that there are; the work is that of a whole one.
            masked: whether scores are compared with the edge of a mask or of the keys.
            times: how many tiles.
        """
        transfers = [t for name, ranks in self.key_inputs(one) for t in self._load(name, ranks, queries, keys)]
        if self.kernel.columns > 1:
            transfers += [t._replace(store="L2") for t in self.opening(queries)]
        for piece in one.trip:
            for einsum in piece.parts:
                if einsum.name in self.cascade.outputs and self._per_key(einsum.output.ranks):
                    moved = self.bytes(einsum.output.ranks, queries=queries, keys=keys)
                    transfers.append(Transfer(einsum.name, "HBM", moved))
        work = self._trip_work[self.program.passes.index(one), masked]
        products = sum(isinstance(w, Product) for w in work)
        awaits = 0 if self.kernel.stages else products
        return Trip(work, self._shared(one), tuple(transfers), awaits=awaits, times=times)

    @cached_property
    def _trip_work(self) -> dict[tuple[int, bool], tuple[Work, ...]]:
        """What a whole tile of keys takes in each pass, under a mask and without."""
        found = {}
        for number, one in enumerate(self.program.passes):
            for masked in (False, True):
                work: list[Work] = []
                for piece in one.trip:
                    work += self._work(piece)
                    if masked and isinstance(piece, ProductPiece) and self.program.program.in_tile(piece.einsum.output):
                        work.append(_loop(piece.einsum.name, MASK.times(self.extent(piece.einsum.output.ranks))))
                found[number, masked] = tuple(work)
        return found

    def _load(self, tensor: str, ranks: tuple[str, ...], queries: int, keys: int) -> Iterator[Transfer]:
        size = self.bytes(ranks, queries=queries, keys=keys)
        if self.program.program.roles.column in ranks:
            yield Transfer(tensor, "HBM", size)
        else:
            yield Transfer(tensor, "L2", size)
            yield Transfer(tensor, "HBM", size // self.sharers)

    def after(self, one: GpuPass, queries: int) -> Trip:
        """What follows the trips of a pass."""
        return Trip(tuple(w for piece in one.after for w in self._work(piece)))

    def closing(self, queries: int) -> Trip:
        """The results, converted and stored."""
        ranks = {t: self.cascade.ranks_of[t] for t in self.results}
        work = tuple(_loop(t, CONVERT.times(self.extent(r))) for t, r in ranks.items())
        return Trip(work, transfers=tuple(Transfer(t, "HBM", self.bytes(r, queries=queries)) for t, r in ranks.items()))

    def _work(self, piece: Piece) -> Iterator[Work]:
        if isinstance(piece, ProductPiece):
            for access in piece.einsum.inputs:
                if not self._is_input(access.tensor):
                    yield _loop(access.tensor, CONVERT.times(self.extent(access.ranks)))
            rows, columns, depth = (self.padded(ranks) for ranks in (piece.rows, piece.columns, piece.depth))
            calls = prod(self.workload.size(r) for r in piece.repeats if r not in self.program.program.family)
            yield Product(piece.einsum.name, rows, columns, depth, calls)
            return
        yield from _joined(self._instructions(einsum) for einsum in piece.einsums)

    def _instructions(self, einsum: Einsum) -> Loop:
        found = Instructions()
        hoisted = self._hoisted(einsum.expression)
        for operation in operations(einsum):
            name = operation.operator
            if name == "div" and hoisted:
                hoisted -= 1
                name = "mul"
            lanes = self.extent(operation.ranks)
            if operation.ranks and lanes == self.extent((self.program.program.roles.column,)):
                lanes *= ROW_LANES
            found = found.plus(INSTRUCTIONS[name].times(lanes))
        reduces = bool(self.program.program.family & set(einsum.reduced_ranks)) and einsum.output.ranks != einsum.ranks
        within = {self.program.program.roles.row, self.program.program.roles.source} & set(einsum.reduced_ranks)
        return _loop(einsum.name, found, reduces=reduces and bool(within))

    def _hoisted(self, expression: Expression) -> int:
        """Divisions by something without a key rank."""
        if not isinstance(expression, Apply):
            return 0
        inner = sum(self._hoisted(operand) for operand in expression.operands)
        divisor = expression.operands[-1]
        rows_only = isinstance(divisor, Access) and not self._per_key(divisor.ranks)
        return inner + (expression.operator == "div" and rows_only)

    def _shared(self, one: GpuPass) -> int:
        """Bytes of operands that warps read from shared memory for products from registers, in one trip."""
        if self.kernel.unit != "warp":
            return 0
        total = 0
        columns = self.kernel.columns
        rows = max(1, min(self.kernel.workers * self.kernel.warps // columns, self.kernel.queries // STEP))
        for piece in one.trip:
            if isinstance(piece, ProductPiece):
                for access in piece.einsum.inputs:
                    size = self.bytes(access.ranks)
                    if self.program.program.roles.column not in access.ranks:
                        total += rows * size
                    elif self._is_input(access.tensor):
                        total += columns * size
                    elif columns > 1:
                        total += (1 + columns) * size
        return total


def _loop(einsum: str, instructions: Instructions, *, reduces: bool = False) -> Loop:
    special, fma, alu = map(int, instructions)
    return Loop(einsum, special, fma, alu, reduces=reduces)


def _joined(loops: Iterator[Loop]) -> Iterator[Loop]:
    """Loops over one tile as one: the first's, whose results the others reduce as they come."""
    found = list(loops)
    yield Loop(
        found[0].einsum,
        sum(one.special for one in found),
        sum(one.fma for one in found),
        sum(one.alu for one in found),
        any(one.reduces for one in found),
    )
