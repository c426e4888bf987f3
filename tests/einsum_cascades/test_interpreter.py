"""The interpreter against NumPy statements of the mathematics and against element-by-element evaluation."""

import itertools
import operator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from einsum_cascades.interpreter import run
from einsum_cascades.ir import (
    Access,
    Apply,
    Cascade,
    Const,
    Declaration,
    Einsum,
    Extent,
    Index,
    Number,
    Partition,
    Reduction,
    Size,
    Stop,
    Var,
    accesses,
    leaves,
)
from einsum_cascades.load import load_cascade, parse_cascade
from einsum_cascades.operators import OPERATORS

ATTENTION = ("attention-3-pass", "attention-3-pass-deferred", "attention-2-pass", "attention-1-pass")


def softmax_attention(q, k, v):
    """softmax(Q^T K) V over the last axis, for Q[E, P], K[E, M], V[F, M]; returns [F, P]."""
    scores = q.T @ k
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return v @ (weights / weights.sum(axis=1, keepdims=True)).T


def attention_inputs(seed, e, f, m, p, scale=1.0):
    rng = np.random.default_rng(seed)
    return {
        "Q": rng.normal(size=(e, p)) * scale,
        "K": rng.normal(size=(e, m)),
        "V": rng.uniform(0.5, 1.5, size=(f, m)),
    }


def parts(cascade, m0):
    return {"M0": m0} if cascade.partitions else {}


# ---------------------------------------------------------------- the published cascades


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(ATTENTION),
    seed=st.integers(0, 2**32 - 1),
    sizes=st.tuples(*[st.integers(1, 9)] * 5),
)
def test_attention_equals_softmax(name, seed, sizes):
    e, f, m1, m0, p = sizes
    cascade = load_cascade(name)
    inputs = attention_inputs(seed, e, f, m1 * m0, p)
    got = run(cascade, inputs, sizes=parts(cascade, m0))["AV"]
    np.testing.assert_allclose(got, softmax_attention(inputs["Q"], inputs["K"], inputs["V"]), rtol=1e-12)


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_with_large_scores(name):
    cascade = load_cascade(name)
    inputs = attention_inputs(7, 8, 5, 64, 16)
    inputs["Q"] *= 1e3 / np.abs(inputs["Q"].T @ inputs["K"]).max()
    assert np.abs(inputs["Q"].T @ inputs["K"]).max() == pytest.approx(1e3)
    got = run(cascade, inputs, sizes=parts(cascade, 16))["AV"]
    np.testing.assert_allclose(got, softmax_attention(inputs["Q"], inputs["K"], inputs["V"]), rtol=1e-10)


def test_tiled_inputs_and_plain_inputs_agree():
    cascade = load_cascade("attention-1-pass")
    plain = attention_inputs(1, 4, 3, 12, 5)
    tiled = {"Q": plain["Q"], "BK": plain["K"].reshape(4, 3, 4), "BV": plain["V"].reshape(3, 3, 4)}
    a, b = run(cascade, plain, sizes={"M0": 4}), run(cascade, tiled)
    assert a.keys() == b.keys()
    for tensor in a:
        np.testing.assert_array_equal(a[tensor], b[tensor])
    assert a["RM"].shape == (4, 5)
    assert np.isneginf(a["RM"][0]).all()
    np.testing.assert_array_equal(a["RM"][3], (plain["Q"].T @ plain["K"]).max(axis=1))


def test_sizes_may_name_any_two_of_a_family():
    cascade = load_cascade("attention-2-pass")
    inputs = attention_inputs(1, 4, 3, 12, 5)
    for sizes in ({"M0": 4}, {"M1": 3}, {"M": 12, "M1": 3}, {"M": 12, "M1": 3, "M0": 4}):
        assert run(cascade, inputs, sizes=sizes)["LM"].shape == (3, 5)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(np.float32, np.float32), (np.float64, np.float64), (np.float16, np.float16), (np.int64, np.float64)],
)
def test_type_follows_inputs(given, expected):
    inputs = {k: np.round(v).astype(given) for k, v in attention_inputs(3, 2, 2, 4, 3).items()}
    out = run(load_cascade("attention-1-pass"), inputs, sizes={"M0": 2})
    assert {array.dtype for array in out.values()} == {np.dtype(expected)}


