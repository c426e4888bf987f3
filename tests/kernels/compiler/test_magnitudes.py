"""Infinities, NaN and values up to the largest of a type: the interpreter as the statement, compiled cascades as it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from einsum_cascades import interpreter
from einsum_cascades.interpreter import run
from einsum_cascades.ir import Cascade
from einsum_cascades.load import load_cascade, parse_cascade
from kernels import compile_cascade
from kernels.compiler.compiled import Tiling

Arrays = dict[str, NDArray[Any]]
SIZES = {"K": 7, "M": 5, "P": 3}


def cascade_of(declared: str, text: str) -> Cascade:
    return parse_cascade(f"declaration: {{{declared}}}\nexpressions: ['{text}']\n")


# ---------------------------------------------------------------- sums of products

PRODUCTS: dict[str, tuple[Cascade, Callable[..., Any]]] = {
    name: (cascade_of(declared, text), statement)
    for name, declared, text, statement in (
        ("both", "A: [K], B: [M], Z: []", "Z = A[k] * B[m]", lambda A, B: (A[:, None] * B).sum()),
        ("pairs", "A: [K], B: [K], Z: []", "Z = A[k] * B[k]", lambda A, B: (A * B).sum()),
        ("stays", "A: [M], B: [K, M], Z: [M]", "Z[m] = A[m] * B[k, m]", lambda A, B: (A * B).sum(0)),
        (
            "matrices",
            "A: [M, K], B: [K, P], Z: [M, P]",
            "Z[m, p] = A[m, k] * B[k, p]",
            lambda A, B: (A[:, :, None] * B).sum(1),
        ),
        (
            "right first",
            "A: [M, K], B: [K, P], C: [P], Z: [M]",
            "Z[m] = A[m, k] * (B[k, p] * C[p])",
            lambda A, B, C: (A[:, :, None] * (B * C)).sum((1, 2)),
        ),
        ("left first", "A: [K], B: [K], C: [K], Z: []", "Z = A[k] * B[k] * C[k]", lambda A, B, C: (A * B * C).sum()),
        (
            "index",
            "A: [K], B: [M], Z: []",
            "Z = A[k] * B[m] * k",
            lambda A, B: (A[:, None] * B * np.arange(7.0)[:, None]).sum(),
        ),
        (
            "maximum",
            "A: [M, K], B: [K, P], Z: [M]",
            "Z[m] = A[m, k] * B[k, p] :: reduce(k) + :: reduce(p) max",
            lambda A, B: (A[:, :, None] * B).sum(1).max(1),
        ),
    )
}

EXACT = [math.inf, -math.inf, math.nan, 0.0, -0.0, 1.0, -2.0, 0.5, 3.0, 8.0, -8.0, 1.0, 2.0, -1.0, 1.5, 4.0]
"""Products of three of the finite ones and an index, and their sums, are exact in float32 in every order."""


def assert_as_stated(name: str, seed: int, dtype: str, *, jit: bool, tiling: Tiling | None = None) -> None:
    """Compare both with the products written out; no value is rounded, so nothing but order could differ."""
    (cascade, statement), draw = PRODUCTS[name], np.random.default_rng(seed)
    few = draw.choice(EXACT, draw.integers(2, 9))
    inputs = {t: draw.choice(few, [SIZES[r] for r in cascade.ranks_of[t]]).astype(dtype) for t in cascade.inputs}
    with np.errstate(all="ignore"):
        expected = statement(**inputs)
    np.testing.assert_array_equal(run(cascade, inputs)["Z"], expected)
    np.testing.assert_array_equal(compile_cascade(cascade, jit=jit, tiling=tiling).run(inputs)["Z"], expected)


@pytest.mark.parametrize("name", PRODUCTS)
@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(["float32", "float64"]))
def test_sums_through_infinities_as_python(name: str, seed: int, dtype: str) -> None:
    assert_as_stated(name, seed, dtype, jit=False)
    assert_as_stated(name, seed, dtype, jit=False, tiling=Tiling(block=2, rows=2, workers=2))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in ("both", "matrices") else pytest.mark.slow) for n in PRODUCTS]
)
def test_sums_through_infinities_compiled(name: str) -> None:
    for seed in range(100):
        assert_as_stated(name, seed, "float32", jit=True)


def test_the_statement_where_sums_could_be_taken_apart() -> None:
    """inf, -inf, 1 and -3 are the products: NaN; the sum of A times the sum of B would be -inf."""
    cascade = PRODUCTS["both"][0]
    inputs = {"A": [1.0, -3.0], "B": [math.inf, 1.0]}
    for found in (run(cascade, inputs), compile_cascade(cascade).run(inputs)):
        assert math.isnan(found["Z"])


@pytest.mark.parametrize("name", PRODUCTS)
def test_large_spaces_go_piece_by_piece(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (cascade, statement), draw = PRODUCTS[name], np.random.default_rng(0)
    inputs = {t: draw.normal(size=[SIZES[r] for r in cascade.ranks_of[t]]) for t in cascade.inputs}
    inputs["A"].flat[1] = math.inf
    whole = run(cascade, inputs)["Z"]
    with np.errstate(all="ignore"):
        expected = statement(**inputs)
    np.testing.assert_allclose(whole, expected, rtol=1e-13)
    for piece in (1, 4, 20):
        monkeypatch.setattr(interpreter, "_PIECE", piece)
        np.testing.assert_allclose(run(cascade, inputs)["Z"], whole, rtol=1e-13)


@pytest.mark.parametrize(
    ("name", "small", "dtype", "large"),
    [
        ("matrices", 1e-30, "float32", 3e38),
        pytest.param("stays", 0.0, "float64", 1.7e308, marks=pytest.mark.slow),
        pytest.param("both", 0.0, "float64", 1.7e308, marks=pytest.mark.slow),
        pytest.param("stays", 1e-30, "float32", 3e38, marks=pytest.mark.slow),
    ],
)
def test_common_factors_stay_in_sums(name: str, small: float, dtype: str, large: float) -> None:
    """A * (B0 + B1 + ...) overflows where A * B0 + A * B1 + ... does not."""
    cascade, _ = PRODUCTS[name]
    shapes = {t: [SIZES[r] for r in cascade.ranks_of[t]] for t in cascade.inputs}
    inputs = {"A": np.full(shapes["A"], small, dtype), "B": np.full(shapes["B"], large, dtype)}
    expected = np.full_like(compile_cascade(cascade, jit=False).run(inputs)["Z"], small * large * 7)
    expected *= 5 if name == "both" else 1
    for found in (run(cascade, inputs), compile_cascade(cascade).run(inputs)):
        np.testing.assert_allclose(found["Z"], expected, rtol=40 * np.finfo(dtype).eps)  # at most 36 roundings


@pytest.mark.parametrize(("a", "b", "c"), [(1e200, 1e200, 1e-300), (1e-200, 1e-200, 1e300), (1e300, 0.0, math.inf)])
def test_products_go_from_left_to_right(a: float, b: float, c: float) -> None:
    cascade, _ = PRODUCTS["left first"]
    inputs = {"A": [a] * 3, "B": [b] * 3, "C": [c] * 3}
    expected = a * b * c * 3
    for found in (run(cascade, inputs), compile_cascade(cascade, jit=False).run(inputs)):
        np.testing.assert_array_equal(found["Z"], expected)


# ---------------------------------------------------------------- elementwise, maxima, softmax

SOFTMAX = parse_cascade("""
    declaration: {X: [M, P], G: [P], N: [M, P], D: [P], Z: [M, P], L: [P], R: [M, P], U: [P], S: []}
    expressions:
      - 'G[p] = X[m, p] :: reduce(m) max'
      - N[m, p] = exp(X[m, p] - G[p])
      - D[p] = N[m, p]
      - Z[m, p] = N[m, p] / D[p]
      - 'L[p] = X[m, p] :: reduce(m) min'
      - R[m, p] = sigmoid(X[m, p]) * tanh(X[m, p])
      - 'U[p] = where(X[m, p] > 0, X[m, p], -inf) :: reduce(m) max'
      - 'S = X[m, p] :: reduce(m, p) max'
