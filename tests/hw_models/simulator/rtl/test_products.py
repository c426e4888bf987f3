"""Matrix products at register-transfer level: right by NumPy, and in as many cycles as the array core says."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import pytest

pytest.importorskip("amaranth")

from amaranth.back import rtlil

from hw_models.simulator.rtl.bench import OutputStationaryDriver, WeightStationaryDriver, run
from hw_models.simulator.rtl.output_stationary import OutputStationary
from hw_models.simulator.rtl.products import products
from hw_models.simulator.rtl.weight_stationary import WeightStationary
from hw_models.simulator.timed.array import Dataflow, core_of, product_cycles, product_tiles

DATAFLOWS: tuple[Dataflow, ...] = ("weight-stationary", "output-stationary")
Shape = tuple[int, int, int]


def array(dataflow: Dataflow, rows: int, columns: int) -> WeightStationary | OutputStationary:
    return (WeightStationary if dataflow == "weight-stationary" else OutputStationary)(rows, columns)


def up_to(M: int, K: int, N: int) -> list[Shape]:
    return list(itertools.product(range(1, M + 1), range(1, K + 1), range(1, N + 1)))


def outs_of(dataflow: Dataflow, rows: int, columns: int, shape: Shape) -> tuple[int, ...]:
    core, weights = core_of(dataflow, rows, columns), dataflow == "weight-stationary"
    tiles = product_tiles(*shape, rows, columns, dataflow)
    return tuple(core.issue(0, steps, weights, not weights)[1] for steps in tiles)


def check(dataflow: Dataflow, rows: int, columns: int, shapes: Iterable[Shape]) -> None:
    """Multiply full-range matrices of these shapes; results and cycles must be equal."""
    random, shapes = np.random.default_rng(5), list(shapes)
    operands = [(random.integers(-128, 128, (M, K)), random.integers(-128, 128, (K, N))) for M, K, N in shapes]
    made = products(array(dataflow, rows, columns), operands)
    for shape, (X, W), product in zip(shapes, operands, made, strict=True):
        np.testing.assert_array_equal(product.result, X @ W)
        cycles = product_cycles(core_of(dataflow, rows, columns), *shape, rows, columns, dataflow)
        assert (product.cycles, product.outs) == (cycles, outs_of(dataflow, rows, columns, shape)), shape


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize(
    ("rows", "columns"), [(1, 1), (1, 3), (3, 1), (3, 2), pytest.param(2, 3, marks=pytest.mark.slow)]
)
def test_every_product_up_to_twice_the_array_and_one(dataflow: Dataflow, rows: int, columns: int) -> None:
    check(dataflow, rows, columns, up_to(2 * rows + 1, 2 * rows + 1, 2 * columns + 1))


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_products_of_all_regimes_on_a_larger_array(dataflow: Dataflow) -> None:
    """Some of those up to three times 4 x 4, and far beyond along each axis."""
    shapes = np.random.default_rng(3).integers(1, 13, (60, 3)).tolist()
    check(dataflow, 4, 4, [*map(tuple, shapes), (40, 3, 5), (3, 40, 5), (5, 3, 40)])


@pytest.mark.slow
@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize(("rows", "columns", "count"), [(4, 4, 729), (5, 3, 400), (3, 6, 400), (8, 8, 80), (1, 8, 300)])
def test_many_products(dataflow: Dataflow, rows: int, columns: int, count: int) -> None:
    """All, or so many of those up to twice the array and one."""
    shapes = up_to(2 * rows + 1, 2 * rows + 1, 2 * columns + 1)
    chosen = np.random.default_rng(7).permutation(len(shapes))[:count]
    check(dataflow, rows, columns, [shapes[i] for i in chosen])


def times(random: np.random.Generator, longest: int) -> list[int]:
    """Cycles in which something gets ready, one after another, the first after cycle 0."""
    return (1 + np.cumsum(random.integers(0, longest, 60))).tolist()


@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (4, 3), (3, 5)])
def test_weights_and_rows_that_come_at_any_time(rows: int, columns: int) -> None:
    """Tiles of any length, whose weights and rows are there at times that have nothing to do with each other."""
    random = np.random.default_rng(11)
    driver = WeightStationaryDriver(WeightStationary(rows, columns))
    lengths, held, ready = random.integers(1, 3 * rows + 1, 60), times(random, 3 * rows), times(random, 3 * rows)
    core, last = core_of("weight-stationary", rows, columns), np.cumsum(lengths) - 1
    expected = [core.issue(r, s, True, False, h)[1] for r, s, h in zip(ready, lengths, held, strict=True)]

    def after(cycle: int) -> bool:
        for steps, h, r in zip(lengths, held, ready, strict=True):
            if h == cycle + 1:
                driver.hold(random.integers(-9, 9, (rows, columns)))
            if r == cycle + 1:
                driver.stream(random.integers(-9, 9, (steps, rows)))
        return len(driver.seen.results) > last[-1]

    run(driver.array, [driver], after, 10_000)
    assert [driver.seen.results[i][0] + 1 for i in last] == expected


@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (4, 3), (3, 5)])
def test_operands_of_sums_that_come_at_any_time(rows: int, columns: int) -> None:
    """Tiles of any length, short ones among them that wait for the one before to leave."""
    random = np.random.default_rng(13)
    driver = OutputStationaryDriver(OutputStationary(rows, columns))
    lengths, ready = random.integers(1, 2 * rows + 1, 60), times(random, 2 * rows)
    core = core_of("output-stationary", rows, columns)
    expected = [core.issue(r, s, False, True)[1] for r, s in zip(ready, lengths, strict=True)]

    def after(cycle: int) -> bool:
        for steps, r in zip(lengths, ready, strict=True):
            if r == cycle + 1:
                driver.stream(random.integers(-9, 9, (rows, steps)), random.integers(-9, 9, (steps, columns)))
        return len(driver.seen.results) == 60 * rows

    run(driver.array, [driver], after, 10_000)
    assert [cycle + 1 for cycle, _ in driver.seen.results[rows - 1 :: rows]] == expected


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_the_arrays_are_hardware(dataflow: Dataflow) -> None:
    """They become netlists, and hold the registers that their design says."""
    text = rtlil.convert(array(dataflow, 3, 2))
    assert text.count("cell $dff") > 3 * 2 * 2
