"""What a mapped Einsum does, for many points at once: ``analysis.py`` and ``activity.py`` in terms of named extents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from einsum_cascades.operators import WorkClass
from hw_models.accounting import Accounting
from hw_models.activity import ArrayName
from hw_models.batched import ARRAYS, MEMORIES, BatchPhase, Number, Totals
from mappers.analysis import Boundary, Chain, CompiledNest
from mappers.batched.values import Handle, Key, Terms, Values
from mappers.capacity import most


@dataclass
class Tally:
    """Sums over the Einsums of a mapping, as terms to be added up."""

    values: Values
    accounting: Accounting
    spilled: Mapping[str, Fraction] = field(default_factory=dict)
    reads: dict[str, Terms] = field(default_factory=lambda: {m: Counter() for m in MEMORIES})
    writes: dict[str, Terms] = field(default_factory=lambda: {m: Counter() for m in MEMORIES})
    operations: dict[tuple[ArrayName, WorkClass], Terms] = field(default_factory=dict)
    busy: dict[ArrayName, Number] = field(default_factory=lambda: dict.fromkeys(ARRAYS, 0))
    occupied: dict[ArrayName, Number] = field(default_factory=lambda: dict.fromkeys(ARRAYS, 0))
    cycles: dict[str, Number] = field(default_factory=dict)
    dram_values: dict[str, Terms] = field(default_factory=dict)

    def einsum(
        self,
        name: str,
        array: ArrayName,
        nest: CompiledNest,
        keys: Sequence[Key],
        work: Sequence[tuple[WorkClass, int]],
        cycles_per_point: Number,
        actions_per_point: Number,
        points: Sequence[Key],
    ) -> None:
        """Add one Einsum's work; the arguments are those of ``MappedEinsum``, with names for extents."""
        values = self.values
        walked = values.product(keys)
        outside: Terms = Counter()
        for chain in nest.chains:
            outside.update(self._chain(chain, nest, keys, walked))
        if np.any(np.greater(actions_per_point, 1)):
            further = values.put(f"further {name}", (actions_per_point - 1) * values[walked])
            self.reads[array][further] += 2
            self.writes[array][further] += 1
        steps = [k for k, temporal in zip(keys, nest.temporal, strict=True) if temporal]
        self.cycles[name] = values[values.product(steps)] * cycles_per_point
        self.occupied[array] = self.occupied[array] + self.cycles[name]
        self.busy[array] = self.busy[array] + values[values.product(points)] * cycles_per_point
        for kind, number in work:
            self.operations.setdefault((array, kind), Counter())[walked] += number
        self.dram_values[name] = outside

    def _chain(self, chain: Chain, nest: CompiledNest, keys: Sequence[Key], walked: Handle) -> Terms:
        """Add one tensor's accesses; return those to DRAM."""
        return (_output if chain.output else _input)(self, chain, nest, keys, walked)

    def count(
        self, memory: str, tensor: str, reads: Terms, fills: Terms, updates: Terms, drains: Terms, exact: Terms
    ) -> Terms:
        """Add accesses to a memory; return those that are off-chip traffic.

        Args:
            exact: the reads if every first read is free; what is spilled is counted so.
        """
        part = self.spilled.get(tensor)
        if not part or memory not in ("dram", "global_buffer"):
            self._add(memory, reads, fills, updates, drains)
            return _sum(reads, updates) if memory == "dram" else Counter()
        if memory == "dram" or not self.accounting.spilled_accesses_in_buffer:
            kept = [self._scaled(terms, 1 - part) for terms in (exact, fills, updates, drains)]
        else:
            kept = [reads, fills, updates, drains]
        self._add(memory, *kept)
        if memory == "dram":
            return _sum(kept[0], kept[2])
        outside = [self._scaled(terms, part) for terms in (exact, updates)]
        self._add("dram", outside[0], Counter(), outside[1], Counter())
        return _sum(*outside)

    def _add(self, memory: str, reads: Terms, fills: Terms, updates: Terms, drains: Terms) -> None:
        self.reads[memory].update(reads)
        if self.accounting.drain_reads:
            self.reads[memory].update(drains)
        self.writes[memory].update(fills)
        self.writes[memory].update(updates)

    def _scaled(self, terms: Terms, part: Fraction) -> Terms:
        """Return a part of a sum, rounded to the nearest whole number, of two to the even one."""
        whole, rest = np.divmod(self.values.total(terms), part.denominator)
        down, over = np.divmod(rest * part.numerator, part.denominator)
        nearest = 2 * over + (whole * part.numerator + down) % 2 > part.denominator
        return _one(self.values.put(f"scaled {part} {sorted(terms.items())}", whole * part.numerator + down + nearest))

    def moved(self, names: Iterable[str]) -> Number:
        """Return the values that Einsums move to or from DRAM."""
        terms: Terms = Counter()
        for name in names:
            terms.update(self.dram_values[name])
        found: Number = self.values.total(terms)
        return found

    def totals(self, phases: Sequence[BatchPhase], buffer_bytes: Number, passes: int, *, tiled: bool) -> Totals:
        """Return the sums."""
        total = self.values.total
        return Totals(
            {memory: total(terms) for memory, terms in self.reads.items()},
            {memory: total(terms) for memory, terms in self.writes.items()},
            {key: total(terms) for key, terms in self.operations.items()},
            self.busy,
            self.occupied,
            tuple(phases),
            buffer_bytes,
            passes,
            tiled,
        )


