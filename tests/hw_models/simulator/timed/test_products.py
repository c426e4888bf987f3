"""Matrix products on systolic arrays: the timed simulator, its array core, and the register-transfer level."""

from itertools import product

import pytest

from einsum_cascades.load import parse_cascade
from einsum_cascades.loops.space import Space
from einsum_cascades.loops.text import parse_tree
from einsum_cascades.operators import WORK_CLASSES
from hw_models.accounting import PHYSICAL
from hw_models.machine import Array, Machine, Memory, Unit
from hw_models.simulator.timed.array import Dataflow, core_of, product_cycles
from hw_models.simulator.timed.simulate import simulate_timed

PRODUCT = parse_cascade(
    "name: product\ndeclaration: {A: [M, K], B: [K, N], Z: [M, N]}\nexpressions:\n  - 'Z[m, n] = A[m, k] * B[k, n]'\n"
)
TREES: dict[Dataflow, str] = {
    "output-stationary": """
for M step {rows}
  for N step {columns}
    keep Z in pes
      for M step 1 over pes.rows
        for N step 1 over pes.columns
          for K step 1
            keep A, B in pes
              compute Z on pes
""",
    "weight-stationary": """
for K step {rows}
  for N step {columns}
    keep B in pes
      for M step 1
        for K step 1 over pes.rows
          for N step 1 over pes.columns
            keep A, Z in pes
              compute Z on pes
""",
}
SIZES = [(m, k, n) for m in (1, 2, 3, 5, 8, 9) for k in (1, 2, 4, 7) for n in (1, 2, 3, 6)]


def machine(dataflow: Dataflow, rows: int, columns: int) -> Machine:
    """Return a systolic array that nothing but its own fill and drain makes wait."""
    core = core_of(dataflow, rows, columns)
    units = tuple((kind, Unit("mac")) for kind in WORK_CLASSES)
    dimensions = (("rows", rows), ("columns", columns))
    pes = Array("pes", "dram", dimensions, units=units, fill_cycles=core.fill, drain_cycles=core.drain)
    return Machine("systolic", (Memory("dram"), pes), 1)


def cycles(dataflow: Dataflow, rows: int, columns: int, sizes: tuple[int, int, int]) -> int:
    """Return the cycles that the timed simulator takes for a product."""
    tree = parse_tree(TREES[dataflow].format(rows=rows, columns=columns))
    space = Space.of(PRODUCT, dict(zip("MKN", sizes, strict=True)), ())
    return simulate_timed(tree, space, machine(dataflow, rows, columns), PHYSICAL, every=True).cycles


@pytest.mark.parametrize("dataflow", TREES)
@pytest.mark.parametrize(("rows", "columns"), [(3, 2), (1, 3)])
def test_a_product_takes_what_the_array_core_says(dataflow: Dataflow, rows: int, columns: int) -> None:
    """For sizes up to the array and beyond, ragged ones among them."""
    for sizes in SIZES:
        expected = product_cycles(core_of(dataflow, rows, columns), *sizes, rows, columns, dataflow)
        assert cycles(dataflow, rows, columns, sizes) == expected, sizes


@pytest.mark.slow
@pytest.mark.parametrize("dataflow", TREES)
@pytest.mark.parametrize(("rows", "columns"), [(2, 3), (4, 4), (5, 2)])
def test_more_products(dataflow: Dataflow, rows: int, columns: int) -> None:
    """The same on other arrays."""
    for sizes in product(range(1, 2 * rows + 2), (1, 2, 3, 7, 11), range(1, 2 * columns + 2, 2)):
        expected = product_cycles(core_of(dataflow, rows, columns), *sizes, rows, columns, dataflow)
        assert cycles(dataflow, rows, columns, sizes) == expected, sizes