# ---------------------------------------------------------------- element by element


def at(subscripts, env, sizes):
    found = []
    for s in subscripts:
        found.append(
            env[s.rank] + s.shift if isinstance(s, Var) else s.value if isinstance(s, Const) else sizes[s.rank]
        )
    return tuple(found)


COMPARE = {"lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "eq": operator.eq}


def point(expression, env, store, sizes):
    """Value of an expression at one point, from a table of elements."""
    if isinstance(expression, Number):
        return np.float64(expression.value)
    if isinstance(expression, Access):
        return store[expression.tensor, at(expression.subscripts, env, sizes)]
    if isinstance(expression, Index):
        return float(env[expression.rank])
    if isinstance(expression, Extent):
        return float(sizes[expression.rank])
    operands = [point(o, env, store, sizes) for o in expression.operands]
    if expression.operator == "where":
        return operands[1] if operands[0] else operands[2]
    if expression.operator in COMPARE:
        return 1.0 if COMPARE[expression.operator](*operands) else 0.0
    return OPERATORS[expression.operator].numpy(*operands)


def fold(einsum, reductions, env, store, sizes):
    """The last reduction is the outermost loop."""
    if not reductions:
        return point(einsum.expression, env, store, sizes)
    *inner, last = reductions
    operator = OPERATORS[last.operator]
    value = np.float64(operator.identity)
    for i in range(sizes[last.rank]):
        value = operator.numpy(value, fold(einsum, inner, {**env, last.rank: i}, store, sizes))
    return value


def write(einsum, env, store, sizes):
    free = [r for r in einsum.output.ranks if r not in env]
    for values in itertools.product(*(range(sizes[r]) for r in free)):
        here = {**env, **dict(zip(free, values, strict=True))}
        target = einsum.name, at(einsum.output.subscripts, here, sizes)
        store[target] = fold(einsum, list(einsum.reductions), here, store, sizes)


def brute(cascade, arrays, sizes):
    """Literally: init; the body for each value of the iterative rank, in order; final; all per element."""
    store = {(t, i): np.float64(x) for t, array in arrays.items() for i, x in np.ndenumerate(array)}
    with np.errstate(all="ignore"):
        for einsum in cascade.init:
            write(einsum, {}, store, sizes)
        if cascade.stop:
            (stop,) = cascade.stop
            for i in range(sizes[stop.rank]):
                for einsum in cascade.body:
                    write(einsum, {stop.rank: i}, store, sizes)
        else:
            for einsum in cascade.body:
                write(einsum, {}, store, sizes)
        for einsum in cascade.final:
            write(einsum, {}, store, sizes)
    return store


def assert_same(out, store):
    for tensor, array in out.items():
        for index, value in np.ndenumerate(array):
            if (tensor, index) in store:
                np.testing.assert_allclose(value, store[tensor, index], rtol=1e-9, atol=1e-9, err_msg=tensor)
            else:
                assert np.isnan(value)


@pytest.mark.parametrize("name", ATTENTION)
def test_published_cascades_element_by_element(name):
    cascade = load_cascade(name)
    sizes = {"E": 2, "F": 3, "M": 6, "P": 2} | ({"M1": 3, "M0": 2} if cascade.partitions else {})
    rng = np.random.default_rng(5)
    arrays = {t: rng.normal(size=[sizes[r] for r in cascade.ranks_of[t]]) for t in cascade.inputs}
    assert_same(run(cascade, arrays), brute(cascade, arrays, sizes))


RANKS = ("I", "J", "K")
TENSORS = {"A": ("I", "J"), "B": ("J", "K"), "C": ("I",), "D": ("K", "J", "I"), "S": ()}
LEAVES = st.one_of(
    st.sampled_from([Access(t, tuple(Var(r) for r in ranks)) for t, ranks in TENSORS.items()]),
    st.sampled_from([Access("A", (Const(0), Var("J"))), Access("D", (Var("K"), Var("J"), Const(1)))]),
    st.sampled_from([Access("W", (Var("I", 1), Var("I"))), Access("W", (Var("I"), Var("I")))]),
    st.sampled_from([Number(0.5), Number(2.0), Number(-1.0)]),
    st.sampled_from([kind(rank) for kind in (Index, Extent) for rank in RANKS]),
)


def applied(children):
    binary = st.sampled_from(["add", "sub", "mul", "mul", "mul", "max", "min", "div"])
    unary = st.sampled_from(["neg", "exp", "tanh", "sigmoid", "abs"])
    compare = st.sampled_from(["lt", "le", "gt", "ge", "eq"])
    return st.one_of(
        st.builds(lambda o, a, b: Apply(o, (a, b)), compare, children, children),
        st.builds(lambda c, a, b: Apply("where", (c, a, b)), children, children, children),
        st.builds(lambda o, a, b: Apply(o, (a, b)), binary, children, children),
        st.builds(lambda o, a: Apply(o, (a,)), unary, children),
    )


@st.composite
def small_einsums(draw):
    expression = draw(st.recursive(LEAVES, applied, max_leaves=5))
    ranks = list(dict.fromkeys(r for a in accesses(expression) for r in a.ranks))
    ranks = draw(st.permutations(ranks))
    kept = draw(st.integers(0, len(ranks)))
    operators = st.sampled_from(["add", "add", "max", "min", "mul"])
    indices = dict.fromkeys(r for leaf in leaves(expression) for r in leaf.ranks if r not in ranks)
    output = Access("Y", tuple(Var(r) for r in (*ranks[:kept], *indices)))
    return Einsum(output, expression, tuple(Reduction(r, draw(operators)) for r in ranks[kept:]))


@settings(max_examples=50, deadline=None)
@given(einsum=small_einsums(), seed=st.integers(0, 2**32 - 1), extents=st.tuples(*[st.integers(2, 4)] * 3))
def test_random_einsums_element_by_element(einsum, seed, extents):
    sizes = dict(zip(RANKS, extents, strict=True))
    ranks_of = {**TENSORS, "W": ("I", "I"), "Y": tuple(einsum.output.ranks)}
    cascade = Cascade("random", tuple(Declaration(t, r) for t, r in ranks_of.items()), (einsum,))
    rng = np.random.default_rng(seed)
    arrays = {t: rng.uniform(0.5, 1.5, size=[sizes[r] for r in ranks]) for t, ranks in TENSORS.items()}
    if any(a.tensor == "W" and a.subscripts[0] == Var("I", 1) for a in accesses(einsum.expression)):
        with pytest.raises(InputError, match="has no value"):
            run(cascade, {**arrays, "W": np.ones((sizes["I"], sizes["I"]))})
        return
    arrays["W"] = rng.uniform(0.5, 1.5, size=(sizes["I"], sizes["I"]))
    store = brute(cascade, arrays, sizes)
    expected = np.array([v for (t, _), v in store.items() if t == "Y"])
    if np.isfinite(expected).all() and np.abs(expected).max() < 1e6:
        assert_same(run(cascade, arrays), store)


# ---------------------------------------------------------------- iteration in general


def test_a_linear_recurrence_with_several_state_tensors():
    cascade = parse_cascade("""
        declaration: {A: [T], X: [T, N], H: [T, N], G: [T, N], Y: [T], Z: [N]}
        init: ["H[0, n] = 0", "G[0, n] = 1"]
        expressions:
          - Y[t] = H[t+1, n] * G[t, n]
          - H[t+1, n] = A[t] * H[t, n] + G[t, n] * X[t, n]
          - G[t+1, n] = G[t, n] + H[t, n]
        final: ["Z[n] = H[T, n]"]
        stop: t >= T
    """)
    rng = np.random.default_rng(2)
    a, x = rng.normal(size=5), rng.normal(size=(5, 3))
    h, g, y = np.zeros(3), np.ones(3), []
    for t in range(5):
        new = a[t] * h + g * x[t]
        y.append(new @ g)
        h, g = new, g + h
    out = run(cascade, {"A": a, "X": x})
    np.testing.assert_allclose(out["Y"], y, rtol=1e-13)
    np.testing.assert_allclose(out["Z"], h, rtol=1e-13)


def test_einsums_before_between_and_after_the_iterations():
    cascade = parse_cascade("""
        declaration: {A: [M], S: [], N: [M], R: [M], W: [M], T: []}
        init: ["R[0] = 0"]
        expressions:
          - S = A[m]
          - N[m] = A[m] / S
          - R[m+1] = R[m] + N[m]
          - W[m] = R[m+1] * R[M]
          - T = W[m]
        stop: m >= M
    """)
    a = np.arange(1.0, 6.0)
    out = run(cascade, {"A": a})
    np.testing.assert_allclose(out["R"], [0, *np.cumsum(a / a.sum())], rtol=1e-14)
    np.testing.assert_allclose(out["T"], np.cumsum(a / a.sum()).sum(), rtol=1e-14)


def test_nested_iterative_ranks():
    """A recurrence over two ranks: the number of monotone lattice paths, weighted."""
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
    left = Einsum(Access("X", (Var("I", 1), Const(0))), Access("L", (Var("I"),)))
    top = Einsum(Access("X", (Const(0), Var("J", 1))), Number(1.0))
    cascade = Cascade(
        "paths",
        (Declaration("W", ("I", "J")), Declaration("L", ("I",)), Declaration("X", ("I", "J"))),
        (cell,),
        init=(left, top),
        stop=(Stop("I", Size("I")), Stop("J", Size("J"))),
    )
    w = np.random.default_rng(0).uniform(size=(4, 3))
    x = np.full((5, 4), np.nan)
    x[1:, 0], x[0, 1:] = 2.0, 1.0
    for i, j in itertools.product(range(4), range(3)):
        x[i + 1, j + 1] = w[i, j] * (x[i, j + 1] + x[i + 1, j])
    np.testing.assert_allclose(run(cascade, {"W": w, "L": np.full(4, 2.0)})["X"], x, rtol=1e-14)


def test_stop_at_a_constant():
    text = """
        declaration: {X: [N], Y: [T, N]}
        init: ["Y[0, n] = X[n]"]
        expressions: ["Y[t+1, n] = Y[t, n] * Y[t, n]"]
        stop: t >= 3
    """
    out = run(parse_cascade(text), {"X": np.array([2.0, 3.0])})
    np.testing.assert_array_equal(out["Y"], [[2, 3], [4, 9], [16, 81], [256, 6561]])


def test_a_view_of_a_computed_tensor():
    cascade = parse_cascade("""
        declaration: {X: [D, M], WK: [D, E], K: [E, M], BK: [E, M1, M0], Y: [E, M1]}
        partition: {M: [M1, M0]}
        expressions:
          - "Y[e, m1] = BK[e, m1, m0] :: reduce(m0) max"
          - K[e, m] = X[d, m] * WK[d, e]
    """)
    cascade = replace(cascade, views=(("BK", "K"),))
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(3, 6)), rng.normal(size=(3, 2))
    out = run(cascade, {"X": x, "WK": w}, sizes={"M0": 2})
    np.testing.assert_allclose(out["Y"], (w.T @ x).reshape(2, 3, 2).max(axis=2), rtol=1e-13)