""")
OUTPUTS = ("G", "D", "Z", "L", "R", "U", "S")


def assert_softmax(seed: int, dtype: str, *, jit: bool) -> None:
    """Every infinity and NaN where the interpreter has one; the rest as near as the exponentials allow.

    An exponential of ours errs by 1.2 units in the last place and NumPy's by at most 4, and one below the normal
    numbers may be 0; a sum of 8 rounds 7 times more, and a division once. NumPy's logistic function is exp(-y) with y
    rounded, which multiplies its error by y, at most by 750, where the exponential vanishes.
    """
    draw = np.random.default_rng(seed)
    most = float(np.finfo(dtype).max)
    special = [most, -most, math.inf, -math.inf, math.nan, 0.0, -0.0, 50.0, most / 2, -most / 2]
    sizes = 10.0 ** draw.uniform(-40, 38.5, (8, 6)) * draw.choice([-1, 1], (8, 6))
    x = np.where(draw.random((8, 6)) < draw.random(), draw.choice(special, (8, 6)), sizes).astype(dtype)
    expected = run(SOFTMAX, {"X": x})
    found = compile_cascade(SOFTMAX, outputs=OUTPUTS, jit=jit).run({"X": x})
    info = np.finfo(dtype)
    for tensor in OUTPUTS:
        there = np.isfinite(expected[tensor])
        np.testing.assert_array_equal(found[tensor][~there], expected[tensor][~there], err_msg=tensor)
        theirs, ours = expected[tensor][there].astype(np.float64), found[tensor][there].astype(np.float64)
        condition = 1.0 + np.minimum(np.abs(x[there]), 750.0) if tensor == "R" else 1.0
        bound = (1.2 + 4 + 7 + 1) * info.eps * condition * np.abs(theirs) + 8 * info.tiny
        assert (np.abs(ours - theirs) <= bound).all(), tensor


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(["float32", "float64"]))
def test_softmax_of_any_magnitude_as_python(seed: int, dtype: str) -> None:
    assert_softmax(seed, dtype, jit=False)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_softmax_of_any_magnitude_compiled(seed: int) -> None:
    assert_softmax(seed, "float32", jit=True)


@pytest.mark.parametrize("score", [1e9, 1e11, 3e38, -3e38])
@pytest.mark.parametrize("name", ["attention-1-pass", pytest.param("attention-3-pass", marks=pytest.mark.slow)])
def test_attention_to_one_key_of_any_score(name: str, score: float) -> None:
    one = np.ones((1, 1), np.float32)
    inputs = {"Q": score * one, "K": one, "V": one}
    sizes = {"M0": 1} if name == "attention-1-pass" else {}
    for jit in (False, True):
        assert compile_cascade(load_cascade(name), jit=jit).run(inputs, sizes)["AV"] == 1.0
