"""A tile of attention at register-transfer level: scores on an array, exponentials on a vector unit, A V on an array.

    S[m, p] = sum over e of K[m, e] Q[p, e]          scores array; the queries are its W
    G[p]    = max over m of S[m, p]                  vector unit, a lane per query
    A[m, p] = 2^((S[m, p] - G[p]) / 2^F)             vector unit
    D[p]    = sum over m of A[m, p]                  vector unit, beside the next
    Y[p, f] = sum over m of A[m, p] V[m, f]          values array; the values are its W

Each begins in the cycle after the last value that it reads has left; what an array holds is fed from the beginning, as
soon as the array takes it. Y / D is softmax attention to base 2, which leaves a machine undivided as in FuseMax.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from amaranth.hdl import Module

from hw_models.simulator.rtl.bench import Driver, Matrix, VectorDriver, run
from hw_models.simulator.rtl.output_stationary import OutputStationary
from hw_models.simulator.rtl.products import ArrayDriver, driver_of, tiles_on
from hw_models.simulator.rtl.vector_unit import Operation, VectorUnit
from hw_models.simulator.rtl.weight_stationary import WeightStationary

_MOST = 1_000_000


@dataclass(frozen=True)
class AttentionTile:
    """A tile as the hardware made it.

    Attributes:
        scores, maximum, exponentials, total, product: S, G, A, D and Y.
        cycles: from the first in which a value was fed to that in which the last one left, both counted.
    """

    scores: Matrix
    maximum: Matrix
    exponentials: Matrix
    total: Matrix
    product: Matrix
    cycles: int


def attention_tile(
    scores: WeightStationary | OutputStationary,
    vector: VectorUnit,
    values: WeightStationary | OutputStationary,
    Q: Matrix,
    K: Matrix,
    V: Matrix,
) -> AttentionTile:
    """Return a tile of attention, and its cycles.

    Args:
        scores, values: two arrays; the numbers of the latter have room for 1 << ONE_BITS.
        Q, K, V: integers, P x E, M x E and M x F.
    """
    tile = _Tile(driver_of(scores), VectorDriver(vector), driver_of(values), Q, K, V)
    stages = tile.stages()
    next(stages)
    end = 0

    def after(cycle: int) -> bool:
        nonlocal end
        end = cycle + 1
        return next(stages, "done") == "done"

    m = Module()
    m.submodules += [scores, vector, values]
    drivers: list[Driver] = [tile.scores, tile.unit, tile.values]
    run(m, drivers, after, _MOST)
    begin = min(driver.seen.first for driver in drivers if driver.seen.first is not None)
    S, G, A, D, Y = (tile.found[name] for name in "SGADY")
    return AttentionTile(S, G, A, D, Y, end - begin)


@dataclass
class _Tile:
    """What a tile's control does: it waits for results, and queues what reads them."""

    scores: ArrayDriver
    unit: VectorDriver
    values: ArrayDriver
    Q: Matrix
    K: Matrix
    V: Matrix
    found: dict[str, Matrix] = field(default_factory=dict)

    def stages(self) -> Iterator[None]:
        """Do one stage after another; each turn is the end of a cycle."""
        scores, values = tiles_on(self.scores, len(self.K), self.Q.T), tiles_on(self.values, len(self.Q), self.V)
        scores.hold()
        scores.stream(self.K)
        values.hold()
        yield from _left(self.scores, scores.rows)
        self.found["S"] = scores.result(_rows(self.scores))
        yield from self._exponentials()
        values.stream(self.found["A"].T)
        yield from self._totals()
        yield from _left(self.values, values.rows)
        self.found["Y"] = values.result(_rows(self.values))

    def _exponentials(self) -> Iterator[None]:
        """Find G and A."""
        lanes = self._lanes(self.found["S"])
        for part in lanes:
            self.unit.stream(Operation.MAXIMUM, part)
        yield from _left(self.unit, len(lanes))
        maxima = np.array(_rows(self.unit))
        for part, most in zip(lanes, maxima, strict=True):
            self.unit.stream(Operation.EXPONENT, part, np.broadcast_to(most, part.shape))
        yield from _left(self.unit, len(lanes) * (1 + len(self.K)))
        made = np.split(np.array(_rows(self.unit)[len(lanes) :]), len(lanes))
        self.found["G"] = maxima.reshape(-1)[: len(self.Q)]
        self.found["A"] = np.concatenate(made, axis=1)[:, : len(self.Q)]

    def _totals(self) -> Iterator[None]:
        """Find D."""
        lanes = self._lanes(self.found["A"])
        for part in lanes:
            self.unit.stream(Operation.SUM, part)
        yield from _left(self.unit, len(lanes) * (2 + len(self.K)))
        self.found["D"] = np.array(_rows(self.unit)[-len(lanes) :]).reshape(-1)[: len(self.Q)]

    def _lanes(self, matrix: Matrix) -> list[Matrix]:
        """Return columns in groups of as many as there are lanes, the last one filled up with zeros."""
        width = self.unit.unit.lanes
        padded = np.pad(matrix, ((0, 0), (0, -matrix.shape[1] % width)))
        return np.split(padded, padded.shape[1] // width, axis=1)


def _rows(driver: Driver) -> list[list[int]]:
    return [row for _, row in driver.seen.results]


def _left(driver: Driver, count: int) -> Iterator[None]:
    """Wait until so many rows have left."""
    while len(driver.seen.results) < count:
        yield
