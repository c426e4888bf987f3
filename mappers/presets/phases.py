"""Phases of a cascade that is run one part after another: each matrix product alone, and the runs of Einsums between
them.

A *product* multiplies tensors and sums, and each of its tensors, the result too, lacks a rank that another has, so that
what a PE holds is used again whichever way it lies: it wants a matrix array. All other Einsums (a softmax) run together
as early as they can; those that share no tensor are phases of their own. Einsums that hand values to each other from
iteration to iteration (a recurrence) are in one phase. The phases depend on the cascade's dependencies alone and not on
the order in which independent Einsums are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from graphlib import TopologicalSorter
from typing import TypeAlias

from einsum_cascades.ir import Cascade
from einsum_cascades.loops.space import Step, steps_of
from einsum_cascades.operations import work_classes

_Graph: TypeAlias = dict[str, dict[str, None]]


@dataclass(frozen=True)
class Phase:
    """Einsums that run together, in an order that can run; ``product`` if it is a single matrix product."""

    steps: tuple[Step, ...]
    product: bool


def is_product(step: Step) -> bool:
    """Whether an Einsum is a matrix product of two or more tensors."""
    if set(work_classes(step.einsum)) != {"mac"} or len(step.inputs) < 2 or not step.reduced:
        return False
    return all(set(step.ranks) - set(operand.ranks) for operand in (*step.inputs, step.output))


@lru_cache(maxsize=256)
def phases_of(cascade: Cascade) -> tuple[Phase, ...]:
    """Return the phases in execution order."""
    needs = needs_of(cascade)
    carried = needs_of(cascade, carried=True)
    units = _circles(carried)
    unit_of = {name: unit for unit in units for name in unit}
    waits = {unit: {unit_of[n] for name in unit for n in needs[name]} - {unit} for unit in units}
    steps = steps_of(cascade)
    products: set[tuple[str, ...]] = {unit for unit in units if len(unit) == 1 and is_product(steps[unit[0]])}
    found: list[Phase] = []
    done: set[tuple[str, ...]] = set()
    while len(done) < len(units):
        run = _ready(units, waits, done, products)
        for part in _connected(run, steps):
            names = _sorted([name for unit in part for name in unit], needs, steps)
            found.append(Phase(tuple(steps[name] for name in names), product=False))
        done |= set(run)
        ready = [unit for unit in units if unit not in done and waits[unit] <= done]
        found += [Phase((steps[unit[0]],), product=True) for unit in ready if unit in products]
        done |= {unit for unit in ready if unit in products}
    return tuple(found)


def needs_of(cascade: Cascade, *, carried: bool = False) -> dict[str, set[str]]:
    """Return by Einsum those that it needs; with those of earlier iterations if ``carried``."""
    steps = steps_of(cascade)
    plain = dict(cascade.views)
    made: dict[str, list[str]] = {}
    for name, step in steps.items():
        made.setdefault(step.output.tensor, []).append(name)
    found: dict[str, set[str]] = {name: set() for name in steps}
    for name, step in steps.items():
        for operand in step.inputs:
            for maker in made.get(plain.get(operand.tensor, operand.tensor), ()):
                if maker != name and (carried or not operand.carried or maker.endswith("@init")):
                    found[name].add(maker)
        if not name.endswith("@init"):
            found[name] |= {maker for maker in made[step.output.tensor] if maker.endswith("@init")}
    return found


def _circles(needs: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """Return Einsums that need each other in a circle together, all others alone."""
    reach: dict[str, set[str]] = {}
    for name in needs:
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            for other in needs[waiting.pop()] - seen:
                seen.add(other)
                waiting.append(other)
        reach[name] = seen
    together = {name: tuple(n for n in needs if n == name or (n in reach[name] and name in reach[n])) for name in needs}
    return list(dict.fromkeys(together.values()))


def _ready(
    units: Iterable[tuple[str, ...]],
    waits: dict[tuple[str, ...], set[tuple[str, ...]]],
    done: set[tuple[str, ...]],
    products: set[tuple[str, ...]],
) -> list[tuple[str, ...]]:
    """Return all that can run before the next product."""
    found: dict[tuple[str, ...], None] = {}
    grown = True
    while grown:
        fresh = [
            unit
            for unit in units
            if unit not in done and unit not in found and unit not in products and waits[unit] <= done | found.keys()
        ]
        found |= dict.fromkeys(fresh)
        grown = bool(fresh)
    return list(found)


def _connected(run: list[tuple[str, ...]], steps: Mapping[str, Step]) -> list[list[tuple[str, ...]]]:
    """Return a run's parts that share no tensor."""
    parts: list[tuple[set[str], list[tuple[str, ...]]]] = []
    for unit in run:
        tensors = {o.tensor for name in unit for o in (*steps[name].inputs, steps[name].output) if o.ranks}
        members = [unit]
        apart = []
        for own, others in parts:
            if own & tensors:
                tensors, members = own | tensors, [*others, *members]
            else:
                apart.append((own, others))
        parts = [*apart, (tensors, members)]
    return [members for _, members in parts]


def _sorted(names: list[str], needs: dict[str, set[str]], steps: Mapping[str, Step]) -> list[str]:
    """Return Einsums in an order that can run, those that read a carried value before the one that renews it."""
    graph = {name: {n: None for n in names if n in needs[name]} for name in names}
    order = list(TopologicalSorter(graph).static_order())
    for name in list(order):
        renews = steps[name].output.name
        readers = [n for n in order if any(o.carried and o.tensor == renews for o in steps[n].inputs) and n != name]
        for reader in readers:
            if order.index(reader) > order.index(name) and not _depends(reader, name, graph):
                order.remove(reader)
                order.insert(_place(reader, order, graph), reader)
    return order


def _place(name: str, order: list[str], graph: _Graph) -> int:
    return max((order.index(other) + 1 for other in graph[name]), default=0)


def _depends(name: str, other: str, graph: _Graph) -> bool:
    waiting, seen = [name], {name}
    while waiting:
        for need in graph[waiting.pop()]:
            if need == other:
                return True
            if need not in seen:
                seen.add(need)
                waiting.append(need)
    return False
