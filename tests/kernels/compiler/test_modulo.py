"""``a % b`` and ``floor``: a dilated window against NumPy, interpreted, compiled and rewritten; refused on GPUs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import fusemax
from einsum_cascades.errors import InputError
from einsum_cascades.interpreter import run
from einsum_cascades.load import parse_cascade
from kernels.compiler.compiled import compile_cascade
from kernels.gpu.generator.recognise import recognise

DILATED = """
name: dilated
declaration:
  {Q: [E, P], K: [E, M], V: [F, M], W: [], D: [], QK: [M, P], S: [M, P], GM: [P], SN: [M, P], SD: [P], AV: [F, P]}
expressions:
  - QK[m, p] = Q[e, p] * K[e, m]
  - 'S[m, p] = where(min(abs(p - m) <= W, (p - m) % D == 0), QK[m, p], -inf)'
  - 'GM[p] = S[m, p] :: reduce(m) max'
  - SN[m, p] = exp(S[m, p] - GM[p])
  - SD[p] = SN[m, p]
  - AV[f, p] = SN[m, p] / SD[p] * V[f, m]
"""


def dilated(q: np.ndarray, k: np.ndarray, v: np.ndarray, width: int, step: int) -> np.ndarray:
    """Each query sees every ``step``-th key up to ``width`` away: softmax over these alone."""
    found = np.empty((v.shape[0], q.shape[1]))
    for p in range(q.shape[1]):
        seen = [m for m in range(k.shape[1]) if abs(p - m) <= width and (p - m) % step == 0]
        scores = k[:, seen].T @ q[:, p]
        weights = np.exp(scores - scores.max())
        found[:, p] = v[:, seen] @ (weights / weights.sum())
    return found


@pytest.mark.parametrize(("width", "step"), [(4, 2), (11, 3), (100, 1), (0, 5)])
def test_dilated_attention(width: int, step: int) -> None:
    draw = np.random.default_rng(width)
    q, k, v = (draw.normal(size=(3, 13)) for _ in range(3))
    inputs = {"Q": q, "K": k, "V": v, "W": width, "D": step}
    cascade = parse_cascade(DILATED)
    expected = dilated(q, k, v, width, step)
    np.testing.assert_allclose(run(cascade, inputs)["AV"], expected, rtol=1e-12)
    np.testing.assert_allclose(compile_cascade(cascade, jit=False).run(inputs)["AV"], expected, rtol=1e-12)


def test_one_pass_is_derived() -> None:
    assert fusemax.derive(parse_cascade(DILATED)).passes == 1


VALUES = st.floats(-1e6, 1e6) | st.integers(-20, 20).map(float)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=6))
@example([(1.0, 0.0), (-7.0, 2.0), (7.0, -2.0), (-0.0, 3.0), (np.inf, 2.0), (-3.0, np.inf)])
def test_remainders_are_numpys(pairs: list[tuple[float, float]]) -> None:
    cascade = parse_cascade(
        "declaration: {A: [N], B: [N], R: [N], L: [N]}\n"
        "expressions: ['R[n] = A[n] % B[n]', 'L[n] = floor(A[n] / B[n]) + n % 3']"
    )
    a, b = np.array(pairs).T
    with np.errstate(all="ignore"):
        expected = {"R": np.mod(a, b), "L": np.floor(a / b) + np.arange(len(a)) % 3}
    for found in (run(cascade, {"A": a, "B": b}), compile_cascade(cascade, jit=False).run({"A": a, "B": b})):
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values)


def test_compiled_by_numba() -> None:
    cascade = parse_cascade(
        "declaration: {A: [N], B: [N], R: [N]}\nexpressions: ['R[n] = A[n] % B[n] + floor(A[n]) * (n % 2)']"
    )
    inputs = {"A": np.array([5.5, -5.5, 1.0, -0.25]), "B": np.array([2.0, 2.0, 0.0, -3.0])}
    np.testing.assert_array_equal(compile_cascade(cascade).run(inputs)["R"], run(cascade, inputs)["R"])


def test_as_text() -> None:
    cascade = parse_cascade(DILATED)
    assert "(p - m) % D == 0" in str(cascade)
    assert parse_cascade(str(cascade)) == cascade
    assert r"\mathrm{mod}" in cascade._repr_latex_()


def test_no_gpu_kernel() -> None:
    with pytest.raises(InputError, match="uses '%', which no GPU kernel computes"):
        recognise(parse_cascade(DILATED))
