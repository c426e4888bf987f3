"""Builds fused plans: the nests, residency and schedule that follow from a cascade and an architecture's arrays."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Access, Cascade, Einsum
from einsum_cascades.operations import work_classes
from einsum_cascades.workload import Workload
from hw_models.accounting import Accounting
from hw_models.architecture import Architecture
from hw_models.latency import latency_s
from mappers.activity import activity_of
from mappers.binding import bind
from mappers.fused import (
    COLUMN_GROUP,
    COLUMN_GROUPS,
    COLUMN_SIZE,
    COLUMNS,
    INSTANCES,
    LANE_STEPS,
    LANES,
    ROW_LANE_STEPS,
    ROW_LANES,
    ROW_SIZE,
    ROWS,
    FusedPlan,
    Keys,
    Piece,
    outer_key,
)
from mappers.mapping import Mapping, NestShape
from mappers.nest import Hold, Operand
from mappers.phases import actions
from mappers.residency import BUFFER, DRAM, STAGING, Residency
from mappers.roles import find_roles
from mappers.schedule import epochs


@lru_cache(maxsize=256)
def fused_plans(cascade: Cascade, architecture: Architecture, interleaved: bool) -> tuple[FusedPlan, ...]:
    """Return the plans worth trying: all tensors on chip between passes, or those with a value per row spilled.

    Raises:
        InputError: the cascade cannot be fused, or an Einsum's operators are not offered.
    """
    roles = find_roles(cascade)
    arrays = bind(cascade, roles, architecture)
    kept = Residency(cascade, roles, arrays, architecture.staging)
    variants = [kept]
    if kept.crossing_tiles:
        variants.append(Residency(cascade, roles, arrays, architecture.staging, frozenset(kept.crossing_tiles)))
    return tuple(_plan(v, architecture, interleaved) for v in variants)


def _plan(residency: Residency, architecture: Architecture, interleaved: bool) -> FusedPlan:
    roles = residency.roles
    pieces = []
    tiles: dict[str, Keys] = {}
    for einsum in residency.einsums:
        builder = _Builder(einsum, residency, architecture)
        pieces.append(builder.piece())
        for tensor, keys in builder.buffered:
            tiles.setdefault(tensor, keys)
    order, drains = epochs(residency, interleaved=interleaved)
    fixed = {*roles.family, roles.column, *roles.batches, *roles.row_outer}
    return FusedPlan(
        roles=roles,
        inner=tuple(dict.fromkeys(r for e in residency.einsums for r in e.ranks if r not in fixed)),
        pieces=tuple(pieces),
        tiles=tuple(tiles.items()),
        epochs=order,
        drains=drains,
        decoupled=residency.decoupled,
        passes=max(k for k, _ in residency.section.values()),
    )


class _Builder:
    """Lays out the loops of one Einsum, remembering the depth at which each kind of tile begins."""

    def __init__(self, einsum: Einsum, residency: Residency, architecture: Architecture) -> None:
        self.einsum = einsum
        self.residency = residency
        self.roles = residency.roles
        self.array = residency.arrays[einsum.name]
        self.pes = architecture.array(self.array)
        self.loops: list[tuple[str, str, bool]] = []
        self.buffered: list[tuple[str, Keys]] = []
        self._lay_out()

    def _lay_out(self) -> None:
        roles, ranks = self.roles, self.einsum.ranks
        self.loops += [(INSTANCES, INSTANCES, False)]
        self.loops += [(b, b, False) for b in roles.batches]
        self.loops += [(roles.column, COLUMN_GROUPS, False)]
        self.group = len(self.loops)
        self.loops += [(r, outer_key(r), False) for r in roles.row_outer if r in ranks]
        self.row = len(self.loops)
        if roles.column in ranks:
            self.loops += [(roles.column, COLUMN_GROUP, False)]
        self.visit = len(self.loops)
        self.loops += self._tile_loops()
        self.pe = len(self.loops)
        fixed = {*roles.family, roles.column, *roles.batches}
        self.loops += [(r, r, False) for r in ranks if r not in fixed]

    def _tile_loops(self) -> list[tuple[str, str, bool]]:
        roles, ranks = self.roles, self.einsum.ranks
        if roles.column in ranks:
            if self.array == "array_2d":
                loops = [(roles.column, COLUMNS, True)]
            else:
                loops = [(roles.column, LANE_STEPS, False), (roles.column, LANES, True)]
            if roles.row in ranks:
                loops.append((roles.row, ROWS, self.array == "array_2d"))
            return loops
        if roles.row in ranks:
            if self.array == "array_2d":
                return [(roles.row, ROWS, True)]
            return [(roles.row, ROW_LANE_STEPS, False), (roles.row, ROW_LANES, True)]
        return []

    def _depth(self, memory: str, tensor: str, home: bool) -> int:
        if memory == DRAM:
            return 0
        if memory == STAGING:
            return self.visit
        if memory == BUFFER:
            return self._buffer_depth(tensor)
        return self.pe if home else len(self.loops)

    def _buffer_depth(self, tensor: str) -> int:
        residency = self.residency
        if tensor in residency.cascade.inputs:
            by_row = bool(self.roles.family & set(residency.cascade.ranks_of[tensor]))
            return self.row if by_row else self.group
        per_tile = residency.is_state(tensor) or tensor in residency.buffered_tiles
        return self.row if per_tile else self.group

    def _ranks(self, access: Access) -> tuple[str, ...]:
        """Ranks that move the tensor's tile: those it is walked over, and every independent one."""
        return (INSTANCES, *self.roles.batches, *access.ranks)

    def piece(self) -> Piece:
        """Return the finished piece."""
        einsum, residency = self.einsum, self.residency
        operands: dict[str, Operand] = {}
        holds: list[Hold] = []
        for number, access in enumerate(einsum.inputs):
            name = access.tensor if access.tensor not in operands and access.tensor != einsum.name else ""
            name = name or f"{access.tensor}'{number}"
            operands[name] = Operand(name, self._ranks(access))
            holds += self._holds(name, access, residency.reads(einsum, access))
        for number, chain in enumerate(residency.writes(einsum)):
            name = einsum.name if number == 0 else f"{einsum.name} ({chain[0]})"
            operands[name] = Operand(name, self._ranks(einsum.output), output=True)
            memories = chain if number == 0 or einsum.reductions else chain[:1]
            holds += self._holds(name, einsum.output, memories)
        shape = NestShape.of(
            tuple(operands.values()),
            tuple(rank for rank, _, _ in self.loops),
            tuple(spatial for _, _, spatial in self.loops),
            tuple(holds),
            scope=self.group,
            multicast=self.pes.multicast,
            spatial_reduction=self.pes.spatial_reduction,
        )
        work = tuple(Counter(work_classes(einsum)).items())
        cycles = sum(n * self.pes.unit_of[w].cycles for w, n in work)
        keys = tuple(key for _, key, _ in self.loops)
        return Piece(einsum.name, self.array, shape, keys, work, cycles, self._points(), actions(work, self.pes))

    def _holds(self, name: str, access: Access, memories: tuple[str, ...]) -> list[Hold]:
        holds = []
        for position, memory in enumerate(memories):
            depth = self._depth(memory, access.tensor, position == 0)
            holds.append(Hold(memory, name, depth))
            if memory == BUFFER:
                ranks = self._ranks(access)
                keys = tuple(key for rank, key, _ in self.loops[depth:] if rank in ranks)
                self.buffered.append((access.tensor, keys))
        return holds

    def _points(self) -> Keys:
        roles, ranks = self.roles, self.einsum.ranks
        keys = [INSTANCES, *roles.batches]
        if roles.column in ranks:
            keys.append(COLUMN_SIZE)
        outer = [outer_key(r) for r in roles.row_outer if r in ranks]
        if roles.row in ranks:
            keys += [ROW_SIZE] if outer else [ROWS]
        else:
            keys += outer
        fixed = {*roles.family, roles.column, *roles.batches}
        return (*keys, *(r for r in ranks if r not in fixed))


def best_fused(
    strategy: str,
    cascade: Cascade,
    workload: Workload,
    architecture: Architecture,
    accounting: Accounting,
    *,
    interleaved: bool,
) -> Mapping:
    """Return the fused mapping with the least latency, then the least off-chip traffic.

    Raises:
        InputError: the cascade cannot be fused on this machine, or no variant fits its buffer.
    """
    plans = fused_plans(cascade, architecture, interleaved)
    if len(plans) == 1:
        return plans[0].map(strategy, workload, architecture, accounting)
    found: list[tuple[float, int, Mapping]] = []
    refused: InputError | None = None
    for plan in plans:
        try:
            mapping = plan.map(strategy, workload, architecture, accounting)
        except InputError as error:
            refused = error
            continue
        activity = activity_of(mapping, accounting)
        found.append((latency_s(activity, architecture), activity.dram_bytes, mapping))
    if not found:
        raise refused or InputError(f"no fused mapping of {cascade.name}")
    return min(found, key=lambda f: f[:2])[2]
