"""How one Einsum of a fused tile lies over its array.

Columns lie along the last dimension of the matrix array and rows along the others; on the vector array columns lie
first, and rows on the lanes that they leave. A product without rows takes the rows' place with its own ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cmp_to_key

from einsum_cascades.ir import Einsum
from einsum_cascades.loops.arith import Number, alike, anywhere, least, steps
from einsum_cascades.loops.space import steps_of
from einsum_cascades.loops.tree import Loop, Node
from hw_models.machine import Array
from mappers.presets.binding import beside_tiles
from mappers.presets.nest import walk
from mappers.presets.problem import Problem, chunked, chunks, lanes, spread
from mappers.residency import ArrayName
from mappers.roles import Roles


@dataclass(frozen=True, eq=False)
class Laid:
    """The tiles of a fused nest, laid over the arrays.

    Attributes:
        arrays: which array each Einsum runs on.
        columns: the ranks that lie along the columns, the outermost first.
        tile: points of a visit's tile, by whole rank.
        rows: those of them along the rows that lie side by side; the rest follow one another.
        wide: whether all that lacks rows takes their place with its own ranks, and not products alone.
    """

    problem: Problem
    roles: Roles
    arrays: dict[str, ArrayName]
    columns: tuple[str, ...]
    tile: dict[str, Number]
    rows: Number
    wide: bool = False

    def array(self, einsum: Einsum) -> Array:
        """Return the array that an Einsum runs on."""
        parts = self.problem.parts
        return parts.matrix if self.arrays[einsum.name] == "matrix" else parts.vector

    def layout(self, einsum: Einsum) -> tuple[str, ...]:
        """By which ranks an Einsum lies over its array: values in registers stay where they are."""
        laid = [rank for rank in self.columns if rank in einsum.ranks]
        rows = self.roles.row in einsum.ranks
        if self.array(einsum) is self.problem.parts.matrix:
            return (*laid, *[self.roles.row] * rows, *self._along_rows(einsum))
        return (*laid, *[self.roles.row] * (rows and self._rows_on_lanes(laid)))

    def _rows_on_lanes(self, columns: list[str]) -> bool:
        """Whether columns leave lanes of the vector array's first dimension to the rows."""
        dims = self.problem.parts.dimensions(self.problem.parts.vector)
        if not dims:
            return False
        filled, length = self._filled(columns), dims[0][1]
        return alike(2 * filled <= length)

    def _filled(self, ranks: list[str]) -> Number:
        found: Number = 1
        for rank in ranks:
            found = found * self.tile[rank]
        return found

    def nest(self, einsum: Einsum, kept: frozenset[str]) -> Node:
        """One Einsum in one tile, laid over its array."""
        parts, roles, array = self.problem.parts, self.roles, self.array(einsum)
        step = steps_of(self.problem.cascade)[einsum.name]
        dims = parts.dimensions(array)
        columns = [rank for rank in self.columns if rank in einsum.ranks]
        rows = roles.row in einsum.ranks
        fixed = {*roles.family, *self.columns, *roles.batches}
        inner = [(r, r) for r in einsum.ranks if r not in fixed]
        on_matrix = array is parts.matrix
        if rows and not (on_matrix and len(dims) > 1):
            inner = [(roles.row, roles.source), *inner]
        body = walk(step, array.name, inner, kept)
        if on_matrix and len(dims) > 1:
            return self._over_matrix(self._beside_columns(body, einsum, dims, columns), dims, columns, rows)
        return self._over_lanes(body, dims, columns, rows, inner, einsum)

    def _along_rows(self, einsum: Einsum) -> tuple[str, ...]:
        """Ranks of a product without rows that lie where rows do, and beside the columns where these leave positions:
        those of the result first, of these the longest."""
        step = steps_of(self.problem.cascade)[einsum.name]
        beside = beside_tiles(step, self.roles) or (self.wide and self.roles.row not in step.ranks)
        if self.array(einsum) is not self.problem.parts.matrix or not beside:
            return ()
        fixed = {*self.columns, *self.roles.batches, *self.problem.cascade.iterative_ranks}
        inner = [rank for rank in einsum.ranks if rank not in fixed]

        def longer_first(one: str, other: str) -> int:
            return -alike(self.problem.size(one) > self.problem.size(other))

        inner.sort(key=cmp_to_key(longer_first))
        return tuple(sorted(inner, key=lambda r: r in einsum.reduced_ranks))

    def _beside_columns(self, body: Node, einsum: Einsum, dims: list[tuple[str, Number]], columns: list[str]) -> Node:
        room = dict([*dims[1:], (dims[0][0], dims[0][1] // self._filled(columns))])
        for rank in self._along_rows(einsum):
            left, taken = self.problem.size(rank), []
            for name in room:
                count = least(left, room[name])
                if anywhere(count > 1):
                    taken.append((name, count))
                    left, room[name] = steps(left, count), room[name] // count
            body = chunked(rank, self.problem.size(rank), taken, body)
        return body

    def _over_matrix(self, body: Node, dims: list[tuple[str, Number]], columns: list[str], rows: bool) -> Node:
        source, tile = self.roles.source, self.tile
        if rows:
            height = lanes(dims[1:])
            body = spread(source, least(tile[source], height), dims[1:], body)
            if anywhere(self.rows > height):
                body = Loop(source, height, body, dims[0][0])
            if anywhere(tile[source] > self.rows):
                body = Loop(source, self.rows, body)
        for rank in reversed(columns):
            body = Loop(rank, 1, body, dims[0][0])
        return body

    def _over_lanes(
        self,
        body: Node,
        dims: list[tuple[str, Number]],
        columns: list[str],
        rows: bool,
        inner: list[tuple[str, str]],
        einsum: Einsum,
    ) -> Node:
        """Columns first, rows on the lanes that these leave, else the longest other rank that is not iterative."""
        tile, source = self.tile, self.roles.source
        if rows and self._rows_on_lanes(columns):
            body = chunks(source, tile[source], dims[0][1] // self._filled(columns), dims[0][0], body)
        elif not columns and not rows and inner and dims:
            rank = inner[0][1]
            for _, other in inner[1:]:
                if alike(self.problem.size(other) > self.problem.size(rank)):
                    rank = other
            body = chunks(rank, self.problem.size(rank), dims[0][1], dims[0][0], body)
        if len(columns) > 1:
            for rank in reversed(columns):
                body = Loop(rank, 1, body, dims[0][0])
            return body
        for rank in columns:
            body = spread(rank, tile[rank], dims, body)
        return body
