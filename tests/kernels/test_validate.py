"""The comparison of kernels with the interpreter, and that it notices kernels that are wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from einsum_cascades.interpreter import run
from einsum_cascades.load import library_names, load_cascade, parse_cascade
from kernels import CASCADES, validate
from kernels.compiler.compiled import CompiledCascade
from kernels.validate import TOLERANCES, Case, _reference, cases, check, relative_error


def test_every_kernel_is_compared() -> None:
    planned = cases()
    assert {(c.kernel, c.cascade.name, c.dtype) for c in planned} == {
        *(("tuned", name, "float32") for name in CASCADES),
        *(("compiled", name, dtype) for name in library_names() for dtype in TOLERANCES),
    }
    assert {c.causal for c in planned if c.kernel == "tuned"} == {False, True}
    assert len(set(planned)) == len(planned)


def test_cascades_of_the_user_are_compiled_only() -> None:
    cascade = parse_cascade("{declaration: {A: [M], Y: []}, expressions: ['Y = A[m] * A[m]']}")
    assert {(c.kernel, c.cascade) for c in cases([cascade])} == {("compiled", cascade)}


def test_shapes_agree_with_partitions_and_stops() -> None:
    cascade = parse_cascade("""
        declaration: {X: [T, N], BX: [T, N1, N0], Y: [T, N1], Z: [N1]}
        partition: {N: [N1, N0]}
        views: {BX: X}
        init: ["Y[0, n1] = 0"]
        expressions: ["Z[n1] = BX[1, n1, n0]", "Y[t+1, n1] = Y[t, n1] + Z[n1]"]
        stop: t >= 3
    """)
    for case in cases([cascade]):
        sizes = dict(case.sizes)
        assert sizes["N"] == sizes["N1"] * sizes["N0"]
        assert sizes["T"] >= 3


def compiled_as_python(monkeypatch: pytest.MonkeyPatch, spoil: Any = None) -> None:
    """Run compiled kernels as plain Python, and change their results."""
    original = validate.compile_cascade

    def instead(cascade: Any) -> Any:
        kernel = original(cascade, jit=False)

        class Spoiled(CompiledCascade):
            def run(self, *arguments: Any) -> Any:
                found = kernel.run(*arguments)
                return spoil(found) if spoil else found

        return Spoiled(kernel.program)

    monkeypatch.setattr(validate, "compile_cascade", instead)


def small(name: str, dtype: str = "float64") -> Case:
    planned = cases([load_cascade(name)])
    return next(c for c in planned if c.kernel == "compiled" and c.dtype == dtype and max(dict(c.sizes).values()) > 1)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_a_right_kernel_passes(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled_as_python(monkeypatch)
    result = check(small("layer-norm", dtype))
    assert result.ok
    assert result.tolerance == TOLERANCES[dtype]
    assert check(small("layer-norm", dtype)) == result
    assert check(small("layer-norm", dtype), seed=1) != result


@pytest.mark.parametrize("spoil", [lambda y: y * (1 + 1e-10), lambda y: y + np.nan, lambda y: y[:-1], lambda y: 0 * y])
def test_a_wrong_kernel_fails(spoil: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled_as_python(monkeypatch, lambda found: {name: spoil(array) for name, array in found.items()})
    assert not check(small("layer-norm")).ok


def test_relative_error() -> None:
    reference = np.array([3.0, 4.0, np.nan, np.inf])
    assert relative_error(reference, reference) == 0
    assert relative_error(np.array([3.0, 4.5, np.nan, np.inf]), reference) == pytest.approx(0.1)
    assert relative_error(np.array([3.0, 4.0, 0.0, np.inf]), reference) == math.inf
    assert relative_error(np.array([np.inf, 4.0, np.nan, np.inf]), reference) == math.inf
    assert relative_error(np.array([1e-3]), np.array([0.0])) == 1e-3


def test_the_causal_reference_is_masked_attention() -> None:
    draw = np.random.default_rng(0)
    q, k, v = draw.normal(size=(5, 3)), draw.normal(size=(4, 3)), draw.normal(size=(4, 2))
    found = _reference(load_cascade("attention-1-pass"), q, k, v, causal=True)
    scores = np.where(np.arange(4) <= np.arange(5)[:, None] - 1, q @ k.T, -np.inf)
    weights = np.exp(scores - np.maximum(scores.max(axis=1, keepdims=True), -1e300))
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    np.testing.assert_allclose(found, weights @ v, rtol=1e-12)
    whole = run(load_cascade("attention-3-pass"), {"Q": q.T, "K": k.T, "V": v.T})["AV"].T
    np.testing.assert_allclose(found[-1], whole[-1], rtol=1e-12)


def test_a_tuned_kernel_passes_and_a_wrong_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    cascade = load_cascade("attention-3-pass")
    case = Case("tuned", cascade, "float32", (("heads", 2), ("P", 4), ("M", 3), ("E", 5), ("F", 2)), causal=True)

    def numpy_attention(q: Any, k: Any, v: Any, *, cascade: str, causal: bool, scale: float) -> Any:
        keep = np.arange(3) <= np.arange(4)[:, None] - 1 if causal else True
        scores = np.where(keep, scale * q @ k.transpose(0, 2, 1), np.float32(-1e30))
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True)) * keep
        total = weights.sum(axis=-1, keepdims=True)
        return np.divide(weights @ v, total, where=total > 0, out=np.zeros((*q.shape[:2], v.shape[2]), np.float32))

    monkeypatch.setattr(validate, "attention", numpy_attention)
    assert check(case).ok
    monkeypatch.setattr(validate, "attention", lambda q, k, v, **o: numpy_attention(q, k, v, **{**o, "causal": False}))
    assert not check(case).ok
