"""Matrix products on the arrays at register-transfer level: the product itself, and how many cycles it takes.

A product larger than the array is cut into tiles that are fed back to back: with weights in the PEs, tiles of K x N,
for each of which all rows of X stream, and sums of tiles of the same columns are added where they leave; with outputs
in the PEs, tiles of M x N, for each of which all of K streams. Lanes that a ragged tile lacks are fed zeros.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hw_models.simulator.rtl.bench import Matrix, OutputStationaryDriver, Seen, WeightStationaryDriver, run
from hw_models.simulator.rtl.output_stationary import OutputStationary
from hw_models.simulator.rtl.weight_stationary import WeightStationary

_MOST = 1_000_000


@dataclass(frozen=True)
class Product:
    """A product as an array made it.

    Attributes:
        result: X W.
        cycles: from the first in which a value was fed to the last in which a result was at the output, both counted.
        outs: by tile, cycles from the first fed value until its last result has left.
    """

    result: Matrix
    cycles: int
    outs: tuple[int, ...]


class WeightTiles:
    """X W on a weight-stationary array.

    Attributes:
        rows: that leave altogether.
        tile_rows: that leave of each tile.
    """

    def __init__(self, driver: WeightStationaryDriver, M: int, W: Matrix) -> None:
        R, C = driver.array.rows, driver.array.columns
        self._driver, self._shape = driver, (M, W.shape[1])
        self._tiles = list(_tiles(W, R, C))
        self.rows, self.tile_rows = len(self._tiles) * M, M

    def hold(self) -> None:
        """Queue all that is held."""
        for _, _, weights in self._tiles:
            self._driver.hold(weights)

    def stream(self, X: Matrix) -> None:
        """Queue all that streams."""
        lanes = {k: part for _, k, part in _tiles(X, len(X), self._driver.array.rows)}
        for k, _, _ in self._tiles:
            self._driver.stream(lanes[k])

    def result(self, rows: Sequence[Sequence[int]]) -> Matrix:
        """Return the product of which these rows have left."""
        (M, N), C = self._shape, self._driver.array.columns
        whole = np.zeros((M, N + C), dtype=np.int64)
        for tile, (_, n, _) in enumerate(self._tiles):
            whole[:, n : n + C] += np.array(rows[tile * M : (tile + 1) * M], dtype=np.int64)
        return whole[:, :N]


class OutputTiles:
    """X W on an output-stationary array.

    Attributes:
        rows: that leave altogether.
        tile_rows: that leave of each tile.
    """

    def __init__(self, driver: OutputStationaryDriver, M: int, W: Matrix) -> None:
        R, C = driver.array.rows, driver.array.columns
        self._driver, self._shape = driver, (M, W.shape[1])
        self._lanes = [(n, part) for _, n, part in _tiles(W, len(W), C)]
        self.rows, self.tile_rows = -(-M // R) * len(self._lanes) * R, R

    def hold(self) -> None:
        """Queue nothing: only results are held."""

    def stream(self, X: Matrix) -> None:
        """Queue all that streams."""
        for _, _, values in _tiles(X, self.tile_rows, X.shape[1]):
            for _, weights in self._lanes:
                self._driver.stream(values, weights)

    def result(self, rows: Sequence[Sequence[int]]) -> Matrix:
        """Return the product of which these rows have left."""
        (M, N), R, C = self._shape, self.tile_rows, self._driver.array.columns
        whole = np.zeros((M + R, N + C), dtype=np.int64)
        places = [(m, n) for m in range(0, M, R) for n, _ in self._lanes]
        for tile, (m, n) in enumerate(places):
            whole[m : m + R, n : n + C] = rows[tile * R : (tile + 1) * R][::-1]
        return whole[:M, :N]


ArrayDriver = WeightStationaryDriver | OutputStationaryDriver


def driver_of(array: WeightStationary | OutputStationary) -> ArrayDriver:
    """Return what feeds an array."""
    return WeightStationaryDriver(array) if isinstance(array, WeightStationary) else OutputStationaryDriver(array)


def tiles_on(driver: ArrayDriver, M: int, W: Matrix) -> WeightTiles | OutputTiles:
    """Return the tiles of a product of a matrix of M rows and another, for an array."""
    return WeightTiles(driver, M, W) if isinstance(driver, WeightStationaryDriver) else OutputTiles(driver, M, W)


def products(array: WeightStationary | OutputStationary, operands: Sequence[tuple[Matrix, Matrix]]) -> list[Product]:
    """Return products, made one after another, each on an array that is idle.

    Args:
        operands: X (M x K) and W (K x N) of each, integers that fit the array's numbers.
    """
    driver = driver_of(array)
    found: list[Product] = []
    waiting = iter(operands)
    current: WeightTiles | OutputTiles | None = None

    def after(cycle: int) -> bool:
        nonlocal current
        seen = driver.seen
        if current is not None and len(seen.results) == current.rows:
            found.append(_product(current, seen))
            current = None
        if current is None and (pair := next(waiting, None)) is not None:
            driver.seen.first, driver.seen.results = None, []
            current = tiles_on(driver, len(pair[0]), pair[1])
            current.hold()
            current.stream(pair[0])
        return current is None

    run(array, [driver], after, _MOST)
    return found


def _product(made: WeightTiles | OutputTiles, seen: Seen) -> Product:
    begin = seen.first or 0
    outs = tuple(cycle + 1 - begin for cycle, _ in seen.results[made.tile_rows - 1 :: made.tile_rows])
    return Product(made.result([row for _, row in seen.results]), outs[-1], outs)


def _tiles(matrix: Matrix, rows: int, columns: int) -> Iterator[tuple[int, int, Matrix]]:
    """Yield (row, column, tile) of a matrix cut into tiles, the ragged last ones filled up with zeros."""
    for i in range(0, matrix.shape[0], rows):
        for j in range(0, matrix.shape[1], columns):
            part = matrix[i : i + rows, j : j + columns]
            yield i, j, np.pad(part, ((0, rows - part.shape[0]), (0, columns - part.shape[1])))
