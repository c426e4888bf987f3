"""What one task on a CPU does: matrix products, vector operations and transfers of each piece of its program.

Bytes are counted where they are waited for: what a loop reads, from the level where it lies, and what it writes as
well where that is the memory, since caches take stores beside loads. What another piece of the same pass has just
touched lies in the level that holds a tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from einsum_cascades.ir import Access, Cascade
from einsum_cascades.operations import operations
from einsum_cascades.workload import Workload
from hw_models.cpu.activity import Product, Step, Transfer, Vector
from hw_models.cpu.machine import Cpu, Placement
from kernels.cpu.tiles import Tiles
from mappers.cpu_program import LoopPiece, ProductPiece, Program


@dataclass(frozen=True)
class Span:
    """The part of the query and key ranks that a task covers.

    Attributes:
        queries: queries of the task.
        width: queries padded to whole vectors.
        keys: keys that any of them sees.
    """

    queries: int
    width: int
    keys: int


@dataclass(frozen=True)
class Counter:
    """Counts the work of a cascade's tasks under one choice of tiles."""

    cascade: Cascade
    program: Program
    workload: Workload
    cpu: Cpu
    tiles: Tiles

    @cached_property
    def keys(self) -> int:
        """Size of the row rank."""
        return self.workload.size(self.program.roles.source)

    @cached_property
    def widest(self) -> Span:
        """A task of a whole tile of queries that sees all keys."""
        return Span(self.tiles.queries, self.tiles.queries, self.keys)

    def extent(self, ranks: tuple[str, ...], span: Span) -> int:
        """Points of a space of ranks within a task, all its passes over the keys included."""
        roles, family = self.program.roles, self.program.family
        own = family.intersection(ranks)
        found = 1
        if own:
            partial = len(own) < len(self.cascade.family(roles.row)) and roles.source not in own
            tiles = -(-span.keys // self.tiles.keys)
            found = span.keys if not partial else min(span.keys, self.tiles.keys) if roles.row in own else tiles
        for rank in ranks:
            if rank not in family:
                found *= span.width if rank == roles.column else self.workload.size(rank)
        return found

    def bytes(self, ranks: tuple[str, ...], span: Span) -> int:
        """Bytes of a space of ranks within a task."""
        return self.cpu.value_bytes * self.extent(ranks, span)

    def live(self, access: Access) -> int:
        """Bytes that an intermediate tensor takes in a task: those of all keys if passes hand it on, or of a tile."""
        tile = Span(self.tiles.queries, self.tiles.queries, min(self.tiles.keys, self.keys))
        return self.bytes(access.ranks, self.widest if access.tensor in self.program.crossing else tile)

    def shared(self, access: Access) -> bool:
        """Whether what is accessed is an input that all queries share, such as K and V."""
        return self.program.roles.column not in access.ranks and self._is_input(access)

    def _is_input(self, access: Access) -> bool:
        return access.tensor in self.cascade.inputs

    @cached_property
    def instance_bytes(self) -> int:
        """Bytes of the inputs that the queries of one instance share."""
        return sum(self.bytes(self.cascade.ranks_of[t], self.widest) for t in self._shared_inputs)

    @cached_property
    def _shared_inputs(self) -> tuple[str, ...]:
        column, views = self.program.roles.column, dict(self.cascade.views)
        inputs = [t for t in self.cascade.inputs if views.get(t) not in self.cascade.ranks_of]
        return tuple(t for t in inputs if column not in self.cascade.ranks_of[t])

    def shared_bytes(self, span: Span) -> int:
        """Bytes of the inputs that all queries share, as far as a task reads them."""
        return sum(self.bytes(self.cascade.ranks_of[t], span) for t in self._shared_inputs)

    def fiber_bytes(self, span: Span) -> int:
        """Bytes that a task moves between passes: each fiber once out and, per further pass, once back."""
        moved = 0
        for pieces in self.program.passes:
            names = {a.tensor: a for p in pieces for e in p.parts for a in (e.output, *e.inputs)}
            crossing = (a for t, a in names.items() if t in self.program.crossing and self.program.in_tile(a))
            moved += sum(self.bytes(access.ranks, span) for access in crossing)
        return moved

    @property
    def _laid_out(self) -> tuple[str, ...]:
        """Inputs and results that queries have of their own and that no key rank spans."""
        column, ranks_of = self.program.roles.column, self.cascade.ranks_of
        tensors = (*self.cascade.inputs, *self.cascade.outputs)
        return tuple(t for t in tensors if column in ranks_of[t] and not self.program.family & set(ranks_of[t]))

    @cached_property
    def queried_tile_bytes(self) -> int:
        """Bytes of the copies of inputs that a task works on."""
        inputs = (t for t in self._laid_out if t in self.cascade.inputs)
        return sum(self.bytes(self.cascade.ranks_of[t], self.widest) for t in inputs)

    @cached_property
    def queried_bytes(self) -> int:
        """Bytes of the inputs and results of one instance that queries have of their own."""
        whole = self.workload.size(self.program.roles.column)
        span = Span(whole, whole, self.keys)
        own = {*self.cascade.inputs, *self.cascade.outputs} - set(self._shared_inputs)
        return sum(self.bytes(self.cascade.ranks_of[t], span) for t in own)

    @cached_property
    def home(self) -> Placement:
        """Where all lies that a run reads and writes."""
        total = self.workload.instances * (self.instance_bytes + self.queried_bytes)
        return self.cpu.placed(total)

    @cached_property
    def near(self) -> Placement:
        """Where what the queries of one instance share lies while they read it."""
        return self.cpu.placed(self.instance_bytes)

    @cached_property
    def fiber(self) -> Placement:
        """Where a value per query of a tile and key lies, for each thread."""
        size = self.cpu.value_bytes * self.tiles.queries * self.keys
        return self.cpu.placed(size, sharers=self.cpu.threads)

    @cached_property
    def tile(self) -> Placement:
        """Where a tile of such values lies."""
        size = self.cpu.value_bytes * self.tiles.queries * min(self.tiles.keys, self.keys)
        return self.cpu.placed(size, sharers=self.cpu.threads)

    def steps(self, span: Span, first_share: float) -> Iterator[Step]:
        """What a task does.

        Args:
            span: what it covers.
            first_share: the share of the shared inputs that it is the first to read.
        """
        yield from self._layout(span)
        for pieces in self.program.passes:
            touched: set[str] = set()
            for piece in pieces:
                if isinstance(piece, ProductPiece):
                    yield self._product(piece, span, touched, first_share)
                else:
                    yield self._loop(piece, span, touched, first_share)

    def _layout(self, span: Span) -> Iterator[Step]:
        """Copies of what queries have of their own, the results included, with the query as the last axis and back."""
        for tensor in self._laid_out:
            ranks = self.cascade.ranks_of[tensor]
            moved = self._beyond_l2(_from(tensor, self.home, self.bytes(ranks, span)))
            yield Step(vectors=(Vector(tensor, "transpose", self.extent(ranks, span)),), copied=moved)

    def _product(self, piece: ProductPiece, span: Span, touched: set[str], first_share: float) -> Step:
        calls = 1
        for rank in piece.repeats:
            calls *= 1 if rank in self.program.family else self.extent((rank,), span)
        found = []
        for keys, number in self._key_tiles(span):
            part = Span(span.queries, span.width, keys)
            rows, columns, depth = (self.extent(ranks, part) for ranks in (piece.rows, piece.columns, piece.depth))
            found.append(Product(piece.einsum.name, rows, columns, depth, calls * number))
        if not self.program.family & {*piece.rows, *piece.columns, *piece.depth}:
            found = [one._replace(calls=calls) for one in found[:1]]
        copied = []
        for access in piece.einsum.inputs:
            copied += self._reads(access, span, touched, first_share)
        touched.add(piece.einsum.name)
        if self.tiles.keys_per_row > 1:
            done = sum(one.rows * one.columns * one.depth * one.calls for one in found)
            vectors = tuple(Vector(piece.einsum.name, operator, done) for operator in ("mul", "add"))
            return Step(vectors=vectors, streamed=tuple(copied))
        return Step(products=tuple(found), copied=self._beyond_l2(copied))

    def _key_tiles(self, span: Span) -> list[tuple[int, int]]:
        """(keys, how many) of the tiles of keys of a task."""
        whole, rest = divmod(span.keys, self.tiles.keys)
        return [(keys, number) for keys, number in ((self.tiles.keys, whole), (rest, 1)) if keys and number]

    def _beyond_l2(self, transfers: list[Transfer]) -> tuple[Transfer, ...]:
        near = [level.name for level in self.cpu.levels[:2]]
        return tuple(transfer for transfer in transfers if transfer.level not in near)

    def _loop(self, piece: LoopPiece, span: Span, touched: set[str], first_share: float) -> Step:
        vectors, streamed = [], []
        leader = piece.einsums[0]
        for einsum in piece.einsums:
            for operation in operations(einsum):
                number = self.extent(operation.ranks, span)
                names = ("mul", "add") if operation.operator == "mac" else (operation.operator,)
                vectors += [Vector(einsum.name, name, number) for name in names]
        for access in leader.inputs:
            streamed += self._reads(access, span, touched, first_share)
        if leader.name in self.program.crossing and self.program.in_tile(leader.output):
            written = _from(leader.name, self.fiber, self.bytes(leader.output.ranks, span))
            streamed += [transfer for transfer in written if transfer.level == self.cpu.levels[-1].name]
        touched.add(leader.name)
        return Step(vectors=tuple(vectors), streamed=tuple(streamed))

    def _reads(self, access: Access, span: Span, touched: set[str], first_share: float) -> list[Transfer]:
        """Transfers that reading a tensor in a pass takes."""
        name, size = access.tensor, self.bytes(access.ranks, span)
        fresh = name not in touched
        touched.add(name)
        if self.shared(access):
            first = round(size * first_share) if fresh else 0
            return _from(name, self.home, first) + _from(name, self.near, size - first)
        if not self.program.in_tile(access):
            return [Transfer(name, self.cpu.levels[0].name, size)]
        if self._is_input(access):
            return _from(name, self.home if fresh else self.tile, size)
        return _from(name, self.fiber if fresh and name in self.program.crossing else self.tile, size)


def _from(tensor: str, placement: Placement, size: int) -> list[Transfer]:
    """Transfers of some bytes of a tensor from where it lies."""
    return [Transfer(tensor, level, round(size * share)) for level, share in placement]
