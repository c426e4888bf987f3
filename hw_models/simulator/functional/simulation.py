"""Runs a loop tree on real values, with real stores: what it computes, and what happened while it did."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Size
from einsum_cascades.loops.levels import Levels
from einsum_cascades.loops.space import Space
from einsum_cascades.loops.tree import Hold, LoopTree
from hw_models.machine import Machine
from hw_models.simulator.functional.data import array_of, given
from hw_models.simulator.functional.errors import SimulationError
from hw_models.simulator.functional.holds import Holds
from hw_models.simulator.functional.layout import Address
from hw_models.simulator.functional.places import places_of
from hw_models.simulator.functional.points import Points
from hw_models.simulator.functional.schedule import Schedule
from hw_models.simulator.functional.state import State
from hw_models.simulator.functional.stores import COMPLETE, Value

Row = tuple[str, str, str]
"""Node, tensor and action."""


@dataclass(frozen=True, eq=False)
class Executed:
    """What a tree did.

    Attributes:
        results: of each tensor that the cascade is for, its array, with the instances first. A tensor that is written
            at ``m1+1`` has one entry more along M1; what no Einsum writes is NaN.
        rows: accesses by node, tensor and action: ``read``, ``fill``, ``update``, ``drain``; of links ``sent`` and
            ``delivered``; and of holds that keep a part ``spilled read`` and ``spilled write``.
        points, steps: of each compute, by its number among holds and computes in tree order.
        peaks: the most bits that one instance of each memory held at a time; home is left out.
        checked_reads: how many reads found their value there and complete.
        cycles: steps of all computes, one after another.
        short: whether peaks may be less than those of a longer run: some pipeline had fewer turns of full size than
            stages, what runs in a last turn alone met a smaller tile than those before, or a state had one iteration.
    """

    results: Mapping[str, NDArray[np.float64]]
    rows: Mapping[Row, int]
    points: Mapping[int, int]
    steps: Mapping[int, int]
    peaks: Mapping[str, int]
    checked_reads: int
    cycles: int
    short: bool


def simulate(
    tree: LoopTree,
    space: Space,
    machine: Machine | Levels,
    inputs: Mapping[str, Any],
    *,
    bits: Callable[[str], int] | None = None,
    unlimited: Collection[str] = (),
    progress: Callable[[float], None] | None = None,
) -> Executed:
    """Run a tree on arrays.

    Nothing is taken from the engine: whether the tree is legal shows in whether it runs.

    Args:
        space: the cascade and the sizes of its ranks.
        inputs: one array per input, axes as declared, for all instances or with an axis of the instances first; a
            tiled view may be given as the plain tensor that it views, whose last part may be ragged.
        bits: of a value of each tensor; by default the machine's, and 1 where only levels are given.
        unlimited: memories whose capacity does not matter.
        progress: is told what part is done, a few times a second.

    Raises:
        SimulationError: the tree cannot be executed, or needs more room than there is.
        InputError: an input is missing or has another shape; the tree names what is not there.
    """
    levels = machine.levels if isinstance(machine, Machine) else machine
    _check(space)
    root = places_of(tree.body, space, levels)
    state = State(root, space, levels, bits or _bits(space, machine), unlimited)
    for tensor in state.inputs & set(state.wiring.tensors):
        state.home[tensor].values = given(space.cascade, tensor, state.layouts[tensor], state.ranks, inputs)
    holds = Holds(state)
    points = Points(state, holds)
    schedule = Schedule(state, holds, points, progress)
    with np.errstate(all="ignore"):
        schedule.run()
    memories = {place.where for place in state.wiring.sites if isinstance(place.node, Hold)} - {levels.home}
    peaks = state.rooms.occupancy.peaks
    return Executed(
        results=_results(state),
        rows=dict(state.rows),
        points=dict(points.points),
        steps=dict(points.steps),
        peaks={memory: peaks.get(memory, 0) for memory in sorted(memories)},
        checked_reads=state.checked,
        cycles=state.step,
        short=schedule.short,
    )


def _bits(space: Space, machine: Machine | Levels) -> Callable[[str], int]:
    """Return the bits of a tensor's values by their role."""
    cascade = space.cascade

    def bits(tensor: str) -> int:
        if not isinstance(machine, Machine):
            return 1
        if tensor in cascade.inputs:
            return int(machine.bits_of(tensor, "inputs"))
        return int(machine.bits_of(tensor, "outputs" if tensor in cascade.outputs else "accumulators"))

    return bits


def _check(space: Space) -> None:
    """Check that there is one size of each rank, and that ranks which iterate end with it."""
    for rank, size in space.sizes.items():
        if not isinstance(size, int | np.integer) or size < 1:
            raise InputError(f"rank {rank} has the size {size!r}", hint="the simulator runs one size, of 1 or more")
    for stop in space.cascade.stop:
        if stop.bound != Size(stop.rank):
            hint = f"the simulator runs what stops at {stop.rank.lower()} >= {stop.rank}"
            raise InputError(f"{stop.rank} stops before its end", hint=hint)


def _results(state: State) -> dict[str, NDArray[np.float64]]:
    """Collect what the cascade is for, each value of which must be at home and complete."""
    run = {getattr(place.node, "einsum", "") for place in state.wiring.computes}
    if missing := [name for name in state.space.steps if name not in run]:
        raise SimulationError(f"{missing[0]} is not run", hint=f"add 'compute {missing[0]} on ...'")
    found = {}
    for tensor in state.space.cascade.outputs:
        layout = state.layouts[tensor]
        numbers = {}
        for einsum in state.space.cascade.einsums:
            if einsum.name == tensor:
                first = einsum is state.first(tensor)
                for key in _written(Address(einsum.output, layout, state.ranks), state):
                    value = (state.first_value(tensor, key) if first else None) or _final(state, tensor, key)
                    numbers[key] = value.number
        found[tensor] = array_of(layout, numbers)
    return found


def _written(address: Address, state: State) -> Iterator[int]:
    """Yield the values that an Einsum writes."""
    sides = [range(0, state.ranks.sizes[rank], grain) for rank, grain in address.grains.items()]
    for point in product(*sides):
        yield address.base + sum(address.add(rank, at) for rank, at in zip(address.grains, point, strict=True))


def _final(state: State, tensor: str, key: int) -> Value:
    """Return a value of a result, which must be at home and complete."""
    value, said = state.home[tensor].values.get(key), state.layouts[tensor].text(key)
    if value is None:
        raise SimulationError(f"{said} is not in {state.levels.home} at the end", tensor=tensor, coordinates=said)
    if value.mask not in (COMPLETE, whole := state.whole(tensor, key)):
        raise SimulationError(
            f"into {said} only {value.mask.bit_count():,} of {whole.bit_count():,} points are summed at the end",
            tensor=tensor,
            coordinates=said,
        )
    return value