def _sum(*parts: Mapping[Handle, int], less: Mapping[Handle, int] | None = None) -> Terms:
    found: Terms = Counter()
    for part in parts:
        found.update(part)
    if less:
        found.subtract(less)
    return found


def _one(handle: Handle) -> Terms:
    return Counter({handle: 1})


def _picked(keys: Sequence[Key], places: Sequence[int]) -> list[Key]:
    return [keys[i] for i in places]


def moved(values: Values, boundary: Boundary, nest: CompiledNest, keys: Sequence[Key], rest: Sequence[int]) -> Handle:
    """Return how many values a boundary moves: replacements of the inner tile, times a product of extents."""

    def steps(until: int) -> list[Key]:
        return [k for k, temporal in zip(keys[:until], nest.temporal, strict=False) if temporal]

    counts = [steps(max(place + 1, nest.scope)) for place in boundary.movers] + [steps(nest.scope)]
    return values.moved(_picked(keys, boundary.movers), counts, _picked(keys, rest))


def _input(tally: Tally, chain: Chain, nest: CompiledNest, keys: Sequence[Key], walked: Handle) -> Terms:
    values, nothing = tally.values, Counter[Handle]()
    fills, outside = nothing, Counter[Handle]()
    for memory, boundary in zip(chain.memories, chain.boundaries, strict=False):
        reads = _one(moved(values, boundary, nest, keys, boundary.outer))
        outside.update(tally.count(memory, chain.tensor, reads, fills, nothing, nothing, reads))
        fills = _one(moved(values, boundary, nest, keys, boundary.inner))
    reads = _one(walked)
    outside.update(tally.count(chain.memories[-1], chain.tensor, reads, fills, nothing, nothing, reads))
    return outside


def _output(tally: Tally, chain: Chain, nest: CompiledNest, keys: Sequence[Key], walked: Handle) -> Terms:
    values = tally.values
    fills, drains, outside = Counter[Handle](), Counter[Handle](), Counter[Handle]()
    for memory, boundary in zip(chain.memories, chain.boundaries, strict=False):
        updates = _one(moved(values, boundary, nest, keys, boundary.outer))
        size = values.product(_picked(keys, boundary.distinct))
        free = size
        if memory == "global_buffer":
            tile = values.product(_picked(keys, boundary.outer_tile))
            free = values.free_reads(size, tile, tally.accounting)
        again = _sum(updates, less=_one(size))
        reads = again if free == size else _sum(updates, less=_one(free))
        outside.update(tally.count(memory, chain.tensor, reads, fills, updates, drains, again))
        fills = again
        drains = _one(moved(values, boundary, nest, keys, boundary.inner))
    fresh = _sum(drains, less=fills) if chain.boundaries else _one(values.product(_picked(keys, chain.distinct)))
    reads = _sum(_one(walked), less=fresh)
    outside.update(tally.count(chain.memories[-1], chain.tensor, reads, fills, _one(walked), drains, reads))
    return outside


def home_values(values: Values, chain: Chain, nest: CompiledNest, keys: Sequence[Key]) -> Number:
    """Return how many values of a tensor come from and go to DRAM: what ``Tally`` says of it, sooner."""
    if chain.memories[0] != "dram":
        return 0
    outside = values[moved(values, chain.boundaries[0], nest, keys, chain.boundaries[0].outer)]
    found: Number = outside
    if chain.output:
        found = 2 * outside - values[values.product(_picked(keys, chain.boundaries[0].distinct))]
    return found


def phase_cycles_of(
    tally: Tally, arrays: Mapping[str, ArrayName], epochs: Sequence[Sequence[str]], drain: Any
) -> tuple[Any, Any, Any]:
    """Return the cycles of a phase, of each epoch those of the busier array, and which wait for which array."""
    cycles: Any = drain
    waits: dict[ArrayName, Any] = {"array_2d": drain, "array_1d": 0}
    for epoch in epochs:
        on: dict[ArrayName, Any] = dict.fromkeys(ARRAYS, 0)
        for name in epoch:
            on[arrays[name]] = on[arrays[name]] + tally.cycles[name]
        busier = most(on["array_2d"], on["array_1d"])
        cycles = cycles + busier
        waits = {name: waits[name] + busier * (on[name] == busier) for name in ARRAYS}
    return cycles, waits["array_2d"], waits["array_1d"]