def test_views_with_parts_in_any_place():
    cascade = parse_cascade("""
        declaration: {BX: [M1, E, M0], Y: [E]}
        partition: {M: [M1, M0]}
        views: {BX: X}
        expressions: ["Y[e] = BX[m1, e, m0]"]
    """)
    x = np.arange(12.0).reshape(6, 2)
    np.testing.assert_array_equal(run(cascade, {"X": x}, sizes={"M1": 3})["Y"], x.sum(axis=0))


def test_a_matrix_product_does_not_build_the_product():
    cascade = parse_cascade("""
        declaration: {A: [M, K], B: [K, N], C: [N], D: [M], Y: [M, N]}
        expressions: ["Y[m, n] = exp(A[m, k] - D[m]) * B[k, n] * C[n]"]
    """)
    rng = np.random.default_rng(0)
    a, b, c, d = (
        rng.normal(size=(600, 600)),
        rng.normal(size=(600, 600)),
        rng.normal(size=600),
        rng.normal(size=600),
    )
    expected = (np.exp(a - d[:, None]) @ b) * c
    out = run(cascade, {"A": a, "B": b, "C": c, "D": d})  # 1.7 GB if built
    np.testing.assert_allclose(out["Y"], expected, rtol=1e-9, atol=1e-9)


def test_infinities_are_silent():
    cascade = parse_cascade("""
        declaration: {X: [N], Y: [N], Z: []}
        expressions: ["Y[n] = exp(-inf - X[n])", "Z = exp(X[n])"]
    """)
    out = run(cascade, {"X": np.array([-1e3, 0.0, 1e3])})
    assert (out["Y"] == 0).all()
    assert np.isposinf(out["Z"])


