"""The fused loop nest: everything between DRAM and DRAM in tiles of rows by columns.

``for column group: for row tile: for column tile: spatial columns x spatial rows``, other ranks in time inside, batch
ranks outside (Nayak et al., MICRO 2024, section V, for attention; here for any cascade with a row family and a column
rank). A plan holds what does not depend on sizes; ``map`` chooses the column group and fills in the extents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod

from einsum_cascades.operators import WorkClass
from einsum_cascades.workload import Workload
from hw_models.accounting import Accounting
from hw_models.activity import ArrayName
from hw_models.architecture import Architecture
from mappers.capacity import fits, largest_divisor, least, live_bytes, too_small
from mappers.mapping import MappedEinsum, Mapping, NestShape, ScheduledPhase
from mappers.roles import Roles
from mappers.schedule import Epochs

Keys = tuple[str, ...]

# Names of extents; ranks stand for themselves.
INSTANCES = "*"
ROWS, ROW_SIZE = "rows", "row size"
COLUMNS, COLUMN_SIZE = "columns", "column size"
COLUMN_TILES, COLUMN_GROUPS, COLUMN_GROUP = "column tiles", "column groups", "column group"
LANES, LANE_STEPS = "lanes", "lane steps"
ROW_LANES, ROW_LANE_STEPS = "row lanes", "row lane steps"


def outer_key(rank: str) -> str:
    """Name of the extent of the loop over row tiles."""
    return f"outer {rank}"


@dataclass(frozen=True, slots=True)
class Piece:
    """One Einsum of a plan: ``keys`` name the extents of its loops, ``points`` those without padding."""

    name: str
    array: ArrayName
    shape: NestShape
    keys: Keys
    work: tuple[tuple[WorkClass, int], ...]
    cycles_per_point: int
    points: Keys
    actions_per_point: int


@dataclass(frozen=True)
class FusedPlan:
    """A cascade fused on an architecture, for any sizes.

    Attributes:
        roles: parts that the ranks play.
        inner: ranks walked inside the tile.
        pieces: the Einsums.
        tiles: for each tensor held in the buffer, the names of the extents of its tile.
        epochs, drains: the schedule of one visit, and how often it waits for the 2D array to drain.
        decoupled: whether the arrays exchange tiles through the buffer.
        passes: passes over the row family.
    """

    roles: Roles
    inner: tuple[str, ...]
    pieces: tuple[Piece, ...]
    tiles: tuple[tuple[str, Keys], ...]
    epochs: Epochs
    drains: int
    decoupled: bool
    passes: int

    def map(self, strategy: str, workload: Workload, architecture: Architecture, accounting: Accounting) -> Mapping:
        """Choose the largest group of column tiles that fits, and fill in the extents.

        Raises:
            InputError: a rank has no size, or the buffer is too small for one tile.
        """
        extents = self.extents(workload.size, workload.instances, architecture)
        capacity = self.capacity(architecture, accounting)
        group = self._largest_group(extents, capacity, workload.value_bytes)
        extents[COLUMN_GROUP] = group
        extents[COLUMN_GROUPS] = extents[COLUMN_TILES] // group
        return Mapping(
            strategy=strategy,
            einsums=tuple([_fill(piece, extents) for piece in self.pieces]),
            phases=(ScheduledPhase("fused", self.epochs, self._drain_cycles(extents)),),
            buffer_bytes=self._live(extents, workload.value_bytes),
            passes=self.passes,
            tiled=True,
            value_bytes=workload.value_bytes,
            tiles=((self.roles.column, extents[COLUMNS] * group), (self.roles.row, extents[ROWS])),
        )

    def capacity(self, architecture: Architecture, accounting: Accounting) -> int:
        """Return the bytes that tiles may take; of a machine whose numbers are arrays, an array."""
        capacity = architecture.global_buffer.bytes
        if self.decoupled and accounting.tile_capacity_bytes is not None:
            capacity = least(capacity, accounting.tile_capacity_bytes)
        return capacity

    def _drain_cycles(self, extents: dict[str, int]) -> int:
        return self.drains * extents[ROWS] * prod([extents[k] for k in self.visit_keys]) if self.drains else 0

    @cached_property
    def visit_keys(self) -> Keys:
        """Names of the extents whose product is the number of visits."""
        outer = [outer_key(r) for r in self.roles.row_outer]
        return (INSTANCES, *self.roles.batches, COLUMN_GROUPS, *outer, COLUMN_GROUP)

    def _live(self, extents: dict[str, int], value_bytes: int) -> int:
        return live_bytes([prod([extents[k] for k in keys]) for _, keys in self.tiles], value_bytes)

    def _largest_group(self, extents: dict[str, int], capacity: int, value_bytes: int) -> int:
        """Live data grow linearly with the group, so two values of the exact function give its bound."""
        extents[COLUMN_GROUP] = 1
        one = self._live(extents, value_bytes)
        if not fits(one, capacity):
            raise too_small("fused", one, capacity)
        extents[COLUMN_GROUP] = 2
        step = self._live(extents, value_bytes) - one
        tiles = extents[COLUMN_TILES]
        return largest_divisor(tiles, min(tiles, 1 + (capacity - one) // step) if step else tiles)

    def extents(self, size: Callable[[str], int], instances: int, architecture: Architecture) -> dict[str, int]:
        """Return the extents that do not depend on the column group; sizes and the machine may be of arrays.

        Raises:
            InputError: a rank has no size.
        """
        roles = self.roles
        rows, columns, lanes = (
            architecture.array_2d.rows,
            architecture.array_2d.columns,
            architecture.array_1d.pes,
        )
        extents = {
            INSTANCES: instances,
            ROWS: rows,
            COLUMNS: columns,
            LANES: least(columns, lanes),
            LANE_STEPS: -(-columns // lanes),
            ROW_LANES: least(rows, lanes),
            ROW_LANE_STEPS: -(-rows // lanes),
            COLUMN_SIZE: size(roles.column),
            ROW_SIZE: size(roles.source),
        }
        for rank in (*roles.batches, *self.inner):
            extents[rank] = size(rank)
        extents[COLUMN_TILES] = -(-extents[COLUMN_SIZE] // columns)
        row_tiles = -(-extents[ROW_SIZE] // rows)
        for rank in roles.row_outer[1:]:
            extents[outer_key(rank)] = least(row_tiles, size(rank))
            row_tiles = -(-row_tiles // extents[outer_key(rank)])
        extents[outer_key(roles.row_outer[0])] = row_tiles
        return extents


def _fill(piece: Piece, extents: dict[str, int]) -> MappedEinsum:
    return MappedEinsum(
        piece.name,
        piece.array,
        piece.shape,
        tuple([extents[k] for k in piece.keys]),
        piece.work,
        piece.cycles_per_point,
        prod([extents[k] for k in piece.points]),
        piece.actions_per_point,
    )
