"""What no mapping of a segment is better than, whatever its shape.

    latency    the most of   arrays    the least, over all ways to share Einsums out, of the busiest array's cycles
                             traffic   what the segment reads and what others read of it, once each, over the rate
    energy     operations and their registers where they are cheapest, that traffic, leakage for that latency

An Einsum takes on an array its points over the array's PEs, each for the cycles that the array's units take. The
largest Einsums are shared out whole, in all ways; the others may be cut, which makes it a linear program. For two
arrays it is solved. For more there is its dual, a sum of weights over arrays: whatever the weights, the busiest array
is at least as busy as Σ over Einsums of the least weighted cycles; some weights are tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Final, Protocol

from einsum_cascades.ir import Einsum
from einsum_cascades.loops.space import Space, Step
from einsum_cascades.loops.tree import INSTANCES
from hw_models.prices import node_prices
from hw_models.spatial.work import actions_of, cycles_of, work_of
from mappers.presets.problem import Problem
from mappers.search.figures import Figures

SLACK: Final = 2e-13
"""By so much, relatively, bounds in floating point are lowered, lest rounding lifts one above what it bounds."""
_WHOLE = 6
"""So many Einsums are shared out whole."""
Loads = Mapping[str, float]
"""Cycles by array."""


class Part(Protocol):
    """What bounds are of: some Einsums of the cascade."""

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        ...

    @property
    def steps(self) -> tuple[Step, ...]:
        """Their steps, those that begin a recurrence included."""
        ...

    @property
    def read(self) -> frozenset[str]:
        """Tensors made elsewhere that they read."""
        ...

    @property
    def exported(self) -> frozenset[str]:
        """Tensors that they make and others read."""
        ...


@dataclass(frozen=True, eq=False)
class Floors:
    """Bounds of the segments of one problem."""

    problem: Problem
    space: Space

    def of(self, part: Part) -> Figures:
        """Return what no mapping of a segment is better than."""
        cycles = busiest({}, [self.loads[name] for name in part.names])
        return self.with_cycles(part, cycles)

    def with_cycles(self, part: Part, cycles: float) -> Figures:
        """Return what no mapping is better than that keeps some array busy for so many cycles."""
        return self.with_choices(part, cycles, {}, {})

    def with_choices(self, part: Part, cycles: float, fetched: Mapping[str, int], arrays: Mapping[str, str]) -> Figures:
        """Return what no mapping is better than that takes so many cycles.

        Args:
            fetched: how often inputs are fetched; others are once.
            arrays: of Einsums that have one; others run where it costs least.
        """
        traffic_s, traffic_j = self.traffic(part, fetched)
        latency = max(cycles / float(self.problem.machine.frequency_hz), traffic_s)
        energy = traffic_j
        for name in part.names:
            own = self.joules[name]
            energy += own[arrays[name]] if name in arrays else min(own.values(), default=0.0)
        if self.problem.accounting.leakage:
            energy += float(node_prices(self.problem.machine).leak_w) * latency
        return Figures(latency, energy * (1 - SLACK), 0)

    @cached_property
    def loads(self) -> dict[str, Loads]:
        """Of each Einsum, the fewest cycles that it takes on each array that can do it."""
        einsums = {e.name: e for e in (*self.problem.cascade.body, *self.problem.cascade.final)}
        return {
            name: {array: float(min(self.cycles(e, array, t) for t in (True, False))) for array in self.able(e)}
            for name, e in einsums.items()
        }

    def able(self, einsum: Einsum) -> tuple[str, ...]:
        """Return the arrays that offer an Einsum's operators."""
        machine = self.problem.machine
        return tuple(a.name for a in machine.arrays if self.problem.parts.offers(a, einsum))

    def cycles(self, einsum: Einsum, array: str, tile: bool, visits: int = 0) -> int:
        """Return the fewest cycles that an Einsum takes on an array.

        Args:
            tile: whether it works tile by tile.
            visits: how often an array's instance is entered for it, at least.
        """
        machine = self.problem.machine
        each = cycles_of(einsum, machine.array(array), self.problem.accounting, tile=tile)
        return int(max(visits, -(-self.points[einsum.name] // int(machine.instances(array)))) * each)

    @cached_property
    def points(self) -> dict[str, int]:
        """Points of each Einsum, all instances together; those of split ranks are those that exist."""
        return {name: self._values(step.ranks) for name, step in self.space.steps.items()}

    def _values(self, ranks: Iterable[str]) -> int:
        found = int(self.space.sizes[INSTANCES])
        for whole, grain in self.space.grains(ranks).items():
            size = int(self.space.extent(whole))
            found *= size if grain == () else -(-size // int(self.space.length(grain)))
        return found

    @cached_property
    def joules(self) -> dict[str, dict[str, float]]:
        """Of each Einsum, the fewest joules on each array that can do it: operations, and the registers that they read
        and write."""
        einsums = (*self.problem.cascade.body, *self.problem.cascade.final)
        return {e.name: {array: self._joules(e, array) for array in self.able(e)} for e in einsums}

    def _joules(self, einsum: Einsum, array: str) -> float:
        machine, accounting = self.problem.machine, self.problem.accounting
        prices = node_prices(machine)
        skipped = () if accounting.exp_unit_energy_in_tiles else ("exp",)
        each = sum(float(prices.operations[array, k]) * n for k, n in work_of(einsum).items() if k not in skipped)
        files = 1.0 if accounting.all_register_files else float(machine.instances(array))
        return self.points[einsum.name] * (each + self._registers_j(einsum, array) / files)

    def _registers_j(self, einsum: Einsum, array: str) -> float:
        """Joules of a point's operands in registers, where these have room for all: without, they pass by."""
        step, node = self.space.steps[einsum.name], self.problem.machine.array(array)
        inputs = {o.name: int(self.problem.bits(o.tensor)) for o in step.inputs}
        roomy = node.registers is None or self.problem.accounting.fibers_in_registers
        if not roomy and len({*inputs, step.output.name}) > int(node.registers or 0):
            return 0.0
        price = node_prices(self.problem.machine).nodes[array]
        read, write = float(price.read_j_per_bit), float(price.write_j_per_bit)
        more = int(actions_of(einsum, node)) - 1
        width = int(self.problem.machine.role_bits["accumulators"])
        own = sum(inputs.values()) * read + int(self.problem.bits(step.output.tensor)) * write
        return own + max(more, 0) * width * (2 * read + write)

    def traffic(self, part: Part, fetched: Mapping[str, int]) -> tuple[float, float]:
        """Return the seconds and the joules of what a part reads from the off-chip memory and leaves there."""
        root = self.problem.machine.root
        price = node_prices(self.problem.machine).nodes[root.name]
        once, writes = self._moved(part)
        reads = sum(once.values()) + sum(once[t] * (times - 1) for t, times in fetched.items() if t in once)
        shared, out, into = root.rates
        seconds = 0.0
        for bits, rate in ((reads + writes, shared), (reads, out), (writes, into)):
            if rate is not None:
                seconds = max(seconds, bits / 8 / float(rate))
        joules = reads * float(price.read_j_per_bit) + writes * float(price.write_j_per_bit)
        return seconds, joules

    def _moved(self, part: Part) -> tuple[dict[str, int], int]:
        """The bits that a part reads of each tensor, and those that it leaves, once each."""
        if part.names not in self._found:
            reads = {t: self.bits(t, part.steps) for t in part.read}
            self._found[part.names] = reads, sum(self.bits(t, part.steps) for t in part.exported)
        return self._found[part.names]

    @cached_property
    def _found(self) -> dict[tuple[str, ...], tuple[dict[str, int], int]]:
        return {}

    def bits(self, tensor: str, steps: Sequence[Step]) -> int:
        """Return the fewest bits of a tensor that some Einsums touch: those of one use, in one iteration."""
        views = {view for view, plain in self.problem.cascade.views if plain == tensor} | {tensor}
        uses = [o for s in steps for o in (*s.inputs, s.output) if o.tensor in views]
        kept = [([r for r in o.ranks if self.space.whole(r) not in self.space.iterative], o.tensor) for o in uses]
        return max((self._values(ranks) * int(self.problem.bits(name)) for ranks, name in kept), default=0)


def busiest(fixed: Loads, free: Sequence[Loads]) -> float:
    """Return the fewest cycles of the busiest array, however Einsums are shared out.

    Args:
        fixed: cycles by array of Einsums that have one.
        free: of each further Einsum, its cycles on each array that can do it.
    """
    several = sorted((loads for loads in free if loads), key=lambda loads: -min(loads.values()))
    return _least(dict(fixed), several, _WHOLE, inf) * (1 - SLACK)


def _least(fixed: dict[str, float], free: Sequence[Loads], whole: int, below: float) -> float:
    """The fewest cycles of the busiest array, some Einsums whole; what is not below a limit is as good as that."""
    bound = _in_parts(fixed, free)
    if not free or not whole or bound >= below:
        return min(bound, below)
    for array, cycles in sorted(free[0].items(), key=lambda entry: fixed.get(entry[0], 0.0) + entry[1]):
        below = _least(fixed | {array: fixed.get(array, 0.0) + cycles}, free[1:], whole - 1, below)
    return below


def _in_parts(fixed: Loads, free: Sequence[Loads]) -> float:
    """The fewest cycles of the busiest array if Einsums may be cut: exact for two arrays, else from below."""
    arrays = list(dict.fromkeys([*fixed, *(a for loads in free for a in loads)]))
    found = max(fixed.values(), default=0.0)
    if len(arrays) == 2:
        return max(found, _balanced(arrays[0], arrays[1], fixed, free))
    for weights in _weights(arrays):
        bound = sum(weights[a] * fixed.get(a, 0.0) for a in arrays)
        bound += sum(min((weights[a] * cycles for a, cycles in loads.items()), default=0.0) for loads in free)
        found = max(found, bound)
    return found


def _balanced(one: str, other: str, fixed: Loads, free: Sequence[Loads]) -> float:
    """The cycles at which two arrays are as busy: those Einsums move first that are the cheapest to move."""
    busy, idle = fixed.get(one, 0.0), fixed.get(other, 0.0)
    movable = []
    for loads in free:
        if other not in loads:
            busy += loads[one]
        elif one not in loads:
            idle += loads[other]
        else:
            busy += loads[one]
            movable.append((loads[one], loads[other]))
    movable.sort(key=lambda pair: pair[1] / pair[0] if pair[0] else inf)
    for here, there in movable:
        if busy - here <= idle + there:
            return busy - (busy - idle) / (here + there) * here if busy > idle else idle
        busy, idle = busy - here, idle + there
    return max(busy, idle)


def _weights(arrays: Sequence[str]) -> Iterable[dict[str, float]]:
    """Weights that add up to 1: all arrays alike, and one alone."""
    yield {a: 1.0 / len(arrays) for a in arrays}
    for one in arrays:
        yield {a: float(a == one) for a in arrays}
