"""When a systolic array takes the steps of an entry, and when the entry's results have left: the core of the timing.

An entry is one visit of a compute to an array: F cycles of fill, S steps, D cycles of drain. Cycles count from 0, and a
time is the first cycle in which something may happen: what is ready at t may be fed in cycle t, and a result whose last
value is at the array's output in cycle t is out at t + 1, when its reader may begin. With the paths

    fill path    one set of shadow registers for operands that stay in the PEs: F cycles load it, while the steps of the
                 entry before go on; it is free again when its entry's steps begin and the shadows become active
    PEs          one step a cycle
    drain path   one set of shadow registers for results that stay in the PEs: D cycles empty it, while the steps of the
                 next entry go on

an entry that is ready at r takes

    filled   = max(r', fill free) + F           where an operand is held; r' is when it is ready
    latency  = 0 where an operand is held, else F
    start    = max(r, PEs free, filled, drain free - latency - S)       the last where results are held
    PEs free = start + S
    out      = start + latency + S + D
    fill free = start where an operand is held, drain free = out where results are held

    operand held, results not   weight stationary      F on the fill path, D is latency (skew and pipeline)
    results held, operands not  output stationary      F is latency (skew), D on the drain path
    both                        F on the fill path, D on the drain path
    neither                     F and D are both latency

Steps are not interrupted: where the drain path is what an entry waits for, it starts as late as it must.
For R x C PEs, the register-transfer models of ``hw_models/simulator/rtl`` are met exactly by

    weight stationary   F = R (a row of weights a cycle),  D = R + C - 1 (registers from an input to the output)
    output stationary   F = R + C - 2 (skew),              D = R (a row of results a cycle)

so that successive tiles of S steps start max(S, R) cycles apart in both, and a single one takes F + S + D.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Dataflow: TypeAlias = Literal["weight-stationary", "output-stationary"]
"""What stays in the PEs while a tile streams."""


@dataclass
class ArrayCore:
    """An array's timing and, in cycles, what its paths are busy until.

    Attributes:
        fill: cycles until operands have reached all PEs.
        drain: cycles until results have left all PEs.
        pes_free: first cycle in which the PEs may take the next entry's first step.
        fill_free: first cycle in which the fill path may take the next held operand.
        drain_free: first cycle in which the drain path may take the next held results.
    """

    fill: int
    drain: int
    pes_free: int = field(default=0, init=False)
    fill_free: int = field(default=0, init=False)
    drain_free: int = field(default=0, init=False)

    def issue(
        self, ready: int, steps: int, stationary_operand: bool, stationary_result: bool, held_ready: int | None = None
    ) -> tuple[int, int]:
        """Take the next entry, in order, and return when its steps begin and when its results are out.

        Args:
            ready: first cycle in which the operands of its steps may be fed.
            steps: cycles of its steps, at least 1.
            stationary_operand: whether an operand stays in the PEs from its first step to its last.
            stationary_result: whether the results stay in the PEs, and leave after its last step.
            held_ready: first cycle in which the operand that stays may be fed; ``ready`` if not given.
        """
        start = max(ready, self.pes_free)
        latency = self.fill
        if stationary_operand:
            start = max(start, max(ready if held_ready is None else held_ready, self.fill_free) + self.fill)
            latency = 0
        if stationary_result:
            start = max(start, self.drain_free - latency - steps)
        out = start + latency + steps + self.drain
        self.pes_free = start + steps
        self.fill_free = start if stationary_operand else self.fill_free
        self.drain_free = out if stationary_result else self.drain_free
        return start, out


def weight_stationary(rows: int, columns: int) -> ArrayCore:
    """Return the timing of a weight-stationary array whose weights enter a row a cycle."""
    return ArrayCore(fill=rows, drain=rows + columns - 1)


def output_stationary(rows: int, columns: int) -> ArrayCore:
    """Return the timing of an output-stationary array whose results leave a row a cycle."""
    return ArrayCore(fill=rows + columns - 2, drain=rows)


def core_of(dataflow: Dataflow, rows: int, columns: int) -> ArrayCore:
    """Return the timing of an array of a dataflow."""
    return (weight_stationary if dataflow == "weight-stationary" else output_stationary)(rows, columns)


def product_tiles(M: int, K: int, N: int, rows: int, columns: int, dataflow: Dataflow) -> Iterator[int]:
    """Yield the steps of each tile of a product of an M x K and a K x N matrix; ragged tiles take whole lanes.

    Weight stationary: a tile of K x N on the PEs, all M rows stream. Output stationary: a tile of M x N, all K stream.
    """
    down, steps = (K, M) if dataflow == "weight-stationary" else (M, K)
    yield from [steps] * (-(-down // rows) * -(-N // columns))


def product_cycles(core: ArrayCore, M: int, K: int, N: int, rows: int, columns: int, dataflow: Dataflow) -> int:
    """Return the cycles of a matrix product, from the first in which a value is fed to that of the last result.

    Args:
        core: the array, idle from cycle 0 on.
        M, K, N: sizes of the product, each at least 1.
        rows, columns: of PEs.
    """
    weights = dataflow == "weight-stationary"
    out = 0
    for steps in product_tiles(M, K, N, rows, columns, dataflow):
        _, out = core.issue(0, steps, weights, not weights)
    return out
