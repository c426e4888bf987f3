"""Products of tiles against NumPy: every remainder of the register tiles, and operands that are parts of arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.cpu.products import product
from kernels.cpu.tiles import LANES

EPS = 2.0**-23


@settings(max_examples=80, deadline=None)
@given(
    rows=st.integers(1, 40),
    vectors=st.integers(1, 9),
    depth=st.integers(1, 70),
    transposed=st.booleans(),
    add=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_products(rows, vectors, depth, transposed, add, seed):
    """A sum of n products errs by at most n * EPS/2 times the sum of their magnitudes (Higham, 2002, section 3.1)."""
    random = np.random.default_rng(seed)
    a, b, c = (
        random.standard_normal(shape, dtype=np.float32)
        for shape in ((depth, vectors * LANES), (rows, depth), (rows, vectors * LANES))
    )
    expected = b.astype(float) @ a + (c if add else 0)
    magnitude = np.abs(b).astype(float) @ np.abs(a) + (np.abs(c) if add else 0)
    found = c.copy() if add else np.full_like(c, np.nan)
    product(a, b if transposed else np.ascontiguousarray(b.T), found, transposed, add)
    assert (np.abs(found - expected) <= (depth + 1) * EPS / 2 * 1.01 * magnitude).all()


@pytest.mark.parametrize("transposed", [False, True])
def test_parts_of_arrays_and_nothing_beside_them(transposed):
    random = np.random.default_rng(0)
    a, b, c = (random.standard_normal(shape, dtype=np.float32) for shape in ((30, 64), (40, 50), (20, 64)))
    left, right = a[5:25], (b[3:16, 7:27] if transposed else b[3:23, 7:20])
    before = c.copy()
    product(left, right, c[2:15], transposed, False)
    expected = (right if transposed else right.T).astype(float) @ left
    np.testing.assert_allclose(c[2:15], expected, atol=1e-4)
    assert np.array_equal(np.delete(c, np.s_[2:15], 0), np.delete(before, np.s_[2:15], 0))
