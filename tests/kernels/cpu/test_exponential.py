"""The exponential against float64, over the float32 numbers; and that loops over it use vector instructions."""

import platform
import re

import numpy as np
import pytest
from numba import float32, njit, prange, types

from kernels.cpu import tile_operations
from kernels.cpu.compilation import OPTIONS
from kernels.cpu.exponential import exp2_32, exp32

SMALLEST_NORMAL = 2.0**-126
OVERFLOW = 2.0**128 * (1 - 2.0**-25)
STATED_ULP = {"exp32": 1.2, "exp2_32": 1.0}


@njit(parallel=True, fastmath={"contract"})
def exp_of(x, out):
    for i in prange(x.size):
        out[i] = exp32(x[i])


@njit(parallel=True, fastmath={"contract"})
def exp2_of(x, out):
    for i in prange(x.size):
        out[i] = exp2_32(x[i])


CASES = [pytest.param(exp_of, np.exp, id="exp32"), pytest.param(exp2_of, np.exp2, id="exp2_32")]


def applied(function, x):
    out = np.empty_like(x)
    function(x, out)
    return out


def largest_error_ulp(function, reference, stride):
    """Largest error in units in the last place over every stride-th float32; exact values elsewhere are checked."""
    worst, chunk = 0.0, 2**22 * stride
    for start in range(0, 2**32, chunk):
        bits = np.arange(start, min(start + chunk, 2**32), stride, dtype=np.uint64).astype(np.uint32)
        x = bits.view(np.float32)
        with np.errstate(all="ignore"):
            exact = reference(x.astype(np.float64))
        found = applied(function, x)
        assert np.array_equal(np.isnan(found), np.isnan(x))
        assert not found[exact < SMALLEST_NORMAL].any()
        assert np.isposinf(found[exact >= OVERFLOW]).all()
        normal = (exact >= SMALLEST_NORMAL) & (exact < OVERFLOW)
        if normal.any():
            _, exponent = np.frexp(exact[normal])
            error = np.abs(found[normal] - exact[normal]) / np.ldexp(1.0, exponent - 24)
            worst = max(worst, float(error.max()))
    return worst


@pytest.mark.parametrize(("function", "reference"), CASES)
def test_stated_accuracy_on_a_sample(function, reference, request):
    worst = largest_error_ulp(function, reference, stride=1021)
    assert 0.5 < worst <= STATED_ULP[request.node.callspec.id]


@pytest.mark.slow
@pytest.mark.parametrize(("function", "reference"), CASES)
def test_stated_accuracy_on_every_number(function, reference, request):
    worst = largest_error_ulp(function, reference, stride=1)
    assert round(worst, 1) == STATED_ULP[request.node.callspec.id]


@pytest.mark.parametrize(("function", "reference"), CASES)
def test_special_values(function, reference):
    special = np.array([0.0, -0.0, -np.inf, np.inf, np.nan, 1e30, -1e30], dtype=np.float32)
    assert np.array_equal(applied(function, special), [1, 1, 0, np.inf, np.nan, np.inf, 0], equal_nan=True)
    odd_nans = np.array([0x7F800001, 0xFF800001, 0x7FC000FF, 0xFFFFFFFF], dtype=np.uint32).view(np.float32)
    assert np.isnan(applied(function, odd_nans)).all()


@pytest.mark.parametrize(("function", "reference"), CASES)
def test_limits_of_the_range(function, reference):
    high, low = (np.float32(reference is np.exp2 or np.log(2)) * np.float32(n) for n in (128, -126))
    for limit in (high, low):
        near = [limit]
        for _ in range(3):
            near = [np.nextafter(near[0], np.float32(-1e9)), *near, np.nextafter(near[-1], np.float32(1e9))]
        x = np.array(near, dtype=np.float32)
        exact = reference(x.astype(np.float64))
        expected = np.where(exact < SMALLEST_NORMAL, 0, np.where(exact < OVERFLOW, exact, np.inf))
        np.testing.assert_allclose(applied(function, x), expected, rtol=2e-7)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
@pytest.mark.parametrize(
    ("name", "instruction"), [("exponentials", "(fmadd|mul)...ps|mulps"), ("tile_maximum", "maxps")]
)
def test_loops_over_a_tile_are_vectorised(name, instruction):
    options = {key: value for key, value in OPTIONS.items() if key != "cache"}
    function = njit(**options)(getattr(tile_operations, name).py_func)
    tile = types.Array(float32, 2, "C")
    function.compile((tile,) * (3 if name == "exponentials" else 2))
    (assembly,) = function.inspect_asm().values()
    assert re.search(rf"{instruction}.*%[yz]mm", assembly)
