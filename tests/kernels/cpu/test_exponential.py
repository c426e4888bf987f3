"""The exponential against float64, over the float32 numbers; and that loops over it use vector instructions."""

import platform
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import float32, njit, prange, types
from numba.core.registry import cpu_target

from kernels.cpu import tile_operations
from kernels.cpu.compilation import OPTIONS
from kernels.cpu.exponential import exp32, exp_difference
from kernels.cpu.lanes import load, store
from kernels.cpu.tiles import LANES

TILE = types.Array(float32, 2, "C")

SMALLEST_NORMAL = 2.0**-126
OVERFLOW = 2.0**128 * (1 - 2.0**-25)
STATED_ULP = 1.2
EPS = 2.0**-23
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.floats(-100, 100, width=32)
ODD_NANS = np.array([0x7F800001, 0xFF800001, 0x7FC000FF, 0xFFFFFFFF], dtype=np.uint32).view(np.float32)


@njit(parallel=True, fastmath={"contract"})
def exp_of(x, out):
    for i in prange(x.size):
        out[i] = exp32(x[i])


@njit
def exp_of_differences(s, m, out):
    for i in range(0, s.shape[1], LANES):
        store(out, 0, i, exp_difference(load(s, 0, i), load(m, 0, i)))


def differences(s, m):
    """The exponential of s - m, for float32 values."""
    size = len(s)
    padded = np.zeros((3, 1, (size + LANES - 1) // LANES * LANES), np.float32)
    padded[0, 0, :size], padded[1, 0, :size] = s, m
    exp_of_differences(*padded)
    return padded[2, 0, :size]


def applied(function, x):
    out = np.empty_like(x)
    function(x, out)
    return out


def settled(x):
    """The one exponential of numbers of one sign in order of size, if they have one: 0, infinity, or 1 but for an error
    of 1/64 of a unit in the last place."""
    sizes = sorted((abs(float(x[0])), abs(float(x[-1]))))
    if np.signbit(x[0]) != np.signbit(x[-1]) or np.isnan(sizes).any():
        return None
    if sizes[0] >= 128:
        return 0.0 if np.signbit(x[0]) else np.inf
    return 1.0 if sizes[1] <= 2.0**-30 else None


def largest_error_ulp(stride):
    """Largest error in units in the last place over every stride-th float32; exact values elsewhere are checked."""
    worst, chunk = 0.0, 2**22 * stride
    for start in range(0, 2**32, chunk):
        bits = np.arange(start, min(start + chunk, 2**32), stride, dtype=np.uint64).astype(np.uint32)
        x = bits.view(np.float32)
        found, only = applied(exp_of, x), settled(x)
        if only is not None:
            assert (found == only).all()
            continue
        with np.errstate(all="ignore"):
            exact = np.exp(x.astype(np.float64))
        assert np.array_equal(np.isnan(found), np.isnan(x))
        assert not found[exact < SMALLEST_NORMAL].any()
        assert np.isposinf(found[exact >= OVERFLOW]).all()
        normal = (exact >= SMALLEST_NORMAL) & (exact < OVERFLOW)
        if normal.any():
            _, exponent = np.frexp(exact[normal])
            error = np.abs(found[normal] - exact[normal]) / np.ldexp(1.0, exponent - 24)
            worst = max(worst, float(error.max()))
    return worst


def test_stated_accuracy_on_a_sample():
    assert 0.5 < largest_error_ulp(stride=1021) <= STATED_ULP


@pytest.mark.slow
def test_stated_accuracy_on_every_number():
    assert round(largest_error_ulp(stride=1), 1) == STATED_ULP


def test_special_values():
    special = np.array([0.0, -0.0, -np.inf, np.inf, np.nan, 1e30, -1e30], dtype=np.float32)
    assert np.array_equal(applied(exp_of, special), [1, 1, 0, np.inf, np.nan, np.inf, 0], equal_nan=True)
    assert np.isnan(applied(exp_of, ODD_NANS)).all()


def test_limits_of_the_range():
    high, low = (np.float32(np.log(2)) * np.float32(n) for n in (128, -126))
    for limit in (high, low):
        near = [limit]
        for _ in range(3):
            near = [np.nextafter(near[0], np.float32(-1e9)), *near, np.nextafter(near[-1], np.float32(1e9))]
        x = np.array(near, dtype=np.float32)
        exact = np.exp(x.astype(np.float64))
        expected = np.where(exact < SMALLEST_NORMAL, 0, np.where(exact < OVERFLOW, exact, np.inf))
        np.testing.assert_allclose(applied(exp_of, x), expected, rtol=2e-7)


# ---------------------------------------------------------------- of a difference


@settings(deadline=None)
@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=40))
def test_exponential_of_a_difference(pairs):
    """Beside 1.2 units in the last place: an error of the argument's product with log2(e), of EPS/2 and of its own."""
    s, m = np.sort(np.array(pairs, np.float32), axis=1).T
    with np.errstate(over="ignore"):
        d = (s - m).astype(float)
    exact = np.exp(d)
    bound = exact * (STATED_ULP * EPS + np.where(exact > 0, np.abs(d), 0) * EPS) + SMALLEST_NORMAL
    assert (np.abs(differences(s, m) - exact) <= bound).all()


@settings(deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=40))
def test_of_equal_numbers_it_is_one(values):
    assert (differences(values, values) == 1).all()


def test_special_differences():
    top = np.finfo(np.float32).max
    s = np.array([-np.inf, -np.inf, -np.inf, -top, -top, 0, np.nan, 1, np.inf, 3, -88.03, -88.2, -1e5], np.float32)
    m = np.array([0, top, -top, top, 0, top, 0, np.nan, np.inf, np.inf, 0, 0, 0], np.float32)
    expected = [0, 0, 0, 0, 0, 0, np.nan, np.nan, np.nan, 0, 0, 0, 0]
    assert np.array_equal(differences(s, m), expected, equal_nan=True)
    assert np.isnan(differences(ODD_NANS, np.zeros(len(ODD_NANS)))).all()
    assert np.isnan(differences(np.zeros(len(ODD_NANS)), ODD_NANS)).all()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
@pytest.mark.parametrize(
    ("name", "arguments", "instruction"),
    [
        ("exponentials", (TILE, TILE, TILE), "(fmadd|mul)...ps|mulps"),
        ("tile_maximum", (TILE, TILE, types.int64), "maxps"),
        ("product", (TILE, TILE, TILE, types.boolean, types.boolean), "(fmadd|mul)...ps|mulps"),
    ],
)
def test_loops_over_a_tile_use_vectors(name, arguments, instruction):
    """The widest that the processor has."""
    options = {key: value for key, value in OPTIONS.items() if key != "cache"}
    function = njit(**options)(getattr(tile_operations, name).py_func)
    function.compile(arguments)
    (assembly,) = function.inspect_asm().values()
    features = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
    assert re.search(
        rf"{instruction}.*%{'z' if '+avx512f' in features else 'y' if '+avx' in features else 'x'}mm", assembly
    )
