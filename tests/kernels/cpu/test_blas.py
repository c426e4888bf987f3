"""Matrix products called from compiled code, against NumPy; BLAS's threads during and after a kernel."""

import itertools

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from kernels.cpu.blas import one_thread, sgemm, unpacked_multiplications


@pytest.mark.parametrize(("transpose_a", "transpose_b"), [*itertools.product([False, True], repeat=2)])
@pytest.mark.parametrize(
    ("m", "n", "k"), [(1, 1, 1), (3, 5, 7), (64, 48, 33), (1, 200, 17), (130, 1, 300), (300, 250, 200)]
)
def test_products(m, n, k, transpose_a, transpose_b):
    random = np.random.default_rng(0)
    a, b, c = (random.standard_normal(shape).astype(np.float32) for shape in ((m, k), (k, n), (m, n)))
    for alpha, beta in ((1.0, 0.0), (1.0, 1.0), (-0.5, 2.0)):
        found = np.full_like(c, np.nan) if beta == 0 else c.copy()
        left, right = np.ascontiguousarray(a.T) if transpose_a else a, np.ascontiguousarray(b.T) if transpose_b else b
        with one_thread():
            sgemm(left, right, found, transpose_a, transpose_b, alpha, beta)
        expected = alpha * (a.astype(float) @ b) + (beta * c if beta else 0)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def threads():
    return [library["num_threads"] for library in ThreadpoolController().select(user_api="blas").info()]


def test_one_thread_is_restored():
    before = threads()

    def fail():
        assert set(threads()) == {1}
        raise RuntimeError

    with pytest.raises(RuntimeError), one_thread():
        fail()
    assert threads() == before


def test_unpacked_products_are_known_or_none():
    assert unpacked_multiplications() in (0, 100**3)