# ---------------------------------------------------------------- unusable input

GOOD = {"Q": np.ones((2, 3)), "K": np.ones((2, 4)), "V": np.ones((5, 4))}


@pytest.mark.parametrize(
    ("change", "sizes", "fragments"),
    [
        ({"K": None}, {"M0": 2}, ["input BK is missing", "BK[E, M1, M0] or K[E, M]", "given: Q, V"]),
        ({"K": None, "k": np.ones((2, 4))}, {"M0": 2}, ["unknown input 'k'"]),
        ({"AV": np.ones((5, 3))}, {"M0": 2}, ["unknown input 'AV'"]),
        ({"BK": np.ones((2, 2, 2))}, {"M0": 2}, ["both BK and K"]),
        ({"K": np.ones(4)}, {"M0": 2}, ["input K has 1 axes", "expected 2", "K[E, M]"]),
        ({"K": np.ones((3, 4))}, {"M0": 2}, ["rank E of input K has size 3", "expected 2", "input Q"]),
        ({"V": np.ones((5, 6))}, {"M0": 2}, ["rank M of input V has size 6", "expected 4"]),
        ({"Q": np.ones((2, 0))}, {"M0": 2}, ["rank P of input Q is empty"]),
        ({"Q": np.ones((2, 3), dtype=complex)}, {"M0": 2}, ["input Q holds values of type complex128"]),
        ({"Q": [[1.0], [2.0, 3.0]]}, {"M0": 2}, ["input Q is not an array"]),
        ({"Q": "text"}, {"M0": 2}, ["input Q holds values"]),
        ({}, {}, ["rank M0 has no size", "sizes={'M0': ...}"]),
        ({}, {"M0": 3}, ["rank M has size 4, which is not a multiple of 3", "M = M1*M0"]),
        ({}, {"M0": 2, "M1": 3}, ["rank M of input K has size 4; expected 6"]),
        ({}, {"M0": 0}, ["size of rank M0 is 0"]),
        ({}, {"M0": 2.0}, ["size of rank M0 is 2.0"]),
        ({}, {"M0": 2, "E": 7}, ["rank E of input Q has size 2; expected 7", "sizes given"]),
        ({}, {"M0": 2, "X": 7}, ["unknown rank 'X'"]),
    ],
)
def test_unusable_inputs(change, sizes, fragments):
    inputs = {k: v for k, v in {**GOOD, **change}.items() if v is not None}
    with pytest.raises(InputError) as caught:
        run(load_cascade("attention-1-pass"), inputs, sizes=sizes)
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_nearest_input_is_named():
    cascade = parse_cascade("{declaration: {QUERY: [P], Y: [P]}, expressions: ['Y[p] = QUERY[p]']}")
    with pytest.raises(InputError, match="did you mean 'QUERY'"):
        run(cascade, {"QUERRY": np.ones(2)})


