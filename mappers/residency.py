"""Where the tensors of a fused cascade live between the Einsum that makes them and those that use them.

Inputs come from DRAM into the global buffer: what has a value per row (keys, values) for one row tile, the rest for one
group of columns. Values that one array makes and uses in the same visit of a tile stay in its registers; those that
change arrays pass through the staging registers between them. Through the buffer go: the state of an iterative rank,
sums that grow from tile to tile, what a later pass needs, and tiles that an array must visit again but cannot hold.
A consumer in the same visit as the producer takes values as they come out (it *streams*) and reads no memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from einsum_cascades.ir import Access, Cascade, Einsum
from mappers.roles import Roles
from mappers.sections import Section, carried, sections

ArrayName = Literal["array_2d", "array_1d"]
"""Which of the two arrays of ``mappers.presets.problem.Parts``: the one for products, or the one for all else."""
DRAM = "dram"
BUFFER = "global_buffer"
STAGING = "staging"


@dataclass(frozen=True)
class Residency:
    """Decides, for one cascade bound to arrays, the memories of each operand.

    Attributes:
        arrays: array of each Einsum.
        staging: whether the arrays have staging registers between them.
        spilled: tensors that live in DRAM between passes because they do not fit on chip.
    """

    cascade: Cascade
    roles: Roles
    arrays: dict[str, ArrayName]
    staging: bool
    spilled: frozenset[str] = field(default=frozenset())

    @cached_property
    def section(self) -> dict[str, Section]:
        """Section of each Einsum."""
        return sections(self.cascade, self.roles.family)

    @cached_property
    def einsums(self) -> tuple[Einsum, ...]:
        """Einsums that run, by section."""
        run = (*self.cascade.body, *self.cascade.final)
        return tuple(sorted(run, key=lambda e: self.section[e.name]))

    @cached_property
    def _producer(self) -> dict[str, Einsum]:
        return {e.name: e for e in self.einsums}

    def _readers(self, tensor: str) -> list[tuple[Einsum, Access]]:
        return [(e, a) for e in self.einsums for a in e.inputs if a.tensor == tensor]

    def is_state(self, tensor: str) -> bool:
        """Whether the tensor carries values from one iteration to the next."""
        return any(carried(a, e, self.cascade) for e, a in self._readers(tensor))

    def crosses(self, tensor: str) -> bool:
        """Whether a later section reads the tensor."""
        here = self.section[tensor]
        return any(self.section[e.name] > here for e, _ in self._readers(tensor))

    @cached_property
    def crossing_tiles(self) -> tuple[str, ...]:
        """Tensors with a value per element of the row family that a later pass needs: they may be spilled."""
        made = [e for e in self.einsums if self.roles.row in e.output.ranks]
        return tuple(e.name for e in made if self.crosses(e.name))

    @cached_property
    def buffered_tiles(self) -> tuple[str, ...]:
        """Tiles that pass through the buffer within one visit, because the arrays cannot keep them."""
        tiles = [e.name for e in self.einsums if self.roles.in_tile(e.output.ranks)]
        return tuple(t for t in tiles if not self.crosses(t) and self._needs_buffer(t))

    def _needs_buffer(self, tensor: str) -> bool:
        made = self.arrays[tensor]
        for einsum, _ in self._readers(tensor):
            used = self.arrays[einsum.name]
            if made == used == "array_2d" or (used == "array_1d" and self._streams(einsum, tensor)):
                continue
            return True
        return False

    def _streams(self, einsum: Einsum, tensor: str) -> bool:
        """Whether the Einsum can take the tensor's values as they come: it waits for no reduction over them."""
        return not any(
            self._folds(a.tensor, tensor) for a in einsum.inputs if a.tensor != tensor and a.tensor in self.section
        )

    def _folds(self, result: str, tensor: str, seen: frozenset[str] = frozenset()) -> bool:
        """Whether ``result`` comes from a reduction of ``tensor`` over the row rank, in the same iteration."""
        if result in seen:
            return False
        einsum = self._producer[result]
        reduces = self.roles.row in einsum.reduced_ranks
        for access in einsum.inputs:
            if access.tensor not in self._producer or carried(access, einsum, self.cascade):
                continue
            if reduces and (access.tensor == tensor or self._comes_from(access.tensor, tensor)):
                return True
            if self._folds(access.tensor, tensor, seen | {result}):
                return True
        return False

    def _comes_from(self, result: str, tensor: str, seen: frozenset[str] = frozenset()) -> bool:
        if result in seen or result not in self._producer:
            return False
        einsum = self._producer[result]
        inputs = [a.tensor for a in einsum.inputs if not carried(a, einsum, self.cascade)]
        return tensor in inputs or any(self._comes_from(t, tensor, seen | {result}) for t in inputs)

    @cached_property
    def decoupled(self) -> bool:
        """Whether the arrays exchange tiles through the buffer, so that neither waits for the other."""
        return bool(self.buffered_tiles)

    def reads(self, einsum: Einsum, access: Access) -> tuple[str, ...]:
        """Return the memories through which an operand comes, outermost first, the registers last."""
        tensor, array = access.tensor, self.arrays[einsum.name]
        if tensor not in self._producer:
            return (DRAM, BUFFER, array) if self._first_reader(einsum, access) else (BUFFER, array)
        if self.section[einsum.name] > self.section[tensor]:
            return (DRAM, array) if tensor in self.spilled else (BUFFER, array)
        if carried(access, einsum, self.cascade):
            return (BUFFER, array) if self._first_on_array(einsum, access) else (array,)
        if tensor in self.buffered_tiles and not (array == "array_1d" and self._streams(einsum, tensor)):
            return (BUFFER, array)
        if not self.roles.in_tile(access.ranks) and self.arrays[tensor] != array and self.staging:
            return (STAGING, array)
        return (array,)

    def writes(self, einsum: Einsum) -> tuple[tuple[str, ...], ...]:
        """Return the chains of memories to which the result goes, outermost first, the registers last.

        The first chain is the one that partial sums accumulate in; further chains are copies.
        """
        tensor, array = einsum.name, self.arrays[einsum.name]
        grows = self.roles.row in einsum.reduced_ranks and bool(set(self.roles.row_outer) & set(einsum.reduced_ranks))
        if tensor in self.cascade.outputs:
            return ((DRAM, BUFFER, array),) if grows else ((DRAM, array),)
        chains: list[tuple[str, ...]] = []
        if tensor in self.spilled:
            chains.append((DRAM, array))
        elif self.is_state(tensor) or self.crosses(tensor) or tensor in self.buffered_tiles:
            chains.append((BUFFER, array))
        if self.staging and self._staged(einsum):
            chains.append((STAGING, array))
        return tuple(chains) or ((array,),)

    def _staged(self, einsum: Einsum) -> bool:
        if self.roles.in_tile(einsum.output.ranks):
            return False
        here = self.section[einsum.name]
        return any(
            self.arrays[e.name] != self.arrays[einsum.name]
            and self.section[e.name] == here
            and not carried(a, e, self.cascade)
            for e, a in self._readers(einsum.name)
        )

    def _first_reader(self, einsum: Einsum, access: Access) -> bool:
        by_pass = bool(self.roles.family & set(self.cascade.ranks_of[access.tensor]))
        for other in self.einsums:
            same_pass = not by_pass or self.section[other.name] == self.section[einsum.name]
            if same_pass and any(a.tensor == access.tensor for a in other.inputs):
                return other.name == einsum.name
        return True

    def _first_on_array(self, einsum: Einsum, access: Access) -> bool:
        """One value per PE stays in its registers for later readers; a fiber does not."""
        inner = set(access.ranks) - self.roles.family - {self.roles.column, *self.roles.batches}
        if inner:
            return True
        array = self.arrays[einsum.name]
        readers = [e for e, a in self._readers(access.tensor) if a == access and self.arrays[e.name] == array]
        return readers[0].name == einsum.name
