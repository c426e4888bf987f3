"""FLAT's own choice: which tensors to keep on chip, what stays put, and how many queries to fuse.

Contractions are independent once the fused tile and the place of the tiles between phases are fixed, so each is
evaluated by itself for every stationary operand and every input on or off chip; then all combinations that fit are
compared. The least latency wins, then the least off-chip traffic, then the largest fused tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product as combinations_of

from hw_models.activity import Activity, Phase
from hw_models.latency import latency_s
from mappers.activity import dram_values, einsum_activity
from mappers.capacity import fits, tile_counts, too_small
from mappers.contraction import Product
from mappers.flat_nest import STATIONARY, FlatChoice, FlatProblem


def search(problem: FlatProblem) -> FlatChoice:
    """Return the best choice that fits the buffer.

    Raises:
        InputError: none fits.
    """
    best: tuple[float, int, FlatChoice] | None = None
    for fused in _fused_sizes(problem):
        for on_chip in _tiles_between(problem):
            for latency, traffic, choice in _evaluated(problem, fused, on_chip):
                if best is None or (latency, traffic) < best[:2]:
                    best = (latency, traffic, choice)
    if best is None:
        least = FlatChoice(1, ("result",) * len(problem.products), frozenset())
        raise too_small("FLAT", problem.live_bytes(least), problem.architecture.global_buffer.bytes)
    return best[2]


def _fused_sizes(problem: FlatProblem) -> list[int]:
    size = problem.sizes[problem.roles.column]
    columns = min(size, problem.architecture.array_2d.columns)
    return [columns * n for n in tile_counts(-(-size // columns))]


def _tiles_between(problem: FlatProblem) -> tuple[frozenset[str], ...]:
    return (problem.intermediates, frozenset())


def _evaluated(problem: FlatProblem, fused: int, between: frozenset[str]) -> Iterator[tuple[float, int, FlatChoice]]:
    vector_1d, vector_2d, vector_values = 0, 0, 0
    for group in problem.groups:
        if not group.contraction:
            for mapped in problem.vector(group, between):
                done = einsum_activity(mapped, problem.accounting, {})
                vector_values += dram_values(done)
                if done.array == "array_1d":
                    vector_1d += done.cycles
                else:
                    vector_2d += done.cycles
    capacity = problem.architecture.global_buffer.bytes
    for chosen in _combinations(problem, fused, between):
        cycles = max(vector_1d, vector_2d + chosen.cycles)
        traffic = (vector_values + chosen.values) * problem.value_bytes
        choice = FlatChoice(fused, chosen.stationary, between | chosen.held)
        if fits(problem.live_bytes(choice), capacity):
            activity = Activity((), (Phase("fused", cycles, traffic),), 0, 1, False)
            yield latency_s(activity, problem.architecture), traffic, choice


@dataclass(frozen=True)
class _Combination:
    """Options chosen for the first contractions: their cycles and DRAM values, and the values they keep on chip."""

    cycles: int = 0
    values: int = 0
    room: int = 0
    stationary: tuple[str, ...] = ()
    held: frozenset[str] = frozenset()

    def spares(self, other: _Combination) -> bool:
        """Whether ``other``, which comes later or moves more, need not be looked at further."""
        return self.cycles <= other.cycles and self.values <= other.values and self.room <= other.room


def _combinations(problem: FlatProblem, fused: int, between: frozenset[str]) -> list[_Combination]:
    """Return one option per contraction, all combinations but those that another makes idle.

    Contractions are added one by one. Two combinations compete if they hold the same of the tensors that several
    contractions read: whatever is added then costs both the same.
    """
    tiles: list[dict[str, tuple[int, int]]] = []
    for product in problem.products:
        places = problem.places_of(product, fused)
        tiles.append({tensor: (on, off) for tensor, on, off, hands_on in places if not hands_on})
    shared = {t for t in set().union(*tiles) if sum(t in places for places in tiles) > 1}
    found = [_Combination()]
    for number, product in enumerate(problem.products):
        kept: dict[frozenset[str], list[_Combination]] = {}
        options = _options(problem, product, fused, between)
        for before in found:
            for cycles, values, stationary, held in options:
                both = before.held | held
                on_chip = both | between
                room = sum(p[0] if t in on_chip else p[1] for places in tiles[: number + 1] for t, p in places.items())
                stationaries = (*before.stationary, stationary)
                new = _Combination(before.cycles + cycles, before.values + values, room, stationaries, both)
                rivals = kept.setdefault(both & shared, [])
                if not any(r.spares(new) for r in rivals):
                    rivals[:] = [r for r in rivals if not (new.values < r.values and new.spares(r))]
                    rivals.append(new)
        found = [c for rivals in kept.values() for c in rivals]
    return found


def _options(
    problem: FlatProblem, product: Product, fused: int, between: frozenset[str]
) -> list[tuple[int, int, str, frozenset[str]]]:
    """Return (cycles, DRAM values, stationary operand, tensors on chip) of one contraction, without the worse ones."""
    free = [o.tensor for o in product.operands if o.tensor not in problem.intermediates]
    found = []
    for stationary in STATIONARY:
        for flags in combinations_of((False, True), repeat=len(free)):
            held = frozenset(t for t, on in zip(free, flags, strict=True) if on)
            choice = FlatChoice(fused, (), held | between)
            done = einsum_activity(problem.contraction(product, stationary, choice), problem.accounting, {})
            found.append((done.cycles, dram_values(done), stationary, held))
    return [a for a in found if not any(b is not a and b[0] <= a[0] and b[1] <= a[1] and b[3] < a[3] for b in found)]
