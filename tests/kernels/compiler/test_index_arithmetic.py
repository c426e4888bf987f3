"""Arithmetic on indices and sizes: compiled cascades give what the interpreter gives, bit for bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.interpreter import run
from einsum_cascades.ir import Access, Apply, Cascade, Declaration, Einsum, Expression, Extent, Index, Number, Var
from einsum_cascades.load import parse_cascade
from einsum_cascades.operators import OPERATORS
from kernels import compile_cascade
from kernels.compiler.source import program_of, source_of


def cascade_of(*texts: str) -> Cascade:
    """X[m, p] and one result for each text."""
    names = [f"Z{i}" for i in range(len(texts))]
    declared = ", ".join(f"{name}: [M, P]" for name in ("X", *names))
    lines = "".join(f"  - 'Z{i}[m, p] = {text}'\n" for i, text in enumerate(texts))
    return parse_cascade(f"declaration: {{{declared}}}\nexpressions:\n{lines}")


def assert_same_bits(cascade: Cascade, inputs: dict[str, Any], *, jit: bool) -> None:
    expected, found = run(cascade, inputs), compile_cascade(cascade, jit=jit).run(inputs)
    for tensor in cascade.outputs:
        assert found[tensor].dtype == expected[tensor].dtype
        np.testing.assert_array_equal(found[tensor], expected[tensor], err_msg=tensor)
        there = ~np.isnan(expected[tensor])
        np.testing.assert_array_equal(np.signbit(found[tensor])[there], np.signbit(expected[tensor])[there])


TEXTS = (
    "X[m, p] * ((m - p) * (m - p) * (m - p))",
    "X[m, p] * (M * M * M * M * M * M * M * M * M * M * M * M * M * M * M * M)",
    "X[m, p] * (M * M * M * M * M * M * M * M / (M * M * M * M * M * M * M))",
    "X[m, p] * 1e30 * M * M * M * M * M * M * M * M * 1e-30",
    "X[m, p] / (-m)",
    "X[m, p] / (p - m)",
    "X[m, p] * (m / m)",
    "1 / (X[m, p] * (-m * 0))",
    "1 / max(-m, -p)",
    "X[m, p] + abs(-m) - min(m, p)",
    "where(m * m * m * m * m <= p * 100000, X[m, p], -inf)",
    "where(min(m <= p + (M - P), max(m > p - 2, m == 0)), X[m, p], -inf)",
    "where(1 / (-m) < 0, X[m, p], 2)",
    "where(m - p, X[m, p], -X[m, p])",
    "(m <= p) * X[m, p] + (m == p) * 1e30 * 1e30 * 1e-30",
    "exp(m) * exp(-m) * X[m, p]",
    "max(m - 3.5, X[m, p] * p)",
    "where(m < p, 0.1, m * 0.1)",
    "X[m, p] + (0.1 + 0.2)",
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_indices_are_float64_as_python(dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(dtype)
    assert_same_bits(cascade_of(*TEXTS), {"X": x}, jit=False)


def test_indices_are_float64_compiled() -> None:
    x = np.random.default_rng(0).normal(size=(40, 37)).astype("float32")
    assert_same_bits(cascade_of(*(text for text in TEXTS if "exp(" not in text)), {"X": x}, jit=True)


@pytest.mark.slow
def test_indices_are_float64_compiled_for_float64() -> None:
    x = np.random.default_rng(0).normal(size=(40, 37))
    assert_same_bits(cascade_of(*(text for text in TEXTS if "exp(" not in text)), {"X": x}, jit=True)


def test_values_beyond_64_bit_integers() -> None:
    cascade = parse_cascade("declaration: {X: [N], Z: [N]}\nexpressions: ['Z[n] = X[n] * (N * N * N * N)']\n")
    for jit in (False, True):
        assert compile_cascade(cascade, jit=jit).run({"X": np.ones(131072)})["Z"][5] == 131072.0**4
    cubes = parse_cascade("declaration: {X: [M], Z: []}\nexpressions: ['Z = X[m] * (m * m * m) :: reduce(m) max']\n")
    x = np.ones(2_200_000, np.float32)
    assert compile_cascade(cubes).run({"X": x})["Z"] == np.float32(2_199_999.0**3)


def test_indices_beyond_24_bits_in_single_precision() -> None:
    """A float32 cannot tell 16777216 from 16777217; indices are told apart, and literals beside them too."""
    length = 2**24 + 4
    cascade = parse_cascade(
        "declaration: {X: [M], A: [], B: []}\n"
        "expressions: ['A = where(m >= 16777217, X[m], 0)', 'B = (m - 16777215) * X[m] :: reduce(m) max']\n"
    )
    x = np.zeros(length, np.float32)
    x[2**24 - 1 :] = 1.0
    for found in (run(cascade, {"X": x}), compile_cascade(cascade).run({"X": x})):
        assert (found["A"], found["B"]) == (3.0, 4.0)


def test_what_is_computed_apart_keeps_its_type() -> None:
    """exp(100) is finite in float64 alone; the factor is computed once per m, in a tensor of its own."""
    cascade = parse_cascade(
        "declaration: {A: [M], B: [K, M], Z: [K]}\nexpressions: ['Z[k] = exp(A[m] * (m + 100)) * B[k, m]']\n"
    )
    inputs = {"A": np.ones(3, np.float32), "B": np.full((4, 3), 1e-30, np.float32)}
    kernel = compile_cascade(cascade)
    assert kernel.program.wide == {"Z_1"}
    expected = np.exp(np.arange(100.0, 103.0)).sum() * float(np.float32(1e-30))
    for found in (run(cascade, inputs), kernel.run(inputs), compile_cascade(cascade, jit=False).run(inputs)):
        assert found["Z"].dtype == np.float32
        np.testing.assert_allclose(found["Z"], expected, rtol=2.0**-23)


def test_integers_are_compared_only_where_nothing_can_overflow() -> None:
    cascade = cascade_of("where(m <= p + (M - P), X[m, p], 0)", "where(m * m <= p, X[m, p], 0)")
    program = program_of(cascade, cascade.outputs)
    exact, wide = (source_of(program, "float32", integers=integers) for integers in (True, False))
    assert exact.count("np.float64") == 3  # two factors and p, of the second
    assert wide.count("np.float64") == 4 + 3


def test_a_size_of_a_rank_that_nothing_needed_walks() -> None:
    cascade = parse_cascade("declaration: {W: [N], X: [K], Z: [K]}\nexpressions: ['W[n] = 1', 'Z[k] = X[k] * N']\n")
    for size in (4, 2**40):
        found = compile_cascade(cascade, outputs=("Z",), jit=False).run({"X": [1.0, 2.0]}, {"N": size})
        np.testing.assert_array_equal(found["Z"], [size, 2.0 * size])


# ---------------------------------------------------------------- random expressions

_ANY = [name for name, operator in OPERATORS.items() if operator.arity < 3 and operator.work_class != "exp"]
_LEAVES = st.one_of(
    st.sampled_from([Index("M"), Index("P"), Extent("M"), Extent("P")]),
    st.sampled_from([0.0, 1.0, -2.0, 0.5, 3e38, 2.0**31, 2.0**53 + 2, math.inf]).map(Number),
    st.just(Access("X", (Var("M"), Var("P")))),
)


def _binary(drawn: tuple[str, Expression, Expression]) -> Expression:
    """An operator on two operands; NumPy's larger and smaller zero is the processor's choice, so those are +0 both."""
    operator, *operands = drawn
    if operator in ("max", "min"):
        operands = [Apply("add", (operand, Number(0.0))) for operand in operands]
    return Apply(operator, tuple(operands))


def _applied(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    by_arity = {n: [name for name in _ANY if OPERATORS[name].arity == n] for n in (1, 2)}
    return st.one_of(
        st.tuples(st.sampled_from(by_arity[1]), inner).map(lambda drawn: Apply(drawn[0], drawn[1:])),
        st.tuples(st.sampled_from(by_arity[2]), inner, inner).map(_binary),
        st.tuples(inner, inner, inner).map(lambda drawn: Apply("where", drawn)),
    )


EXPRESSIONS = st.recursive(_LEAVES, _applied, max_leaves=12)


def _of(expression: Expression) -> Cascade:
    """An Einsum that keeps the expression's value; X stands in it so that both ranks are walked."""
    at = (Var("M"), Var("P"))
    chosen = Apply("where", (Number(1.0), expression, Access("X", at)))
    einsum = Einsum(Access("Z", at), chosen)
    return Cascade("drawn", (Declaration("X", ("M", "P")), Declaration("Z", ("M", "P"))), (einsum,))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(expression=EXPRESSIONS, dtype=st.sampled_from(["float32", "float64"]))
