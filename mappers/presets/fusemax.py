"""FuseMax's two bindings: tiles one after another (``fusemax-serial``: the published configurations ``cascade`` and
``architecture``), and neighbouring tiles interleaved (``fusemax-interleaved``: ``binding``).

There are several ways, of which the best is taken: all tensors on chip between passes or those with a value per row
spilled; inputs of the rows fetched once a pass, or once.

Source: Nayak et al., "FuseMax", MICRO 2024, section V.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from einsum_cascades.errors import InputError
from einsum_cascades.loops.arith import Number, alike, anywhere, apart, everywhere, least, most, steps
from einsum_cascades.loops.capacity import live_bits
from einsum_cascades.loops.space import Space
from einsum_cascades.loops.tree import LoopTree, Node, sequence
from hw_models.spatial.activity import Activity
from mappers.capacity import largest_divisor, too_small
from mappers.choose import fits
from mappers.divisors import even_counts
from mappers.presets.apart import apart_from_columns, before
from mappers.presets.binding import bind
from mappers.presets.fused import Fused
from mappers.presets.problem import Problem
from mappers.presets.slots import Overlap
from mappers.residency import Residency
from mappers.roles import Roles


def fusemax_serial(problem: Problem) -> tuple[LoopTree, ...]:
    """One nest for all Einsums, tile after tile: no overlap of tiles.

    Raises:
        InputError: the cascade cannot be fused on this machine, or one tile does not fit its buffer.
    """
    return fused_trees(problem, "arrays")


def fusemax_interleaved(problem: Problem) -> tuple[LoopTree, ...]:
    """One nest for all Einsums, the two arrays at work on neighbouring tiles.

    Raises:
        InputError: the cascade cannot be fused on this machine, or one tile does not fit its buffer.
    """
    return fused_trees(problem, "tiles")


def fused_trees(problem: Problem, overlap: Overlap) -> tuple[LoopTree, ...]:
    """Return the nests of a cascade that are worth trying.

    Raises:
        InputError: the cascade cannot be fused on this machine, or one tile does not fit its buffer.
    """
    found: list[LoopTree] = []
    refused: InputError | None = None
    part, rest, roles = apart_from_columns(problem.cascade)
    for further in range(problem.parts.buffers):
        at = replace(problem, further=further)
        for fused in _variants(replace(at, cascade=rest, whole=problem.cascade), roles, overlap):
            try:
                tree = sized_to_fit(fused)
                found.append(tree if part is None else _after(before(at, part, tree.split), tree))
            except InputError as error:
                refused = refused or error
    if found:
        return tuple(found)
    raise refused or InputError(f"no fused mapping of {problem.cascade.name}")


def _after(nodes: tuple[Node, ...], tree: LoopTree) -> LoopTree:
    return LoopTree(sequence(*nodes, tree.body), tree.split)


def _variants(problem: Problem, roles: Roles, overlap: Overlap) -> Iterator[Fused]:
    """Yield what is worth trying: row inputs read in several passes kept or not, crossing tensors kept or spilled."""
    arrays = bind(problem, roles)
    kept = Residency(problem.cascade, roles, arrays, problem.parts.between is not None)
    ways = [kept]
    if kept.crossing_tiles:
        ways.append(Residency(problem.cascade, roles, arrays, kept.staging, frozenset(kept.crossing_tiles)))
    again = rereading(kept, roles)
    for way in ways:
        yield Fused(problem, roles, way, overlap)
        if again:
            yield Fused(problem, roles, way, overlap, again)


def rereading(residency: Residency, roles: Roles) -> frozenset[str]:
    """Return the inputs of the rows that several passes read."""
    cascade = residency.cascade
    passes = {
        t: {residency.section[e.name] for e in residency.einsums if any(a.tensor == t for a in e.inputs)}
        for t in cascade.inputs
    }
    return frozenset(t for t, where in passes.items() if len(where) > 1 and roles.family & set(cascade.ranks_of[t]))


def sized_to_fit(fused: Fused) -> LoopTree:
    """Return the tree with the largest group of columns that fits; where copies count, its stages as late as drains
    want them if all memories have room for that, else no later than their order needs.

    Raises:
        InputError: one tile does not fit.
    """
    if not fused.problem.accounting.pipeline_copies:
        return sized(fused)
    try:
        tree = sized(fused)
        if alike(_fits(tree, fused.problem)):
            return tree
    except InputError:
        pass
    return sized(replace(fused, early=True))


def _fits(tree: LoopTree, problem: Problem) -> Any:
    activity = Activity(problem.plan(tree), problem.machine, (), {}, problem.accounting.pipeline_copies)
    return fits(activity, problem.accounting)


def sized(fused: Fused) -> LoopTree:
    """Return the tree with the largest group of columns that fits; what is live grows linearly with it.

    Raises:
        InputError: one tile does not fit.
    """
    problem = fused.problem
    capacity = _capacity(fused)
    fused = _narrowed(fused, capacity)
    group = {rank: fused.tile[rank] for rank in fused.columns}
    one = _live(fused, group)
    if alike(one > capacity):
        raise too_small("fused", steps(one, 8), capacity // 8, fused.buffer)
    for rank in reversed(fused.columns):
        tiles = steps(problem.size(rank), fused.tile[rank])
        step = _live(fused, group | {rank: 2 * fused.tile[rank]}) - one
        fitting = 1 + (capacity - one) // most(step, 1)
        count = _fitting(fused, group, rank, most(least(tiles, fitting), 1), capacity)
        if problem.accounting.groups_divide:
            count = _even(problem.size(rank), fused.tile[rank], tiles, count)
        group = group | {rank: count * fused.tile[rank]}
        one = _live(fused, group)
    return fused.tree(group)


def _fitting(fused: Fused, group: dict[str, Number], rank: str, count: Number, capacity: Number) -> Number:
    """The most tiles of a rank that fit, at most ``count``: where another pass needs the most room of a larger group,
    what is live grows faster than from one tile to two, and halving finds it."""

    def fits(tiles: Number) -> Any:
        return _live(fused, group | {rank: tiles * fused.tile[rank]}) <= capacity

    if everywhere(fits(count)):
        return count
    low: Number = count // count
    high = count
    while anywhere(low < high):
        middle = low + (high - low + 1) // 2
        there = fits(middle)
        if isinstance(there, bool):
            low, high = (middle, high) if there else (low, middle - 1)
        else:
            import numpy as np

            low, high = np.where(there, middle, low), np.where(there, high, np.maximum(middle - 1, low))
    return low


def _narrowed(fused: Fused, capacity: Number) -> Fused:
    """Let rows take as many positions that columns leave as a tile fits with; what is live grows linearly with them."""
    group = {rank: fused.tile[rank] for rank in fused.columns}
    source = fused.roles.source
    one = replace(fused, widest=1)
    positions = fused.tile[source] // one.tile[source]
    if not anywhere(positions > 1):
        return fused
    least_live = _live(one, group)
    slope = steps(_live(fused, group) - least_live, most(positions - 1, 1))
    return replace(fused, widest=most(1 + (capacity - least_live) // most(slope, 1), 1))


def _even(size: Number, tile: Number, tiles: Number, count: Number) -> Number:
    """The largest number of tiles that divides theirs, where the size is a multiple of them and this is half of what
    fits or more; else what fits."""
    if isinstance(size, int) and isinstance(count, int) and isinstance(tiles, int):
        even = largest_divisor(tiles, count)
        return even if size % tile == 0 and 2 * even >= count else count
    return apart(even_counts, size, tile, tiles, count)


def _capacity(fused: Fused) -> Number:
    """Bits that tiles may take."""
    problem = fused.problem
    size: Number = problem.parts.buffer.bytes
    limit = problem.accounting.tile_capacity_bytes
    if fused.residency.decoupled and limit is not None:
        size = least(size, limit)
    return 8 * size


def _live(fused: Fused, group: dict[str, Number]) -> Number:
    """Bits live in the buffer, whatever the sizes of the columns are (so that it is linear in the group)."""
    plan = fused.grouped
    space = Space.of(fused.problem.cascade, {**fused.problem.sizes, **group}, plan.tree.split)
    copies = fused.problem.accounting.pipeline_copies
    found: Any = live_bits(plan.resized(space), fused.problem.bits, fused.buffer, in_copies=copies).get(fused.buffer, 0)
    return found
