"""Compiled cascades against the interpreter: the library, types, batches, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from einsum_cascades.interpreter import run
from einsum_cascades.ir import Access, Cascade, Declaration, Einsum, Var
from einsum_cascades.load import library_names, load_cascade
from kernels import compile_cascade
from kernels.compiler.compiled import Tiling

TOLERANCES = {"float32": 2e-6, "float64": 1e-12}


def assert_close(cascade: Cascade, inputs: dict[str, Any], found: dict[str, Any], dtype: str) -> None:
    exact = {name: array.astype("float64") for name, array in inputs.items()}
    expected = run(cascade, exact)
    assert set(found) == set(cascade.outputs)
    for tensor, array in found.items():
        assert array.dtype == dtype
        error = np.linalg.norm(array - expected[tensor])
        assert error <= TOLERANCES[dtype] * np.linalg.norm(expected[tensor]), (tensor, error)


# ---------------------------------------------------------------- the library


@pytest.mark.parametrize("name", library_names())
@settings(max_examples=3, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1), extents=st.tuples(*[st.integers(1, 6)] * 4), dtype=st.sampled_from([*TOLERANCES])
)
def test_library_as_python(name: str, seed: int, extents: tuple[int, ...], dtype: str, instance: Any) -> None:
    cascade = load_cascade(name)
    split = {p.rank for p in cascade.partitions}
    ranks = sorted(
        {r for d in cascade.declarations for r in d.ranks} | {r for p in cascade.partitions for r in p.parts}
    )
    sizes = {rank: extents[i % 4] for i, rank in enumerate(r for r in ranks if r not in split)}
    inputs = instance(cascade, np.random.default_rng(seed), dtype, **sizes)
    for tiling in (Tiling(), Tiling(block=2, rows=2, workers=2)):
        found = compile_cascade(cascade, jit=False, tiling=tiling).run(inputs)
        assert_close(cascade, inputs, found, dtype)


def compiled_library() -> list[Any]:
    """One kernel of each type in the default suite, since Numba takes seconds for each; all in the slow one."""
    quick = {("attention-1-pass", "float32"), ("variance", "float64")}
    return [
        pytest.param(name, dtype, marks=() if (name, dtype) in quick else pytest.mark.slow)
        for name in library_names()
        for dtype in TOLERANCES
        if dtype == "float32" or (name, dtype) in quick or name == "layer-norm"
    ]


@pytest.mark.parametrize(("name", "dtype"), compiled_library())
def test_library_compiled(name: str, dtype: str, instance: Any) -> None:
    cascade = load_cascade(name)
    kernel = compile_cascade(cascade)
    draw = np.random.default_rng(3)
    for extents in ((1, 1, 1, 1), (5, 3, 2, 7), (33, 140, 21, 65)):
        ranks = sorted({r for d in cascade.declarations for r in d.ranks} - {p.rank for p in cascade.partitions})
        sizes = {rank: extents[i % 4] for i, rank in enumerate(ranks)}
        inputs = instance(cascade, draw, dtype, **sizes)
        assert_close(cascade, inputs, kernel.run(inputs), dtype)


def test_large_scores_and_masked_keys() -> None:
    """exp of large differences, and keys whose scores are -inf."""
    cascade = load_cascade("attention-1-pass")
    draw = np.random.default_rng(0)
    q, k, v = draw.normal(size=(4, 5)), draw.normal(size=(4, 12)), draw.normal(size=(3, 12))
    q *= 1e3
    q[3], k[3] = 1.0, 0.0
    k[3, 7:] = -np.inf
    for jit in (False, True):
        inputs = {"Q": q.astype("f4"), "K": k.astype("f4"), "V": v.astype("f4")}
        found = compile_cascade(cascade, jit=jit).run(inputs, {"M0": 3})["AV"]
        exact = {name: array.astype("f8") for name, array in inputs.items()}
        expected = run(cascade, exact, sizes={"M0": 3})["AV"]
        np.testing.assert_allclose(found, expected, rtol=2e-4)


# ---------------------------------------------------------------- types, batches, errors


@pytest.mark.parametrize(
    ("given", "expected"),
    [("float32", "float32"), ("float64", "float64"), ("float16", "float16"), ("int64", "float64")],
)
def test_type_follows_inputs(given: str, expected: str) -> None:
    cascade = load_cascade("attention-3-pass")
    draw = np.random.default_rng(0)
    inputs = {"Q": draw.normal(size=(2, 3)), "K": draw.normal(size=(2, 4)), "V": draw.normal(size=(5, 4))}
    rounded = {name: np.round(array).astype(given) for name, array in inputs.items()}
    found = compile_cascade(cascade, jit=False).run(rounded)["AV"]
    assert found.dtype == expected
    reference = run(cascade, {name: array.astype("float64") for name, array in rounded.items()})["AV"]
    np.testing.assert_allclose(found, reference, rtol=1e-3 if given == "float16" else 1e-6)


def test_plain_tensors_stand_for_their_tiles_and_layouts_do_not_matter() -> None:
    cascade = load_cascade("attention-1-pass")
    draw = np.random.default_rng(0)
    q, k, v = draw.normal(size=(3, 4)), draw.normal(size=(4, 12)), draw.normal(size=(12, 2))
    kernel = compile_cascade(cascade, jit=False)
    found = kernel.run({"Q": q.T, "K": k, "V": v.T}, {"M0": 4})["AV"]
    tiled = kernel.run({"Q": q.T, "BK": k.reshape(4, 3, 4), "BV": np.ascontiguousarray(v.T).reshape(2, 3, 4)})["AV"]
    np.testing.assert_array_equal(found, tiled)
    np.testing.assert_allclose(found, run(cascade, {"Q": q.T, "K": k, "V": v.T}, sizes={"M0": 4})["AV"], rtol=1e-12)


@pytest.mark.parametrize("name", ["attention-1-pass", "attention-3-pass"])
def test_leading_axes_are_batches(name: str) -> None:
    cascade = load_cascade(name)
    draw = np.random.default_rng(0)
    q, k, v = draw.normal(size=(2, 3, 4, 5)), draw.normal(size=(2, 3, 4, 6)), draw.normal(size=(2, 3, 7, 6))
    sizes = {"M0": 3} if cascade.partitions else {}
    kernel = compile_cascade(cascade, jit=False, tiling=Tiling(rows=2, block=2, workers=3))
    found = kernel.run_batched({"Q": q, "K": k, "V": v}, sizes)["AV"]
    assert found.shape == (2, 3, 7, 5)
    for b, h in np.ndindex(2, 3):
        expected = run(cascade, {"Q": q[b, h], "K": k[b, h], "V": v[b, h]}, sizes=sizes)["AV"]
        np.testing.assert_allclose(found[b, h], expected, rtol=1e-12)


def test_instances_may_share_inputs(instance: Any) -> None:
    cascade = load_cascade("layer-norm")
    inputs = instance(cascade, np.random.default_rng(0), P=4, M=5, F=3)
    x = np.random.default_rng(1).normal(size=(2, 4, 5))
    found = compile_cascade(cascade, jit=False).run_batched({**inputs, "X": x})["Z"]
    for i in range(2):
        np.testing.assert_allclose(found[i], run(cascade, {**inputs, "X": x[i]})["Z"], rtol=1e-12)
    alone = compile_cascade(cascade, jit=False).run_batched(inputs)["Z"]
    np.testing.assert_allclose(alone, run(cascade, inputs)["Z"], rtol=1e-12)


@pytest.mark.slow
def test_batched_kernels_compiled() -> None:
    cascade = load_cascade("log-sum-exp")
    x = np.random.default_rng(0).normal(size=(3, 2, 70, 150)).astype("f4")
    found = compile_cascade(cascade).run_batched({"X": x})["LSE"]
    assert found.shape == (3, 2, 70)
    expected = np.stack([run(cascade, {"X": y.astype("f8")})["LSE"] for y in x.reshape(6, 70, 150)])
    np.testing.assert_allclose(found.reshape(6, 70), expected, rtol=2e-6)


GOOD = {"Q": np.ones((2, 3)), "K": np.ones((2, 4)), "V": np.ones((5, 4))}


@pytest.mark.parametrize(
    ("inputs", "sizes", "message"),
    [
        ({"Q": GOOD["Q"], "K": GOOD["K"]}, {}, "input V is missing"),
        ({**GOOD, "X": np.ones(3)}, {}, "unknown input 'X'"),
        ({**GOOD, "Q": np.ones((2, 3, 1))}, {}, "has 3 axes"),
        ({**GOOD, "K": np.ones((3, 4))}, {}, "rank E of input K has size 3; expected 2"),
        ({**GOOD, "Q": np.array([["a"]])}, {}, "holds values of type"),
        (GOOD, {"Z": 3}, "unknown rank 'Z'"),
        (GOOD, {"M": 0}, "the size of rank M is 0"),
    ],
)
def test_unusable_inputs_are_refused_as_the_interpreter_does(inputs: Any, sizes: Any, message: str) -> None:
    cascade = load_cascade("attention-3-pass")
    with pytest.raises(InputError, match=message) as ours:
        compile_cascade(cascade, jit=False).run(inputs, sizes)
    with pytest.raises(InputError) as theirs:
        run(cascade, inputs, sizes=sizes)
    assert str(ours.value) == str(theirs.value)


def test_unusable_requests() -> None:
    cascade = load_cascade("attention-1-pass")
    with pytest.raises(InputError, match="unknown output 'Q'"):
        compile_cascade(cascade, outputs=("Q",))
    with pytest.raises(InputError, match="rank M0 has no size"):
        compile_cascade(cascade, jit=False).run(GOOD)
    batch = {"Q": np.ones((2, 2, 3)), "K": np.ones((3, 2, 4)), "V": np.ones((5, 4))}
    with pytest.raises(InputError, match=r"input K has batch axes \(3,\), but Q has \(2,\)"):
        compile_cascade(cascade, jit=False).run_batched(batch, {"M0": 2})
    gap = Cascade(
        "gap",
        (Declaration("A", ("M",)), Declaration("Y", ("M",))),
        (Einsum(Access("Y", (Var("M"),)), Access("A", (Var("M", 1),))),),
    )
    with pytest.raises(InputError, match="where it has no value"):
        compile_cascade(gap, jit=False).run({"A": np.ones(3)})
    circle = Cascade(
        "circle",
        (Declaration("A", ("M",)), Declaration("Y", ("M",))),
        (
            Einsum(Access("Y", (Var("M"),)), Access("A", (Var("M"),))),
            Einsum(Access("A", (Var("M"),)), Access("Y", (Var("M"),))),
        ),
    )
    with pytest.raises(InputError, match="circle"):
        compile_cascade(circle)


def test_the_same_request_gives_the_same_kernel() -> None:
    assert compile_cascade(load_cascade("variance")) is compile_cascade(load_cascade("variance"))