def test_random_expressions_as_python(expression: Expression, dtype: str) -> None:
    x = np.array([[0.0, -0.0, 1.5], [np.inf, -3e38, np.nan], [-1e-38, 7.0, -np.inf]]).astype(dtype)
    assert_same_bits(_of(expression), {"X": x}, jit=False)


@pytest.mark.slow
@settings(max_examples=8, deadline=None, derandomize=True)
@given(expressions=st.lists(EXPRESSIONS, min_size=12, max_size=12), dtype=st.sampled_from(["float32", "float64"]))
def test_random_expressions_compiled(expressions: list[Expression], dtype: str) -> None:
    at, names = (Var("M"), Var("P")), [f"Z{i}" for i in range(len(expressions))]
    declared = tuple(Declaration(name, ("M", "P")) for name in ("X", *names))
    chosen = [Apply("where", (Number(1.0), expression, Access("X", at))) for expression in expressions]
    cascade = Cascade(
        "drawn", declared, tuple(Einsum(Access(name, at), part) for name, part in zip(names, chosen, strict=True))
    )
    x = np.array([[0.0, -0.0, 1.5], [np.inf, -3e38, np.nan], [-1e-38, 7.0, -np.inf]]).astype(dtype)
    assert_same_bits(cascade, {"X": x}, jit=True)
