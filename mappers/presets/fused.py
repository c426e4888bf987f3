"""FuseMax's loop nest as a tree, for any cascade with a row family and a column rank.

    for instances: for groups of columns
      keep inputs of the columns, states, sums that grow, what later passes need
        for row tiles
          keep the inputs of the rows, tiles that pass through the buffer
            for column tiles of the group
              pipe: the matrix array beside the vector array (``slots.py``)

Columns (queries) lie along the last dimension of the matrix array, rows (keys) along the first; where the columns do
not fill theirs, as in decoding, the rows take what they leave. Nothing goes to DRAM but inputs, results and, in a
variant, what a later pass needs and the buffer cannot keep. The group is the largest that fits.

Source: Nayak et al., "FuseMax", MICRO 2024, section V, whose nest for attention this generalises.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from einsum_cascades.ir import Access, Einsum
from einsum_cascades.loops.arith import Number, least
from einsum_cascades.loops.sites import Plan
from einsum_cascades.loops.space import PRIME
from einsum_cascades.loops.tree import (
    INSTANCES,
    Hold,
    Last,
    Late,
    Loop,
    LoopTree,
    Node,
    Parallel,
    Pipeline,
    sequence,
)
from einsum_cascades.order import carried
from hw_models.machine import Array, Memory
from mappers.presets.drained import drained
from mappers.presets.laid import Laid
from mappers.presets.problem import Problem, lanes, spread
from mappers.presets.slots import Overlap, Slot, slots_of
from mappers.residency import BUFFER, DRAM, STAGING, Residency
from mappers.roles import Roles
from mappers.sections import Section


@dataclass(frozen=True, eq=False)
class Fused:
    """One way to fuse a cascade: where its tensors stay is settled, the group of columns is not.

    Attributes:
        overlap: what runs side by side.
        whole: inputs with a value per row that are kept for a whole group, over all passes.
        widest: how many positions along the columns the rows may take, where columns leave some; None is all of them.
        early: whether stages do not wait for drains by being later.
        times: how many rows of a visit follow one another at each place of the matrix array.
        wide: whether all that lacks rows takes their place on the matrix array (``Laid``).
    """

    problem: Problem
    roles: Roles
    residency: Residency
    overlap: Overlap
    whole: frozenset[str] = frozenset()
    widest: Number | None = None
    early: bool = False
    times: Number = 1
    wide: bool = False

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The ranks that lie along the columns, the outermost first: those that the same tensors have."""
        ranks_of = self.problem.cascade.ranks_of
        having = {t for t, ranks in ranks_of.items() if self.roles.column in ranks}
        found = [
            rank
            for rank in dict.fromkeys(r for ranks in ranks_of.values() for r in ranks)
            if rank not in (*self.roles.batches, *self.roles.family, self.roles.source)
            and {t for t, ranks in ranks_of.items() if rank in ranks} == having
        ]
        return (*(rank for rank in found if rank != self.roles.column), self.roles.column)

    @cached_property
    def tile(self) -> dict[str, Number]:
        """Points of a visit's tile: of each column rank, and under the row rank's whole name of rows."""
        dims = self.problem.parts.dimensions(self.problem.parts.matrix)
        length: Number = dims[0][1] if dims else 1
        rows = lanes(dims[1:])
        found: dict[str, Number] = {}
        for rank in reversed(self.columns):
            found[rank] = least(length, self.problem.size(rank))
            length = length // found[rank]
        if self.widest is not None:
            length = least(length, self.widest)
        found[self.roles.source] = rows * length * self.times
        return found

    @cached_property
    def laid(self) -> Laid:
        """How Einsums lie over their arrays."""
        rows = self.tile[self.roles.source] // self.times
        return Laid(self.problem, self.roles, self.residency.arrays, self.columns, self.tile, rows, self.wide)

    def tree(self, group: dict[str, Number]) -> LoopTree:
        """Return the tree for a group of columns.

        Args:
            group: points of a group of each column rank.
        """
        return self._around(self._inside, group)

    def _around(self, body: Node, group: dict[str, Number]) -> LoopTree:
        for rank in reversed(self.columns):
            body = Loop(rank, group[rank], body)
        for rank in reversed(self.roles.batches):
            body = Loop(rank, 1, body)
        body = self._over_instances(body)
        return LoopTree(body, self.split)

    @cached_property
    def _inside(self) -> Node:
        """What is done for a group of columns, whatever its size."""
        body = self._sections()
        for tensor in self._kept_for_groups():
            body = Hold(tensor, self.buffer, body, state=self.residency.is_state(tensor))
        if self.early:
            return body
        return drained(body, self.problem.plan(self._around(body, self._all_columns)), self.problem)

    @property
    def _all_columns(self) -> dict[str, Number]:
        """A group that is as large as the columns."""
        return {rank: 4 * self.problem.size(rank) for rank in self.columns}

    @cached_property
    def grouped(self) -> Plan:
        """The tree as a plan for one group, as large as the columns are made: its loops cut nothing."""
        return self.problem.plan(self.tree(self._all_columns))

    @property
    def buffer(self) -> str:
        """The memory that tiles are cut for."""
        return self.problem.parts.buffer.name

    @cached_property
    def split(self) -> tuple[tuple[str, Number], ...]:
        """How the cascade's own partitions are cut: the row rank by the tile, middle parts as they are given."""
        found: list[tuple[str, Number]] = []
        for partition in self.problem.cascade.partitions:
            rows = self.tile[partition.rank] if partition.rank == self.roles.source else self._matrix_rows()
            found.append((partition.parts[-1], rows))
            found += [(part, self.problem.size(part)) for part in partition.parts[1:-1]]
        return tuple(found)

    def _matrix_rows(self) -> Number:
        return lanes(self.problem.parts.dimensions(self.problem.parts.matrix)[1:])

    def _over_instances(self, body: Node) -> Node:
        size = self.problem.sizes[INSTANCES]
        outside = list(self.problem.parts.outside)
        if not outside:
            return Loop(INSTANCES, 1, body)
        return spread(INSTANCES, size, outside, body)

    def _kept_for_groups(self) -> list[str]:
        """Tensors that stay in the buffer while a group of columns is worked on."""
        residency, cascade = self.residency, self.problem.cascade
        inputs = [t for t in cascade.inputs if not self._by_row(t) or t in self.whole]
        kept = [t for t in dict.fromkeys(inputs) if self._used(t)]
        for einsum in residency.einsums:
            if any(BUFFER in chain for chain in residency.writes(einsum)) and not self._per_tile(einsum.name):
                kept.append(einsum.name)
        return kept

    def _used(self, tensor: str) -> bool:
        return any(a.tensor == tensor for e in self.residency.einsums for a in e.inputs)

    def _by_row(self, tensor: str) -> bool:
        return bool(self.roles.family & set(self.problem.cascade.ranks_of[tensor]))

    def _per_tile(self, tensor: str) -> bool:
        return tensor in self.residency.buffered_tiles and not self.residency.is_state(tensor)

    def _sections(self) -> Node:
        """The passes over the rows, one after another."""
        by_section: dict[Section, list[Einsum]] = {}
        for einsum in self.residency.einsums:
            by_section.setdefault(self.residency.section[einsum.name], []).append(einsum)
        order = sorted(by_section)
        found: list[Node] = []
        for place, section in enumerate(order):
            einsums = by_section[section]
            if section[1]:
                found.append(self._between_passes(einsums))
                continue
            after: list[Einsum] = []
            if place == len(order) - 2 and order[-1] == (section[0], True):
                last = by_section[order[-1]]
                walks = any(self.roles.family & set(e.ranks) for e in last)
                after = [] if walks or self._handed_back(last) else last
            found.append(self._pass(section, einsums, after))
            if after:
                break
        return sequence(*found)

    def _handed_back(self, einsums: list[Einsum]) -> bool:
        """Whether the matrix array takes what the vector array makes among some Einsums."""
        arrays = self.residency.arrays
        vector = {e.name for e in einsums if arrays[e.name] == "vector"}
        return any(arrays[e.name] == "matrix" and a.tensor in vector for e in einsums for a in e.inputs)

    def _between_passes(self, einsums: list[Einsum]) -> Node:
        body = sequence(*(self.laid.nest(e, frozenset()) for e in einsums))
        read = {a.tensor for e in einsums for a in e.inputs}
        kept = self._kept_for_groups()
        for einsum in einsums:
            if einsum.name in read and einsum.name not in (*self.problem.cascade.outputs, *kept):
                body = Hold(einsum.name, self.buffer, body)
        return self._column_tiles(body)

    def _column_tiles(self, body: Node) -> Node:
        for rank in reversed(self.columns):
            body = Loop(rank, self.tile[rank], body)
        return body

    def _pass(self, section: Section, einsums: list[Einsum], after: list[Einsum]) -> Node:
        body = self._column_tiles(self._visit(einsums, after))
        for tensor in self._kept_for_rows(einsums):
            body = Hold(tensor, self.buffer, body)
        body = Loop(self.roles.source, self.tile[self.roles.source], body)
        middle = [
            part for p in self.problem.cascade.partitions if p.rank == self.roles.source for part in p.parts[1:-1]
        ]
        size = self.tile[self.roles.source]
        for part in reversed(middle):
            size = size * self.problem.size(part)
            body = Loop(self.roles.source, size, body)
        return body

    def _kept_for_rows(self, einsums: list[Einsum]) -> list[str]:
        read = dict.fromkeys(a.tensor for e in einsums for a in e.inputs)
        inputs = [t for t in self.problem.cascade.inputs if t in read and self._by_row(t) and t not in self.whole]
        made = [e.name for e in einsums if self._per_tile(e.name)]
        return [*inputs, *made]

    def _visit(self, einsums: list[Einsum], after: list[Einsum]) -> Node:
        """What happens in one tile: the pipeline, in the registers that its parts share."""
        residency = self.residency
        held = self._registers(einsums)
        streams = self._streams(einsums)
        found: list[Node] = []
        for slot in slots_of(residency, einsums, after, self.overlap):
            found.append(self._slot(slot, held, streams, {e.name for e in after}))
        body: Node = found[0] if len(found) == 1 and not isinstance(found[0], Parallel) else Pipeline(tuple(found))
        for tensor, memory in held:
            body = Hold(tensor, memory, body)
        return body

    def _slot(self, slot: Slot, held: list[tuple[str, str]], streams: dict[str, str], after: set[str]) -> Node:
        parts: list[Node] = []
        for late, einsums in slot:
            nodes = []
            for einsum in einsums:
                if einsum.name in streams:
                    continue  # it stands beside what it takes values from
                node = self._laid_over(einsum, held)
                readers = [e for e in self.residency.einsums if streams.get(e.name) == einsum.name]
                if readers:
                    beside = [self._laid_over(reader, held) for reader in readers]
                    fabric = self.problem.parts.between
                    node = Parallel((node, *beside))
                    if fabric is not None:
                        node = Hold(einsum.name, fabric.name, node)
                if einsum.name in after:
                    node = Last(self.roles.source, node)
                nodes.append(node)
            if nodes:
                body = sequence(*nodes)
                parts.append(Late(late, body) if late else body)
        return parts[0] if len(parts) == 1 else Parallel(tuple(parts))

    def _laid_over(self, einsum: Einsum, held: list[tuple[str, str]]) -> Node:
        array = self.laid.array(einsum).name
        return self.laid.nest(einsum, frozenset(tensor for tensor, memory in held if memory == array))

    def _streams(self, einsums: list[Einsum]) -> dict[str, str]:
        """Einsums of the vector array that take a tile's values as the matrix array makes them: reader to made."""
        residency = self.residency
        if not residency.decoupled or self.problem.parts.between is None:
            return {}
        found: dict[str, str] = {}
        names = {e.name for e in einsums}
        place = {e.name: number for number, e in enumerate(einsums)}
        for einsum in einsums:
            for access in einsum.inputs:
                tensor = access.tensor
                if tensor not in names or carried(access, self.problem.cascade):
                    continue
                crosses = residency.arrays[tensor] == "matrix" and residency.arrays[einsum.name] == "vector"
                if crosses and residency.reads(einsum, access)[0] not in (BUFFER, DRAM, STAGING):
                    last = found.get(einsum.name, tensor)  # of several the one that is made last
                    found[einsum.name] = max(last, tensor, key=place.__getitem__)
        return found

    def _registers(self, einsums: list[Einsum]) -> list[tuple[str, str]]:
        """Tensors that stay in an array's registers, or between the arrays, for a whole visit; innermost first."""
        residency = self.residency
        names = {e.name for e in einsums}
        streams = self._streams(einsums)
        found: dict[tuple[str, str], None] = {}
        for einsum in einsums:
            array = self.laid.array(einsum).name
            for access in einsum.inputs:
                tensor, chain = access.tensor, residency.reads(einsum, access)
                if carried(access, self.problem.cascade):
                    if self._shared_state(einsum, access):
                        found[tensor + PRIME, array] = None
                elif tensor in names and len(chain) == 1 and streams.get(einsum.name) != tensor:
                    maker = self._maker(tensor)
                    own = self.laid.array(maker).name == array and not self._fiber(tensor, array)
                    own = own and self._stays(tensor, maker, einsums)
                    found[tensor, array if own else self._room()] = None
                elif tensor in names and chain[0] == STAGING:
                    found[tensor, self._middle()] = None
        return sorted(found, key=lambda pair: [name.name for name in reversed(self._way())].index(pair[1]))

    def _way(self) -> list[Memory | Array]:
        """The buffer, what is between the arrays, and these."""
        parts = self.problem.parts
        between = [] if parts.between is None else [parts.between]
        return [parts.buffer, *between, parts.matrix, parts.vector]

    def _fiber(self, tensor: str, array: str) -> bool:
        """Whether a lane works on several values of a tensor, more than its registers are for."""
        if self.problem.accounting.fibers_in_registers:
            return False
        ranks = set(self.problem.cascade.ranks_of[tensor])
        inner = ranks - self.roles.family - {*self.columns, *self.roles.batches}
        return bool(inner) or (array == self.problem.parts.vector.name and self.roles.row in ranks)

    def _stays(self, tensor: str, maker: Einsum, einsums: list[Einsum]) -> bool:
        """Whether all that read a tensor on the array where it is made lie over that as its making does, and no PE has
        a part of a sum over several."""
        readers = [e for e in einsums if any(a.tensor == tensor for a in e.inputs)]
        own = self.laid.array(maker)
        if set(self.laid.layout(maker)) & set(maker.reduced_ranks):
            return False
        return all(self.laid.layout(e) == self.laid.layout(maker) for e in readers if self.laid.array(e) is own)

    def _room(self) -> str:
        """Where fibers wait for the next Einsum: between the arrays, if more than wires are there."""
        between = self.problem.parts.between
        wires = between is None or between.pricing.stated.read_j is not None
        return self.buffer if wires or between is None else between.name

    def _middle(self) -> str:
        between = self.problem.parts.between
        return between.name if between is not None else self.buffer

    def _maker(self, tensor: str) -> Einsum:
        return next(e for e in self.residency.einsums if e.name == tensor)

    def _shared_state(self, einsum: Einsum, access: Access) -> bool:
        """Whether several Einsums of one array read the same earlier value, one value per lane."""
        inner = set(access.ranks) - self.roles.family - {*self.columns, *self.roles.batches}
        if inner:
            return False
        arrays = self.residency.arrays
        readers = [e for e in self.residency.einsums if access in e.inputs and arrays[e.name] == arrays[einsum.name]]
        return len(readers) > 1
