"""Every feature of the notation, and random cascades: compiled cascades against the interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_cascades import KINDS, random_cascade

from einsum_cascades.interpreter import run
from einsum_cascades.ir import Access, Apply, Cascade, Const, Declaration, Einsum, Number, Reduction, Size, Stop, Var
from einsum_cascades.load import parse_cascade
from einsum_cascades.operations import complete_sizes
from einsum_cascades.operators import OPERATORS
from kernels import compile_cascade
from kernels.compiler.compiled import Tiling


@pytest.mark.parametrize("operator", [o.name for o in OPERATORS.values()])
def test_operators_on_ordinary_and_special_values(operator: str) -> None:
    special = np.array([0.5, -2.0, 0.0, 3.0, np.inf, -np.inf, np.nan, 1e3, -1e3])
    names = "ABC"[: OPERATORS[operator].arity]
    values = np.meshgrid(*[special] * len(names))
    einsum = Einsum(Access("Y", (Var("M"),)), Apply(operator, tuple(Access(n, (Var("M"),)) for n in names)))
    cascade = Cascade("one", tuple(Declaration(n, ("M",)) for n in (*names, "Y")), (einsum,))
    inputs = {name: x.ravel() for name, x in zip(names, values, strict=True)}
    expected = run(cascade, inputs)["Y"]
    found = compile_cascade(cascade, jit=False).run(inputs)["Y"]
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_all_operators_compiled() -> None:
    cascade = parse_cascade("""
        declaration: {A: [M], B: [M], X: [M], Y: [M], Z: [M], S: [], T: [], U: [], W: []}
        expressions:
          - X[m] = max(A[m], B[m]) - min(A[m], -B[m]) / 2.5
          - Y[m] = log(exp(A[m]) + sqrt(B[m] * B[m]) + 1)
          - Z[m] = tanh(A[m]) * sigmoid(B[m] * 50)
          - 'S = X[m] :: reduce(m) max'
          - 'T = Y[m] :: reduce(m) min'
          - 'U = Z[m] :: reduce(m) +'
          - 'W = Z[m] :: reduce(m) *'
    """)
    draw = np.random.default_rng(0)
    inputs = {"A": draw.normal(size=9), "B": draw.normal(size=9)}
    found, expected = compile_cascade(cascade).run(inputs), run(cascade, inputs)
    for tensor in "STUW":
        np.testing.assert_allclose(found[tensor], expected[tensor], rtol=1e-13)
        assert found[tensor].shape == ()


FEATURES = {
    "init, body, final, earlier and last values": (
        """
        declaration: {A: [T], X: [T, N], H: [T, N], G: [T, N], Y: [T], Z: [N]}
        init: ["H[0, n] = 0", "G[0, n] = 1"]
        expressions:
          - Y[t] = H[t+1, n] * G[t, n]
          - H[t+1, n] = A[t] * H[t, n] + G[t, n] * X[t, n]
          - G[t+1, n] = G[t, n] + H[t, n]
        final: ["Z[n] = H[T, n]"]
        stop: t >= T
        """,
        {"T": 5, "N": 3},
    ),
    "two first values": (
        """
        declaration: {A: [T], F: [T], Z: []}
        init: ["F[0] = 1", "F[1] = 1"]
        expressions: ["F[t+2] = A[t] * F[t+1] + F[t]"]
        final: ["Z = F[T] * 2"]
        stop: t >= T
        """,
        {"T": 6},
    ),
    "what comes before, between and after the iterations": (
        """
        declaration: {A: [M], S: [], N: [M], R: [M], W: [M], T: []}
        init: ["R[0] = 0"]
        expressions: ["S = A[m]", "N[m] = A[m] / S", "R[m+1] = R[m] + N[m]", "W[m] = R[m+1] * R[M]", "T = W[m]"]
        stop: m >= M
        """,
        {"M": 5},
    ),
    "a stop at a constant": (
        """
        declaration: {X: [N], Y: [T, N], Z: [N]}
        init: ["Y[0, n] = X[n]"]
        expressions: ["Y[t+1, n] = Y[t, n] * Y[t, n]"]
        final: ["Z[n] = Y[T, n] + Y[0, n]"]
        stop: t >= T
        """,
        {"T": 3, "N": 2},
    ),
    "no iteration at all": (
        """
        declaration: {X: [N], Y: [T, N], S: [N]}
        init: ["Y[0, n] = X[n]"]
        expressions: ["Y[t+1, n] = Y[t, n] * Y[t, n]", "S[n] = Y[t+1, n]"]
        stop: t >= 0
        """,
        {"N": 2},
    ),
    "a view of a computed tensor beside the unsplit rank": (
        """
        declaration: {X: [M, E], K: [E, M], BK: [E, M1, M0], G: [E], Y: [E, M1], W: []}
        partition: {M: [M1, M0]}
        views: {BK: K}
        expressions:
          - K[e, m] = X[m, e] * X[m, e]
          - G[e] = K[e, m]
          - 'Y[e, m1] = BK[e, m1, m0] * G[e] :: reduce(m0) max'
          - 'W = BK[e, m1, m0] * G[e] :: reduce(m0) max :: reduce(m1) + :: reduce(e) min'
        """,
        {"M1": 2, "M0": 3, "E": 4},
    ),
    "a view with its parts apart": (
        """
        declaration: {BX: [M1, E, M0], Y: [E]}
        partition: {M: [M1, M0]}
        views: {BX: X}
        expressions: ["Y[e] = BX[m1, e, m0]"]
        """,
        {"M1": 3, "M0": 2, "E": 2},
    ),
    "constants, scalars and broadcasts": (
        """
        declaration: {A: [M, N], COUNT: [], B: [N], Y: [M, N], Z: [N], C: [M]}
        expressions:
          - B[n] = A[2, n] + COUNT
          - Y[m, n] = A[m, n] / B[n] - inf * 0 * 1
          - Z[n] = exp(-inf - A[0, n]) + 1
          - 'C[m] = A[m, n] * Z[n] :: reduce(n) max'
        """,
        {"M": 4, "N": 3},
    ),
    "a window over a running sum": (
        """
        declaration: {X: [M], R: [M], W: [M], S: []}
        init: ["R[0] = 0", "R[1] = X[0]"]
        expressions: ["R[m+2] = R[m+1] + X[m]", "W[m] = R[m+2] - R[m]", "S = W[m]"]
        stop: m >= M
        """,
        {"M": 7},
    ),
    "an operand that repeats": (
        """
        declaration: {A: [M, K], B: [K, N], C: [N], D: [M], Y: [M, N]}
        expressions: ["Y[m, n] = exp(A[m, k] - D[m]) * B[k, n] * C[n]"]
        """,
        {"M": 4, "K": 5, "N": 3},
    ),
    "a result summed over the rows": (
        """
        declaration: {X: [P, M], G: [P], S: [P, M], D: [P], L: [], T: []}
        expressions:
          - 'G[p] = X[p, m] :: reduce(m) max'
          - S[p, m] = exp(X[p, m] - G[p])
          - D[p] = S[p, m]
          - L = log(D[p])
          - T = S[p, m]
        """,
        {"P": 5, "M": 4},
    ),
    "transposed results and another order of ranks": (
        """
        declaration: {A: [M, K, N], Y: [N, M], Z: [K, N], W: [N]}
        expressions: ["Y[n, m] = A[m, k, n]", "Z[k, n] = A[m, k, n] * Y[n, m]", "W[n] = Z[k, n]"]
        """,
        {"M": 3, "K": 4, "N": 2},
    ),
    "each pass in a loop order of its own": (
        """
        declaration: {A: [M1, M0], R: [M1], B: [M1, M0], T: [], D: [M1, M0], C: [M0], Z: []}
        partition: {M: [M1, M0]}
        expressions:
          - R[m1] = A[m1, m0]
          - B[m1, m0] = A[m1, m0] * R[m1]
          - T = B[m1, m0]
          - D[m1, m0] = A[m1, m0] * T
          - C[m0] = D[m1, m0]
          - Z = D[m1, m0] * C[m0]
        """,
        {"M1": 2, "M0": 3},
    ),
    "an iterative rank outside the matrix that it applies": (
        """
        declaration: {A: [M, N], X: [T, N], S: [T, M], Y: [N]}
        init: ["X[0, n] = 1"]
        expressions: ["S[t, m] = A[m, n] * X[t, n]", "X[t+1, n] = A[m, n] * S[t, m]"]
        final: ["Y[n] = X[T, n]"]
        stop: t >= T
        """,
        {"T": 3, "M": 2, "N": 4},
    ),
}


@pytest.mark.parametrize("feature", FEATURES)
def test_features(feature: str, same: Any, instance: Any) -> None:
    text, sizes = FEATURES[feature]
    cascade = parse_cascade(text)
    known = {r for d in cascade.declarations for r in d.ranks} | {p.rank for p in cascade.partitions}
    shown = complete_sizes(cascade, sizes)
    inputs = instance(cascade, np.random.default_rng(1), **{**{"T": 1}, **shown})
    same(cascade, inputs, {r: n for r, n in shown.items() if r in known}, each=True)


def test_nested_iterative_ranks(same: Any) -> None:
    cell = Einsum(
        Access("X", (Var("I", 1), Var("J", 1))),
        Apply(
            "mul",
            (
                Access("W", (Var("I"), Var("J"))),
                Apply("add", (Access("X", (Var("I"), Var("J", 1))), Access("X", (Var("I", 1), Var("J"))))),
            ),
        ),
    )
    cascade = Cascade(
        "paths",
        (Declaration("W", ("I", "J")), Declaration("L", ("I",)), Declaration("X", ("I", "J"))),
        (cell,),
        init=(
            Einsum(Access("X", (Var("I", 1), Const(0))), Access("L", (Var("I"),))),
            Einsum(Access("X", (Const(0), Var("J", 1))), Number(1.0)),
        ),
        stop=(Stop("I", Size("I")), Stop("J", Size("J"))),
    )
    w = np.random.default_rng(0).uniform(size=(4, 3))
    same(cascade, {"W": w, "L": np.full(4, 2.0)})


def test_first_values_that_the_body_overwrites(same: Any) -> None:
    """Entries written twice keep the later value: the init Einsum walks over the rank that iterates."""
    x, y = Access("X", (Var("M"),)), Access("Y", (Var("M"),))
    body = Einsum(Access("Y", (Var("M", 1),)), Apply("add", (y, x)))
    cascade = Cascade(
        "overwritten",
        (Declaration("X", ("M",)), Declaration("Y", ("M",))),
        (body,),
        init=(Einsum(y, Apply("neg", (x,))),),
        stop=(Stop("M", Size("M")),),
    )
    same(cascade, {"X": np.arange(1.0, 6.0)})


RANKS = {"A": ("I", "J"), "B": ("J", "K"), "C": ("I",), "D": ("K", "J", "I"), "S": (), "W": ("I", "I")}


@st.composite
def small_einsums(draw: st.DrawFn) -> Einsum:
    """An Einsum over I, J and K with constants and a diagonal, kept and reduced ranks in any order."""
    leaves = st.sampled_from(
        [
            *(Access(t, tuple(Var(r) for r in ranks)) for t, ranks in RANKS.items()),
            Access("A", (Const(0), Var("J"))),
            Access("D", (Var("K"), Var("J"), Const(1))),
            Number(0.5),
            Number(-1.0),
        ]
    )
    binary = st.sampled_from(["add", "sub", "mul", "mul", "max", "min", "div"])
    unary = st.sampled_from(["neg", "exp", "tanh", "sigmoid"])
    expression = draw(
        st.recursive(
            leaves,
            lambda inner: st.one_of(
                st.builds(lambda o, a, b: Apply(o, (a, b)), binary, inner, inner),
                st.builds(lambda o, a: Apply(o, (a,)), unary, inner),
            ),
            max_leaves=5,
        )
    )
    ranks = draw(st.permutations(Einsum(Access("Y"), expression).ranks))
    kept = draw(st.integers(0, len(ranks)))
    operators = st.sampled_from(["add", "add", "max", "min", "mul"])
    output = Access("Y", tuple(Var(r) for r in ranks[:kept]))
    return Einsum(output, expression, tuple(Reduction(r, draw(operators)) for r in ranks[kept:]))


@settings(max_examples=30, deadline=None)
@given(einsum=small_einsums(), seed=st.integers(0, 2**32 - 1), extents=st.tuples(*[st.integers(2, 5)] * 3))
def test_random_einsums(einsum: Einsum, seed: int, extents: tuple[int, ...]) -> None:
    sizes = dict(zip("IJK", extents, strict=True))
    declared = {**RANKS, "Y": einsum.output.ranks}
    cascade = Cascade("random", tuple(Declaration(t, r) for t, r in declared.items()), (einsum,))
    draw = np.random.default_rng(seed)
    inputs = {t: draw.uniform(0.5, 1.5, [sizes[r] for r in ranks]) for t, ranks in RANKS.items()}
    expected = run(cascade, inputs)["Y"]
    for tiling in (Tiling(), Tiling(block=2, rows=2, workers=2)):
        found = compile_cascade(cascade, jit=False, tiling=tiling).run(inputs)["Y"]
        if np.isfinite(expected).all() and np.abs(expected).max() < 1e6:
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


# ---------------------------------------------------------------- random cascades


@pytest.mark.parametrize("kind", KINDS)
def test_random_cascades(kind: str, same: Any, instance: Any) -> None:
    sizes = {"K": 5} if kind in ("plain", "iterative") else {"K1": 2, "K0": 3}
    for seed in range(6):
        cascade = random_cascade(seed, kind, steps=8, inputs=3)
        inputs = instance(cascade, np.random.default_rng(seed), **sizes)
        same(cascade, inputs, sizes)


@pytest.mark.parametrize("block", range(2))
def test_random_programs(block: int, same: Any, random_program: Any) -> None:
    for seed in range(8 * block, 8 * block + 8):
        cascade, inputs, sizes = random_program(seed)
        same(cascade, inputs, sizes)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_more_random_programs(block: int, same: Any, random_program: Any) -> None:
    for seed in range(1000 + 20 * block, 1020 + 20 * block):
        cascade, inputs, sizes = random_program(seed)
        same(cascade, inputs, sizes, each=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 112))
def test_random_programs_compiled(seed: int, random_program: Any) -> None:
    cascade, inputs, sizes = random_program(seed)
    expected = run(cascade, inputs, sizes=sizes)
    for tensor, array in compile_cascade(cascade).run(inputs, sizes).items():
        np.testing.assert_allclose(array, expected[tensor], rtol=1e-10, atol=1e-12, err_msg=tensor)
