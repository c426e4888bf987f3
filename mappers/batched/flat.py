"""The strategies ``flat`` and ``flat-searched`` for many points at once (``mappers/flat.py``).

Points at which the same ranks play the same parts share the structure of their nests; of these the choices are searched
together (``flat_search.py``), or taken from the published table where it has them. Then every contraction is counted
once for each way in which some of the points map it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from hw_models.accounting import Accounting
from hw_models.architecture import Architecture
from hw_models.batched import Number, batch_cost
from mappers.batched.batch import Batch, Size
from mappers.batched.flat_search import Beside, search_many
from mappers.batched.flat_tile import free_tensors, held_flags
from mappers.batched.nest import Tally
from mappers.batched.phases import add_vector_phase, all_sizes, structures
from mappers.batched.subsets import pick
from mappers.batched.totals import Sums
from mappers.batched.values import Values
from mappers.contraction import INSTANCES, Product, product_of
from mappers.flat import is_tabulated, published_choices
from mappers.flat_nest import STATIONARY, FlatChoice, FlatProblem
from mappers.phases import phase_cycles, phase_groups
from mappers.roles import find_roles
from mappers.rows import row_sections
from mappers.vector import VectorPhase

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class _Chosen:
    """What is chosen at each of some points.

    Attributes:
        fused: columns fused at a time.
        stationary: for each product the place of the operand that stays put.
        on_chip: for each tensor whether it is in the buffer.
        spilled: part of the tensors in the buffer that overflows it, the same at all points.
    """

    points: Array
    fused: Array
    stationary: list[Array]
    on_chip: Mapping[str, Array]
    spilled: Fraction = Fraction(0)


def flat_batch(
    cascade: Cascade,
    size: Size,
    instances: Number,
    architecture: Architecture,
    accounting: Accounting,
    count: int,
    *,
    from_table: bool,
) -> Batch:
    """Map a cascade at many points, each as ``flat`` or ``flat_searched`` would, and return what that costs.

    Args:
        from_table: whether published choices come first.

    Raises:
        InputError: the cascade has no contraction to fuse, or a rank has no size.
    """
    sizes = all_sizes(cascade, size, instances, architecture)
    sums, fits, live = Sums(count), np.zeros(count, bool), np.zeros(count, np.int64)
    for points, first in structures(cascade, sizes, count):
        some = pick(sizes, points) if len(points) < count else sizes
        there = pick(architecture, points) if len(points) < count else architecture
        problem = _problem(cascade, some, first, there, accounting)
        for chosen in _choices(problem, len(points), from_table=from_table):
            fits[points[chosen.points]] = True
            live[points[chosen.points]] = _live_bytes(problem, chosen)
            _add(problem, chosen, sums, points)
    passes = max(k for k, _ in row_sections(cascade)[1].values())
    totals = sums.totals(architecture.value_bytes, live, passes)
    return Batch(batch_cost(totals, architecture, accounting), fits, architecture.global_buffer.bytes, "FLAT")


def _problem(
    cascade: Cascade,
    sizes: dict[str, Any],
    first: dict[str, int],
    architecture: Architecture,
    accounting: Accounting,
) -> FlatProblem:
    """The problem of points with one structure, which the sizes of the first of them show."""
    ordered = tuple(sorted(first.items()))
    products = tuple(product_of(g.einsums[0], cascade, ordered) for g in phase_groups(cascade) if g.contraction)
    if not products or not architecture.array_2d.offers(("mac",)):
        raise InputError(f"{cascade.name} on {architecture.name} has no contraction for the 2D array")
    roles = find_roles(cascade)
    return FlatProblem(cascade, architecture, accounting, architecture.value_bytes, roles, sizes, products)


def _choices(problem: FlatProblem, count: int, *, from_table: bool) -> Iterator[_Chosen]:
    rest = np.arange(count)
    if from_table and is_tabulated(problem):
        for choice, points in _tabulated(problem, count):
            tensors = {o.tensor for p in problem.products for o in p.operands} | problem.intermediates
            on_chip = {t: np.full(len(points), t in choice.on_chip) for t in tensors}
            stationary = [np.full(len(points), STATIONARY.index(s)) for s in choice.stationary]
            yield _Chosen(points, np.full(len(points), choice.fused), stationary, on_chip, choice.spilled)
            rest = np.setdiff1d(rest, points, assume_unique=True)
    if not len(rest):
        return
    some = problem if len(rest) == count else _at(problem, rest)
    found = search_many(some, {b: _beside(some, b) for b in (True, False)}, len(rest))
    there = np.flatnonzero(found.found)
    between = found.between[there]
    on_chip = dict.fromkeys(problem.intermediates, between)
    stationary = []
    for product, option in zip(problem.products, found.options, strict=True):
        free = free_tensors(problem, product)
        sets = held_flags(len(free))
        which, held = np.divmod(option[there], len(sets))
        stationary.append(which)
        for place, tensor in enumerate(free):
            flags = np.asarray([s[place] for s in sets])[held]
            on_chip[tensor] = on_chip.get(tensor, False) | flags
    if len(there):
        yield _Chosen(rest[there], found.fused[there], stationary, on_chip)


def _tabulated(problem: FlatProblem, count: int) -> Iterator[tuple[FlatChoice, Array]]:
    """The published choices, and the points at which they hold."""
    array, sizes = problem.architecture.array_2d, problem.sizes
    square = (array.rows == array.columns) & (sizes["E"] == sizes["F"]) & (sizes["M"] == sizes["P"])
    if not np.any(square):
        return
    shape = (array.rows, problem.architecture.global_buffer.bytes, sizes["E"], sizes["P"])
    for key, choice in published_choices().items():
        same: Any = square
        for number, wanted in zip(shape, key, strict=True):
            same = same & (np.asarray(number) == wanted)
        if np.any(same):
            yield choice, np.flatnonzero(np.broadcast_to(same, (count,)))


def _at(problem: FlatProblem, points: Array) -> FlatProblem:
    return replace(problem, sizes=pick(problem.sizes, points), architecture=pick(problem.architecture, points))


def _beside(problem: FlatProblem, between: bool) -> Beside:
    on_chip = problem.intermediates if between else frozenset[str]()
    tally = _vector_tally(problem, on_chip, {})
    architecture = problem.architecture
    return Beside(
        tally.occupied["array_1d"],
        tally.occupied["array_2d"],
        tally.moved(tally.dram_values),
        architecture.frequency_hz,
        architecture.bandwidth_bytes_per_s,
        problem.value_bytes,
    )


def _vector_tally(problem: FlatProblem, on_chip: frozenset[str], spilled: Mapping[str, Fraction]) -> Tally:
    family, sections = row_sections(problem.cascade)
    tally = Tally(Values({}), problem.accounting, spilled)
    for group in problem.groups:
        if not group.contraction:
            phase = VectorPhase(group, problem.cascade, sections, family, on_chip & problem.intermediates)
            add_vector_phase(tally, phase, problem.sizes, problem.architecture)
    return tally


def _live_bytes(problem: FlatProblem, chosen: _Chosen) -> Any:
    some = _at(problem, chosen.points)
    shared: Any = 0
    tiles: Any = sum(some.fibers_from_outside)
    for tensor, on, off, hands_on in some.places(chosen.fused):  # type: ignore[arg-type]
        place = np.where(chosen.on_chip[tensor], on, off)
        if hands_on:
            shared = np.maximum(shared, place)
        else:
            tiles = tiles + place
    live = (tiles + shared) * problem.value_bytes
    return np.minimum(live, some.architecture.global_buffer.bytes) if chosen.spilled else live


def _add(problem: FlatProblem, chosen: _Chosen, sums: Sums, points: Array) -> None:
    """Add what is done at the points chosen, one way of mapping each phase after another."""
    spilled = _spilled(problem, chosen)
    for product, stationary in zip(problem.products, chosen.stationary, strict=True):
        tensors = [o.tensor for o in product.operands]
        for way, some in _ways([stationary, *(chosen.on_chip[t] for t in tensors)]):
            on_chip = frozenset(t for t, on in zip(tensors, way[1:], strict=True) if on)
            tally = _contraction_tally(
                _at(problem, chosen.points[some]), product, STATIONARY[way[0]], on_chip, chosen.fused[some], spilled
            )
            sums.add(tally, points[chosen.points[some]])
    handed_on = sorted(problem.intermediates)
    for way, some in _ways([np.zeros(len(chosen.points), bool), *(chosen.on_chip[t] for t in handed_on)]):
        on_chip = frozenset(t for t, on in zip(handed_on, way[1:], strict=True) if on)
        tally = _vector_tally(_at(problem, chosen.points[some]), on_chip, spilled)
        sums.add(tally, points[chosen.points[some]])


def _spilled(problem: FlatProblem, chosen: _Chosen) -> dict[str, Fraction]:
    if not chosen.spilled:
        return {}
    on_chip = frozenset(t for t, on in chosen.on_chip.items() if on.all())
    tensors = problem.spilled_tensors(on_chip)
    return dict.fromkeys(tensors, chosen.spilled)


def _ways(parts: list[Array]) -> Iterator[tuple[tuple[int, ...], Array]]:
    """The different rows of some columns of small numbers, and where each stands."""
    code = np.zeros(len(parts[0]), np.int64)
    for part in parts:
        code = code * 4 + part.astype(np.int64)
    for value in np.unique(code).tolist():
        digits = [value >> 2 * i & 3 for i in reversed(range(len(parts)))]
        yield tuple(digits), np.flatnonzero(code == value)


def _contraction_tally(
    problem: FlatProblem,
    product: Product,
    stationary: str,
    on_chip: frozenset[str],
    fused: Array,
    spilled: Mapping[str, Fraction],
) -> Tally:
    shape, keys = problem.layout(product, stationary, on_chip)
    own = tuple((rank, "whole") for rank in (INSTANCES, *product.others, *product.ranks))
    extents: dict[Any, Any] = {key: problem.extent(key, fused) for key in keys}  # type: ignore[arg-type]
    values = Values(extents | {key: problem.sizes[key[0]] for key in own})
    tally = Tally(values, problem.accounting, spilled)
    cycles = phase_cycles((("mac", 1),), problem.architecture.array_2d, problem.accounting)
    tally.einsum(product.name, "array_2d", shape.compiled, keys, (("mac", 1),), cycles, 1, own)
    return tally
