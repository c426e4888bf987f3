"""The test bench: feeds designs as fast as they take it, writes down what leaves and when.

A driver stands before each design: it has a queue of what is to be fed, offers the first of it in every cycle, and
takes it off once the design's ready port says so. It knows nothing of cycles: the design's own logic says when. A
cycle is

    drive      all drivers set their designs' inputs
    sense      they see what was taken, and what is at the outputs
    after      what follows from it is put into queues, for the next cycle on: a result is there for its reader
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from amaranth.sim import Simulator

from hw_models.simulator.rtl.lanes import from_lanes, to_lanes
from hw_models.simulator.rtl.output_stationary import OutputStationary
from hw_models.simulator.rtl.vector_unit import Operation, VectorUnit
from hw_models.simulator.rtl.weight_stationary import WeightStationary

Matrix = np.ndarray[Any, np.dtype[np.int64]]
PERIOD_S = 1e-6


@dataclass
class Seen:
    """What a driver has seen.

    Attributes:
        first: cycle in which the first value was fed; None before.
        results: (cycle, lanes) of each row at the output.
    """

    first: int | None = None
    results: list[tuple[int, list[int]]] = field(default_factory=list)


class Driver(Protocol):
    """What stands before a design."""

    seen: Seen

    def drive(self, ctx: Any) -> None:
        """Set the design's inputs for this cycle."""

    def sense(self, ctx: Any, cycle: int) -> None:
        """See what was taken in this cycle and what is at the outputs."""


class _Ports:
    """Sets ports of which the value changes, and reads them."""

    def __init__(self, design: Any) -> None:
        self.design = design
        self._values: dict[str, int] = {}

    def set(self, ctx: Any, **values: int) -> None:
        for name, value in values.items():
            if self._values.get(name, 0) != value:
                ctx.set(getattr(self.design, name), value)
                self._values[name] = value

    def get(self, ctx: Any, name: str) -> int:
        return int(ctx.get(getattr(self.design, name)))


class WeightStationaryDriver:
    """Feeds tiles to a weight-stationary array: the weights of one while the rows of another stream."""

    def __init__(self, array: WeightStationary) -> None:
        self.array, self.seen = array, Seen()
        self.loads: deque[int] = deque()
        self.steps: deque[tuple[int, bool]] = deque()
        self._ports = _Ports(array)

    def hold(self, weights: Matrix) -> None:
        """Queue a tile's weights (R x C)."""
        self.loads.extend(to_lanes(row, self.array.weight_bits) for row in weights[::-1].tolist())

    def stream(self, values: Matrix) -> None:
        """Queue a tile's rows (M x R)."""
        rows = values.tolist()
        self.steps.extend((to_lanes(row, self.array.value_bits), i == 0) for i, row in enumerate(rows))

    def drive(self, ctx: Any) -> None:
        load, step = bool(self.loads), bool(self.steps)
        weights = self.loads[0] if load else 0
        values, first = self.steps[0] if step else (0, False)
        self._ports.set(ctx, load=load, weights=weights, step=step, values=values, first=first)

    def sense(self, ctx: Any, cycle: int) -> None:
        if self.loads and self._ports.get(ctx, "load_ready"):
            self.loads.popleft()
            self.seen.first = cycle if self.seen.first is None else self.seen.first
        if self.steps and self._ports.get(ctx, "step_ready"):
            self.steps.popleft()
        if self._ports.get(ctx, "valid"):
            sums = from_lanes(self._ports.get(ctx, "sums"), self.array.columns, self.array.sum_bits)
            self.seen.results.append((cycle, sums))


class OutputStationaryDriver:
    """Feeds tiles to an output-stationary array."""

    def __init__(self, array: OutputStationary) -> None:
        self.array, self.seen = array, Seen()
        self.steps: deque[tuple[int, int, bool]] = deque()
        self._ports = _Ports(array)

    def stream(self, values: Matrix, weights: Matrix) -> None:
        """Queue a tile's operands (R x K and K x C)."""
        last = values.shape[1] - 1
        for k, (column, row) in enumerate(zip(values.T.tolist(), weights.tolist(), strict=True)):
            operands = to_lanes(column, self.array.value_bits), to_lanes(row, self.array.weight_bits)
            self.steps.append((*operands, k == last))

    def drive(self, ctx: Any) -> None:
        step = bool(self.steps)
        values, weights, last = self.steps[0] if step else (0, 0, False)
        self._ports.set(ctx, step=step, values=values, weights=weights, last=last)

    def sense(self, ctx: Any, cycle: int) -> None:
        if self.steps and self._ports.get(ctx, "step_ready"):
            self.steps.popleft()
            self.seen.first = cycle if self.seen.first is None else self.seen.first
        if self._ports.get(ctx, "valid"):
            sums = from_lanes(self._ports.get(ctx, "sums"), self.array.columns, self.array.sum_bits)
            self.seen.results.append((cycle, sums))


class VectorDriver:
    """Feeds a vector unit."""

    def __init__(self, unit: VectorUnit) -> None:
        self.unit, self.seen = unit, Seen()
        self.steps: deque[dict[str, int]] = deque()
        self._ports = _Ports(unit)

    def stream(self, operation: Operation, a: Matrix, b: Matrix | None = None) -> None:
        """Queue steps: of each operand a row a step, with a value per lane."""
        other = np.zeros_like(a) if b is None else b
        for i in range(len(a)):
            operands = {"a": to_lanes(a[i], self.unit.bits), "b": to_lanes(other[i], self.unit.bits)}
            marks = {"first": int(i == 0), "last": int(i == len(a) - 1)}
            self.steps.append({"operation": int(operation), **operands, **marks})

    def drive(self, ctx: Any) -> None:
        self._ports.set(ctx, step=bool(self.steps), **(self.steps[0] if self.steps else {}))

    def sense(self, ctx: Any, cycle: int) -> None:
        if self.steps:
            self.steps.popleft()
            self.seen.first = cycle if self.seen.first is None else self.seen.first
        if self._ports.get(ctx, "valid"):
            y = from_lanes(self._ports.get(ctx, "y"), self.unit.lanes, self.unit.bits)
            self.seen.results.append((cycle, y))


def run(design: Any, drivers: Sequence[Driver], after: Callable[[int], bool], most: int) -> None:
    """Simulate a design until all is done.

    Args:
        design: what the drivers' designs are parts of.
        after: called at the end of each cycle with its number; it queues what is to be fed next and says whether all is
            done.
        most: cycles after which something must be wrong.

    Raises:
        RuntimeError: it is not done by then.
    """
    finished = False

    async def bench(ctx: Any) -> None:
        nonlocal finished
        for cycle in range(most):
            for driver in drivers:
                driver.drive(ctx)
            for driver in drivers:
                driver.sense(ctx, cycle)
            if after(cycle):
                finished = True
                return
            await ctx.tick()

    simulator = Simulator(design)
    simulator.add_clock(PERIOD_S)
    simulator.add_testbench(bench)
    simulator.run()
    if not finished:
        raise RuntimeError(f"not done after {most} cycles")
