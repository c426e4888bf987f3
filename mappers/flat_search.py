"""FLAT's own choice: which tensors to keep on chip, what stays put, and how many queries to fuse.

Contractions are independent once the fused tile and the place of the tiles between phases are fixed, so each is
evaluated by itself for every stationary operand and every input on or off chip; then all combinations that fit are
compared. The least latency wins, then the least off-chip traffic, then the largest fused tile.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    options = [_options(problem, p, fused, between) for p in problem.products]
    capacity = problem.architecture.global_buffer.bytes
    for chosen in combinations_of(*options):
        cycles = max(vector_1d, vector_2d + sum(c for c, _, _, _ in chosen))
        traffic = (vector_values + sum(v for _, v, _, _ in chosen)) * problem.value_bytes
        choice = FlatChoice(
            fused, tuple(s for _, _, s, _ in chosen), between.union(*(held for _, _, _, held in chosen))
        )
        if fits(problem.live_bytes(choice), capacity):
            activity = Activity((), (Phase("fused", cycles, traffic),), 0, 1, False)
            yield latency_s(activity, problem.architecture), traffic, choice


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