A, Y = Access("A", (Var("M"),)), Access("Y", (Var("M"),))


def cascade_of(*einsums, **more):
    declarations = (Declaration("A", ("M",)), Declaration("Y", ("M",)), Declaration("Z", ("M",)))
    return Cascade("hand", declarations, einsums, **more)


STEP = Einsum(Access("Y", (Var("M", 1),)), Apply("add", (Y, A)))


@pytest.mark.parametrize(
    ("cascade", "message"),
    [
        (cascade_of(Einsum(Y, Access("A", (Var("M", -1),)))), "reads A at m = -1"),
        (cascade_of(Einsum(Y, Access("A", (Var("M", 1),)))), "reads A at m = 3"),
        (cascade_of(Einsum(Y, Access("A", (Const(9),)))), "reads A at m = 9"),
        (cascade_of(Einsum(Y, Access("A", (Size("M"),)))), "reads A at m = 3"),
        (cascade_of(Einsum(Access("Y", (Var("M", -1),)), A)), "outside its ranks"),
        (cascade_of(Einsum(Access("Y", (Size("M"),)), A, (Reduction("M", "add"),))), "outside its ranks"),
        (cascade_of(STEP, init=(Einsum(Access("Y", (Const(0),)), Number(0.0)),)), "needs a stop condition"),
        (cascade_of(STEP, stop=(Stop("M", Size("M")),)), "reads Y at m = 0, where it has no value"),
        (cascade_of(Einsum(Y, Access("Z", (Var("M"),))), Einsum(Access("Z", (Var("M"),)), Y)), "circle"),
        (cascade_of(Einsum(Y, A), stop=(Stop("M", Const(9)),)), "stops at 9"),
        (cascade_of(Einsum(Y, A), stop=(Stop("M", Size("N")),)), "rank N, where M stops, has no size"),
        (cascade_of(Einsum(Y, Access("B", (Var("M"),)))), "unknown tensor 'B'"),
        (cascade_of(Einsum(Y, Access("A"))), "A has 0 subscripts; expected 1"),
        (cascade_of(Einsum(Y, Apply("addd", (A, A)))), "did you mean 'add'"),
        (
            cascade_of(Einsum(Access("Y", (Const(0),)), A, (Reduction("M", "sub"),))),
            "unknown reduction 'sub'",
        ),
        (cascade_of(Einsum(Access("Y", (Const(0),)), A)), "either on the left or reduced"),
        (cascade_of(Einsum(Y, A, (Reduction("M", "add"),))), "either on the left or reduced"),
        (cascade_of(Einsum(Y, A, (Reduction("N", "add"),))), "reduces rank N"),
        (cascade_of(Einsum(Access("Y", (Var("N"),)), Number(1.0))), "rank N of Y has no size"),
    ],
)
def test_unusable_cascades(cascade, message):
    inputs = {name: np.ones(3) for name in cascade.inputs}
    with pytest.raises(InputError) as caught:
        run(cascade, inputs)
    assert message in str(caught.value)


def test_more_unusable_cascades():
    twice = replace(
        cascade_of(Einsum(Access("Y", (Var("M"), Var("M"))), Access("A", (Var("M"),)))),
        declarations=(Declaration("A", ("M",)), Declaration("Y", ("M", "M"))),
    )
    with pytest.raises(InputError, match="variable twice"):
        run(twice, {"A": np.ones(3)})
    big = Cascade("big", (Declaration("Y", ("M", "N")),), (Einsum(Access("Y", (Var("M"), Var("N"))), Number(0.0)),))
    with pytest.raises(InputError, match="choose smaller"):
        run(big, {}, sizes={"M": 10**12, "N": 10**12})
    view = Cascade(
        "view",
        (Declaration("K", ("M", "E")), Declaration("B", ("E", "M1", "M0")), Declaration("Y", ("E",))),
        (Einsum(Access("Y", (Var("E"),)), Access("B", (Var("E"), Const(0), Const(0)))),),
        partitions=(Partition("M", ("M1", "M0")),),
        views=(("B", "K"),),
    )
    with pytest.raises(InputError, match="no view of K"):
        run(view, {"K": np.ones((4, 2))}, sizes={"M0": 2})
