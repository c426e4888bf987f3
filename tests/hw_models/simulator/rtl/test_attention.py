"""A tile of attention at register-transfer level: right by NumPy, and in as many cycles as core and vector unit say."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("amaranth")

from hw_models.simulator.rtl.attention import AttentionTile, attention_tile
from hw_models.simulator.rtl.bench import VectorDriver, run
from hw_models.simulator.rtl.output_stationary import OutputStationary
from hw_models.simulator.rtl.vector_unit import DEPTH, ONE_BITS, Operation, VectorUnit, mantissas
from hw_models.simulator.rtl.weight_stationary import WeightStationary
from hw_models.simulator.timed.array import ArrayCore, Dataflow, core_of, product_tiles

FRACTION = 3
Sizes = tuple[int, int, int, int]
"""P, M, E, F."""


def array(dataflow: Dataflow, rows: int, columns: int) -> WeightStationary | OutputStationary:
    """An array whose first operand has room for an exponential, and for a score's."""
    return (WeightStationary if dataflow == "weight-stationary" else OutputStationary)(rows, columns, ONE_BITS + 2, 8)


def made(flows: tuple[Dataflow, Dataflow], rows: int, columns: int, lanes: int, sizes: Sizes) -> AttentionTile:
    """A tile of random integers, checked against NumPy."""
    P, M, E, F = sizes
    random = np.random.default_rng(17)
    Q, K = random.integers(-8, 8, (P, E)), random.integers(-8, 8, (M, E))
    V = random.integers(-128, 128, (M, F))
    units = array(flows[0], rows, columns), VectorUnit(lanes, fraction_bits=FRACTION), array(flows[1], rows, columns)
    tile = attention_tile(*units, Q, K, V)
    below = (K @ Q.T).max(0) - K @ Q.T
    A = np.array(mantissas(FRACTION))[below % 2**FRACTION] >> np.minimum(below >> FRACTION, 31)
    np.testing.assert_array_equal(tile.scores, K @ Q.T)
    np.testing.assert_array_equal(tile.maximum, (K @ Q.T).max(0))
    np.testing.assert_array_equal(tile.exponentials, A)
    np.testing.assert_array_equal(tile.total, A.sum(0))
    np.testing.assert_array_equal(tile.product, A.T @ V)
    return tile


def out_of(
    core: ArrayCore, flow: Dataflow, shape: tuple[int, int, int], rows: int, columns: int, ready: int, held: int
) -> int:
    """When a product is out whose streamed operand is there at ``ready``, and the held one at ``held``."""
    weights, out = flow == "weight-stationary", 0
    for steps in product_tiles(*shape, rows, columns, flow):
        _, out = core.issue(ready, steps, weights, not weights, held)
    return out


def cycles_of(flows: tuple[Dataflow, Dataflow], rows: int, columns: int, lanes: int, sizes: Sizes) -> int:
    """The same tile by the array core, with the vector unit as a core of its own that nothing is held in."""
    P, M, E, F = sizes
    first, vector, second = core_of(flows[0], rows, columns), ArrayCore(0, DEPTH), core_of(flows[1], rows, columns)
    steps = M * -(-P // lanes)
    out = out_of(first, flows[0], (M, E, P), rows, columns, 0, 0)
    for _ in (Operation.MAXIMUM, Operation.EXPONENT):
        _, out = vector.issue(out, steps, False, False)
    _, total = vector.issue(out, steps, False, False)
    return max(total, out_of(second, flows[1], (P, M, F), rows, columns, out, 0))


FLOWS: list[tuple[Dataflow, Dataflow]] = [
    ("weight-stationary", "output-stationary"),
    ("output-stationary", "weight-stationary"),
    ("weight-stationary", "weight-stationary"),
    ("output-stationary", "output-stationary"),
]


@pytest.mark.parametrize("flows", FLOWS)
@pytest.mark.parametrize("sizes", [(5, 7, 6, 3), (1, 1, 1, 1), (3, 14, 2, 9)])
def test_a_tile(flows: tuple[Dataflow, Dataflow], sizes: Sizes) -> None:
    assert made(flows, 4, 3, 2, sizes).cycles == cycles_of(flows, 4, 3, 2, sizes)


@pytest.mark.slow
@pytest.mark.parametrize("flows", FLOWS)
@pytest.mark.parametrize("sizes", [(8, 32, 8, 8), (16, 40, 16, 16), (11, 23, 9, 13)])
def test_a_larger_tile(flows: tuple[Dataflow, Dataflow], sizes: Sizes) -> None:
    assert made(flows, 8, 8, 8, sizes).cycles == cycles_of(flows, 8, 8, 8, sizes)


def test_it_is_attention_but_for_rounding() -> None:
    """To base 2, with scores in eighths: the table has 7 bits, and each value loses less than one in 128."""
    tile = made(FLOWS[0], 4, 4, 4, (6, 12, 5, 4))
    exact = 2.0 ** ((tile.scores - tile.maximum) / 2**FRACTION)
    assert np.abs(tile.exponentials / 2**ONE_BITS - exact).max() <= 1.5 / 2**ONE_BITS
    weights = tile.exponentials / tile.total
    np.testing.assert_allclose(weights, exact / exact.sum(0), atol=0.05)


def test_operations_follow_each_other_without_a_gap() -> None:
    """A reduction leaves once, DEPTH registers after its last step; an exponential with every step."""
    driver = VectorDriver(VectorUnit(1, fraction_bits=FRACTION))
    column = np.array([[3], [-5], [4], [-9]])
    driver.stream(Operation.MAXIMUM, column)
    driver.stream(Operation.SUM, column)
    driver.stream(Operation.EXPONENT, np.array([[-8], [0]]), np.zeros((2, 1), dtype=np.int64))
    driver.stream(Operation.MAXIMUM, np.array([[-7]]))
    run(driver.unit, [driver], lambda cycle: len(driver.seen.results) == 5, 100)
    expected = [(3, [4]), (7, [-7]), (8, [64]), (9, [128]), (10, [-7])]
    assert driver.seen.results == [(cycle + DEPTH, value) for cycle, value in expected]
