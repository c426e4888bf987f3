"""The best loop nest of one matrix product by itself: the search behind the strategy ``unfused``.

The nest has off-chip loops, on-chip loops and the two spatial loops over the three ranks of the product (left, right,
contracted). Searched: which ranks lie along the array, which tensor stays put off chip and on chip, what the global
buffer holds and in which tiles, as far as its ports can serve the array. Traffic never grows with a tile, so only tiles
that cannot grow further are tried. The least latency wins, then the least off-chip traffic, then the fewest cycles on
the array, then the least energy: all are the numbers that ``evaluate`` reports.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import combinations, permutations
from math import prod

from einsum_cascades.ir import Cascade, Einsum
from hw_models.accounting import Accounting
from hw_models.activity import Activity, Phase
from hw_models.architecture import Architecture
from hw_models.energy import energy
from hw_models.latency import latency_s
from mappers.activity import dram_values, einsum_activity
from mappers.capacity import fits, live_bytes, tile_counts, too_small
from mappers.mapping import MappedEinsum, NestShape
from mappers.nest import Hold, Operand
from mappers.phases import joined, phase_cycles, product_ranks

INSTANCES = "*"

# Which of left, right and output the buffer holds; what it does not hold streams.
_HELD = tuple(
    (left, right, out) for out in (False, True) for left, right in ((True, True), (False, True), (True, False))
)


@dataclass(frozen=True)
class Product:
    """A contraction's ranks by the part they play; parts of one split rank are taken together.

    Attributes:
        operands: left, right and output, with their ranks.
        ranks: the left rank, the right rank and the contracted rank that are tiled.
        others: further ranks, walked outside.
    """

    name: str
    operands: tuple[Operand, Operand, Operand]
    ranks: tuple[str, str, str]
    others: tuple[str, ...]


@lru_cache(maxsize=1024)
def product_of(einsum: Einsum, cascade: Cascade, order: tuple[tuple[str, int], ...]) -> Product:
    """Return the parts that a contraction's ranks play; of several for one part the largest is tiled."""
    sizes = dict(order)
    parts = product_ranks(einsum, cascade)
    assert parts is not None, f"{einsum.name} is no matrix product"
    chosen = [max(sorted(ranks), key=lambda r: sizes[r]) for ranks in parts]
    left, right, out = (set(joined(a, einsum, cascade)) for a in (*einsum.inputs, einsum.output))
    accesses = [*einsum.inputs, einsum.output]
    operands = tuple(
        Operand(a.tensor, (INSTANCES, *joined(a, einsum, cascade)), output=a is einsum.output) for a in accesses
    )
    others = tuple(r for r in sorted(left | right | out) if r not in chosen)
    return Product(einsum.name, (operands[0], operands[1], operands[2]), (chosen[0], chosen[1], chosen[2]), others)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One point of the search.

    Attributes:
        along: ranks along the columns and the rows of the array.
        off, on: the rank walked innermost off chip and on chip; the tensor that lacks it stays put.
        tile: steps that the buffer tile spans of each rank.
        held: operands that the buffer holds; the others stream between DRAM and the array.
    """

    along: tuple[str, str]
    off: str
    on: str
    tile: tuple[int, int, int]
    held: tuple[bool, bool, bool]


@lru_cache(maxsize=4096)
def _shape(product: Product, along: tuple[str, str], off: str, on: str, held: tuple[bool, bool, bool]) -> NestShape:
    fixed = (INSTANCES, *product.others)
    order = [(*(r for r in product.ranks if r != last), last) for last in (off, on)]
    ranks = (*fixed, *order[0], *order[1], *along)
    holds = []
    for operand, buffered in zip(product.operands, held, strict=True):
        holds.append(Hold("dram", operand.tensor, 0))
        if buffered:
            holds.append(Hold("global_buffer", operand.tensor, len(fixed) + 3))
        holds.append(Hold("array_2d", operand.tensor, len(ranks)))
    spatial = tuple(i >= len(ranks) - 2 for i in range(len(ranks)))
    return NestShape.of(product.operands, ranks, spatial, tuple(holds))


@dataclass(frozen=True)
class ContractionSearch:
    """Searches the nests of one product.

    Attributes:
        sizes: of the product's ranks, INSTANCES included.
    """

    product: Product
    sizes: dict[str, int]
    architecture: Architecture
    accounting: Accounting
    value_bytes: int

    def best(self) -> Candidate:
        """Return the best nest.

        Raises:
            InputError: no tile fits the buffer.
        """
        fastest = self._fastest(served=True) or self._fastest(served=False)
        if not fastest:
            raise too_small("unfused", self._smallest(), self.architecture.global_buffer.bytes)
        goal = fastest[0][:2]
        choices = [c for latency, values, c in fastest if (latency, values) == goal]
        cycles = min(self._cycles(c.along) for c in choices)
        choices = [c for c in choices if self._cycles(c.along) == cycles]
        refined = [r for c in choices for r in (c, *self._refined(c)) if self._speed(r) <= goal]
        return min(refined, key=lambda c: (not self._served(c), self._energy_j(c)))

    def _fastest(self, *, served: bool) -> list[tuple[float, int, Candidate]]:
        """Return candidates with at most one input streamed, by latency and then traffic, for each way along.

        Args:
            served: leave out those that ask more of the buffer in a cycle than its ports serve.
        """
        found: list[tuple[float, int, Candidate]] = []
        compulsory = sum(prod([self.sizes[r] for r in o.ranks]) for o in self.product.operands)
        least = float("inf")
        settled = cycles = prod(self.sizes.values())
        for along in self._ways():
            cycles = self._cycles(along)
            floor = self._seconds(cycles, compulsory)
            if floor > least or (floor == least and settled < cycles):
                continue
            for held in _HELD:
                for candidate in self._candidates(along, held):
                    values = self._values(candidate)
                    latency = self._seconds(cycles, values)
                    if latency > least or (served and not self._served(candidate)):
                        continue
                    found.append((latency, values, candidate))
                    least = latency
                    if values == compulsory:
                        settled = min(settled, cycles)
                        break
        return sorted(found, key=lambda f: f[:2])

    def _smallest(self) -> int:
        along = self._ways()[0]
        return min(self.live_bytes(Candidate(along, along[0], along[0], (1, 1, 1), held)) for held in _HELD)

    def _served(self, candidate: Candidate) -> bool:
        """Whether the buffer's ports, one row each in a cycle, serve the array in its busy cycles."""
        buffer = self.architecture.global_buffer
        done = einsum_activity(self.mapped(candidate), self.accounting, {})
        values = sum(c.reads + c.fills + c.updates + c.drains for c in done.counts if c.memory == "global_buffer")
        return values <= buffer.ports * buffer.row_values * done.cycles

    def _refined(self, candidate: Candidate) -> list[Candidate]:
        """Return the candidate with every tensor stationary on chip, and with inputs streamed instead of held."""
        streams = ((True, True), (False, True), (True, False), (False, False))
        found = [
            replace(candidate, on=on, held=(*inputs, candidate.held[2]))
            for on in self.product.ranks
            for inputs in streams
        ]
        capacity = self.architecture.global_buffer.bytes
        return [c for c in found if (c.held[2] or self._complete(c)) and fits(self.live_bytes(c), capacity)]

    def _speed(self, candidate: Candidate) -> tuple[float, int]:
        values = self._values(candidate)
        return self._seconds(self._cycles(candidate.along), values), values

    def _values(self, candidate: Candidate) -> int:
        shape = _shape(self.product, candidate.along, candidate.off, candidate.on, candidate.held)
        return shape.compiled.home_values(self._extents(candidate))

    def _seconds(self, cycles: int, values: int) -> float:
        phase = Phase("", cycles * self._cycles_per_point, values * self.value_bytes)
        return latency_s(Activity((), (phase,), 0, 1, False), self.architecture)

    def _energy_j(self, candidate: Candidate) -> float:
        done = einsum_activity(self.mapped(candidate), self.accounting, {})
        phase = Phase(done.name, done.cycles, dram_values(done) * self.value_bytes)
        return energy(Activity((done,), (phase,), 0, 1, False), self.architecture, self.accounting).total_j

    @cached_property
    def _cycles_per_point(self) -> int:
        return phase_cycles((("mac", 1),), self.architecture.array_2d, self.accounting)

    def _spatial(self, along: tuple[str, str]) -> dict[str, int]:
        array = self.architecture.array_2d
        return {
            along[0]: min(self.sizes[along[0]], array.columns),
            along[1]: min(self.sizes[along[1]], array.rows),
        }

    def _steps(self, along: tuple[str, str]) -> tuple[int, int, int]:
        spatial = self._spatial(along)
        left, right, summed = (-(-self.sizes[r] // spatial.get(r, 1)) for r in self.product.ranks)
        return left, right, summed

    def _cycles(self, along: tuple[str, str]) -> int:
        outside = prod([self.sizes[r] for r in (INSTANCES, *self.product.others)])
        return outside * prod(self._steps(along))

    def _complete(self, candidate: Candidate) -> bool:
        """Whether every result leaves the array complete, so that it needs no place in the buffer."""
        summed = self._steps(candidate.along)[2]
        return summed == 1 or (candidate.tile[2] == summed and candidate.on == self.product.ranks[2])

    def live_bytes(self, candidate: Candidate) -> int:
        """Return the bytes that a candidate holds in the buffer."""
        spatial = self._spatial(candidate.along)
        size = {r: t * spatial.get(r, 1) for r, t in zip(self.product.ranks, candidate.tile, strict=True)}
        tiles = [prod([size[r] for r in o.ranks if r in size]) for o in self.product.operands]
        return live_bytes([t for t, held in zip(tiles, candidate.held, strict=True) if held], self.value_bytes)

    def _candidates(self, along: tuple[str, str], held: tuple[bool, bool, bool]) -> Iterator[Candidate]:
        """Yield nests whose tiles cannot grow, the largest first, with each tensor in turn stationary off chip."""
        ranks = self.product.ranks
        for tile in self._maximal(along, held):
            for on in ranks if held[2] or not (held[0] and held[1]) else ranks[2:]:
                for off in ranks:
                    candidate = Candidate(along, off, on, tile, held)
                    if held[2] or self._complete(candidate):
                        yield candidate

    def _ways(self) -> list[tuple[str, str]]:
        """Return the pairs of ranks to lay along the array, the fastest first; on a square array order is idle."""
        array = self.architecture.array_2d
        pairs = combinations if array.rows == array.columns else permutations
        return sorted(pairs(self.product.ranks, 2), key=self._cycles)

    def _maximal(self, along: tuple[str, str], held: tuple[bool, bool, bool]) -> Iterator[tuple[int, int, int]]:
        capacity = self.architecture.global_buffer.bytes
        rank = self.product.ranks[2]

        def fit(tile: tuple[int, int, int]) -> bool:
            return fits(self.live_bytes(Candidate(along, rank, rank, tile, held)), capacity)

        steps = self._steps(along)
        if fit(steps):
            yield steps
            return
        lefts, rights, sums = (tile_counts(n) for n in steps)
        kept: list[tuple[int, int, int]] = []
        for left in lefts:
            place = len(rights) - 1
            for summed in sums:  # as it shrinks, the right tile can only grow
                if not fit((left, rights[place], summed)):
                    continue
                while place and fit((left, rights[place - 1], summed)):
                    place -= 1
                tile = (left, rights[place], summed)
                if not any(x >= tile[0] and y >= tile[1] and z >= tile[2] for x, y, z in kept):
                    kept.append(tile)
                    yield tile

    def _extents(self, candidate: Candidate) -> tuple[int, ...]:
        ranks = self.product.ranks
        on = dict(zip(ranks, candidate.tile, strict=True))
        off = {r: n // on[r] for r, n in zip(ranks, self._steps(candidate.along), strict=True)}
        spatial = self._spatial(candidate.along)
        return (
            *(self.sizes[r] for r in (INSTANCES, *self.product.others)),
            *(off[r] for r in ranks if r != candidate.off),
            off[candidate.off],
            *(on[r] for r in ranks if r != candidate.on),
            on[candidate.on],
            *(spatial[r] for r in candidate.along),
        )

    def mapped(self, candidate: Candidate) -> MappedEinsum:
        """Return a candidate as a mapped Einsum."""
        shape = _shape(self.product, candidate.along, candidate.off, candidate.on, candidate.held)
        return MappedEinsum(
            self.product.name,
            "array_2d",
            shape,
            self._extents(candidate),
            (("mac", 1),),
            self._cycles_per_point,
            prod(self.sizes.values()),
        )


@lru_cache(maxsize=4096)
def _searched(
    product: Product,
    sizes: tuple[tuple[str, int], ...],
    architecture: Architecture,
    accounting: Accounting,
    value_bytes: int,
) -> Candidate:
    return ContractionSearch(product, dict(sizes), architecture, accounting, value_bytes).best()


def best_contraction(
    product: Product,
    sizes: dict[str, int],
    architecture: Architecture,
    accounting: Accounting,
    value_bytes: int,
) -> tuple[MappedEinsum, int]:
    """Return the best nest of a product and the bytes it holds in the buffer.

    Products that differ only in names are searched once.

    Raises:
        InputError: no tile fits the buffer.
    """
    shorts = ("l", "r", "s", *(f"o{i}" for i in range(len(product.others))), INSTANCES)
    plain = dict(zip((*product.ranks, *product.others, INSTANCES), shorts, strict=True))
    operands = tuple(
        Operand(name, tuple(sorted(plain[r] for r in o.ranks)), o.output)
        for name, o in zip(("left", "right", "result"), product.operands, strict=True)
    )
    renamed = Product(
        "product",
        (operands[0], operands[1], operands[2]),
        ("l", "r", "s"),
        tuple(plain[r] for r in product.others),
    )
    found = _searched(renamed, tuple((plain[r], n) for r, n in sizes.items()), architecture, accounting, value_bytes)
    back = {short: rank for rank, short in plain.items()}
    chosen = replace(found, along=(back[found.along[0]], back[found.along[1]]), off=back[found.off], on=back[found.on])
    search = ContractionSearch(product, sizes, architecture, accounting, value_bytes)
    return search.mapped(chosen), search.live_bytes(chosen)
