"""Single rewrites, separability, stability and equality up to names."""

import itertools
import random
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.interpreter import run
from einsum_cascades.ir import Access, Apply, Cascade, Einsum, Number, Var
from einsum_cascades.load import load_cascade, parse_cascade
from einsum_cascades.parser import parse_einsum
from einsum_cascades.passes import analyse_passes
from einsum_cascades.rewrites import (
    CorrectLocally,
    Defer,
    Iterate,
    PartitionRank,
    compare,
    derive,
    is_isomorphic,
    risks,
    separate,
)
from einsum_cascades.rewrites.separability import combined, correction, finite_at_start
from einsum_cascades.rewrites.symbolic import NotExpressible, Symbols, distinct_accesses, evaluate

X, Y, Y0, T = (Access(name) for name in ("x", "y", "y0", "t"))


def expression(text):
    return parse_einsum(f"r = {text}").expression


def cascade_of(declaration, *expressions):
    lines = ["name: mine", f"declaration: {{{declaration}}}", "expressions:"]
    return parse_cascade("\n".join([*lines, *(f"  - '{e}'" for e in expressions)]))


# ---------------------------------------------------------------- separability


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("exp(x - y)", 1),
        ("exp((x - y) / t) * x", 1),
        ("x / y", 1),
        ("x * t", 1),
        ("x * y + x", 1),
        ("(x + 1) * (y + 1)", 1),
        ("x * y + x + y + 1", 1),
        ("sqrt(y) * tanh(x) / exp(y)", 1),
        ("(x - y) * (x - y)", 3),
        ("(x - y) * (x - y) * (x - y) / t", 4),
        ("(x - y) / sqrt(t) * x + 3", 3),
    ],
)
def test_separable_sums(text, terms):
    f = expression(text)
    found = separate(f, frozenset({Y}), frozenset({X}))
    assert len(found) == terms
    for term in found:
        assert X not in distinct_accesses(term.coefficient)
        assert Y not in distinct_accesses(term.basis)
    rng = np.random.default_rng(1)
    values = {a: rng.uniform(0.2, 3, 50) for a in (X, Y, T)}
    np.testing.assert_allclose(evaluate(combined(found, "add"), values), evaluate(f, values), rtol=1e-10)


@pytest.mark.parametrize(
    "text",
    [
        "tanh(x - y)",
        "1 / (x + y)",
        "sqrt(x + y)",
        "log(x * y) * x",
        "max(x, y)",
        "exp(x * y)",
        "sigmoid(x - y)",
        "-inf + x * y",
    ],
)
def test_inseparable_sums(text):
    assert separate(expression(text), frozenset({Y}), frozenset({X})) is None


@pytest.mark.parametrize(
    ("text", "separates"), [("x - y", True), ("x * t - y / t", True), ("x * y", False), ("exp(x - y)", False)]
)
def test_maxima_separate_by_addition(text, separates):
    found = separate(expression(text), frozenset({Y}), frozenset({X}), "max")
    assert (found is not None) == separates


def test_a_product_is_not_separated():
    assert separate(expression("x * y"), frozenset({Y}), frozenset({X}), "mul") is None


def test_the_correction_of_a_running_softmax():
    (term,) = separate(expression("exp((x - y) / t)"), frozenset({Y}), frozenset({X}))
    factor = correction(term, "add", {Y: Y0}, {})
    assert factor == expression("exp((y0 - y) / t)")
    assert finite_at_start(factor, {Y0: -np.inf}, "add")


def test_a_correction_that_divides_by_nothing():
    """Z[i+1] = Z[i] * Y[i+1] / Y[i] has no first step when Y starts from 0."""
    (term,) = separate(expression("x * y"), frozenset({Y}), frozenset({X}))
    factor = correction(term, "add", {Y: Y0}, {})
    assert factor == expression("y / y0")
    assert not finite_at_start(factor, {Y0: 0.0}, "add")


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_sympy_and_back(data):
    """Expressions keep their values through SymPy."""
    leaves = st.sampled_from([X, Y, T, Number(2.0), Number(0.5), Number(-3.0)])
    operators = st.sampled_from(["add", "sub", "mul", "div", "max", "min"])
    unary = st.sampled_from(["neg", "exp", "sqrt", "tanh", "sigmoid", "log"])
    trees = st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(lambda o, a, b: Apply(o, (a, b)), operators, inner, inner),
            st.builds(lambda o, a: Apply(o, (a,)), unary, inner),
        ),
        max_leaves=6,
    )
    tree = data.draw(trees)
    rng = np.random.default_rng(3)
    values = {a: rng.uniform(0.5, 2, 20) for a in (X, Y, T)}
    with np.errstate(all="ignore"):
        expected = np.broadcast_to(evaluate(tree, values), 20)
    if not np.isfinite(expected).all() or np.abs(expected).max() > 1e6:
        return
    symbols = Symbols([X, Y, T])
    try:
        back = symbols.to_expression(symbols.to_sympy(tree))
    except NotExpressible:  # sqrt(x * x) is an absolute value
        return
    np.testing.assert_allclose(np.broadcast_to(evaluate(back, values), 20), expected, rtol=1e-7, atol=1e-7)


# ---------------------------------------------------------------- single rewrites


def test_partition_only_what_is_whole():
    cascade = load_cascade("attention-3-pass")
    (rewrite,) = PartitionRank.candidates(cascade, "M")
    tiled = rewrite.apply(cascade)
    assert tiled.views == (("BK", "K"), ("BV", "V"))
    assert tiled.ranks_of["QK"] == ("M1", "M0", "P")
    assert list(PartitionRank.candidates(tiled, "M")) == []
    assert list(PartitionRank.candidates(load_cascade("attention-1-pass"), "M1")) == []
    assert compare(cascade, tiled).error <= 1e-14


def test_partition_takes_free_names():
    cascade = cascade_of("M1: [M], BX: [], X: [M], Y: []", "Y = X[m] * M1[m] * BX")
    (rewrite,) = PartitionRank.candidates(cascade, "M")
    tiled = rewrite.apply(cascade)
    assert "M1" not in rewrite.parts
    assert parse_cascade(str(tiled)) == tiled
    assert compare(cascade, tiled).error <= 1e-14


def test_defer_checks_what_it_is_told():
    cascade = cascade_of("X: [M], S: [], Z: []", "S = X[m]", "Z = tanh(X[m] - S)")
    with pytest.raises(ValueError, match="cannot defer S"):
        Defer("Z", ("S",), ("M",)).apply(cascade)
    assert list(Defer.candidates(cascade, "M")) == []


def test_a_constant_moment_counts_by_the_size_of_the_rank():
    cascade = load_cascade("variance")
    (rewrite,) = Defer.candidates(cascade, "M")
    deferred = rewrite.apply(cascade)
    assert not deferred.stop
    assert "* M *" in str(deferred) or "M * " in str(deferred)
    assert (run(deferred, {"X": np.ones((2, 7)), "COUNT": 7.0})["VAR"] == 0).all()


def test_a_product_over_fewer_ranks_is_computed_once():
    """X * G is made per (p, m), not again for every f."""
    deferred = derive(load_cascade("rms-norm")).cascade
    product = next(e for e in deferred.body if e.name == "EZ")
    assert set(product.output.ranks) == {"P", "M"}
    assert next(e for e in deferred.body if e.name == "NZ").ranks == ("P", "F", "M")


def test_local_results_in_two_passes():
    cascade = load_cascade("attention-3-pass")
    tiled = PartitionRank("M", ("M1", "M0")).apply(cascade)
    first, second = CorrectLocally.candidates(tiled, "M")
    assert first.targets == ("GM", "SD")
    assert second.targets == ("GM", "SD", "AV")
    assert is_isomorphic(first.apply(tiled), load_cascade("attention-2-pass"))
    assert analyse_passes(second.apply(tiled)).passes == 1
    assert list(CorrectLocally.candidates(cascade, "M")) == []


def test_iterate_value_by_value():
    """Without tiles, the recurrence runs over the rank itself."""
    cascade = load_cascade("log-sum-exp")
    iterative = Iterate("M").apply(cascade)
    assert iterative.iterative_ranks == ("M",)
    assert iterative.partitions == ()
    assert compare(cascade, iterative, magnitude=1e3).finite
    assert list(Iterate.candidates(iterative, "M")) == []


def test_iterate_mends_a_maximum_by_adding():
    cascade = cascade_of("X: [M], GM: [], H: []", "GM = X[m] :: reduce(m) max", "H = X[m] * X[m] - GM :: reduce(m) max")
    iterative = Iterate("M").apply(cascade)
    assert analyse_passes(iterative).passes == 1
    assert compare(cascade, iterative).error <= 1e-14


def test_a_scale_of_unknown_sign_is_not_iterated():
    """exp((x - max) * t) starts from exp(-inf * t), which is infinite for a negative t."""
    cascade = cascade_of("X: [M], T: [], GM: [], SD: []", "GM = X[m] :: reduce(m) max", "SD = exp((X[m] - GM) * T)")
    assert all(step.name != "iterate" for form in derive(cascade).forms for step in form.steps)


# ---------------------------------------------------------------- stability


def test_risks_of_softmax():
    stable = load_cascade("softmax-matmul")
    assert risks(stable) == ()
    unstable = cascade_of("X: [P, M], D: [P]", "D[p] = exp(X[p, m])")
    (risk,) = risks(unstable)
    assert (risk.tensor, risk.bound) == ("D", 1000)
    assert "exp(X[p, m])" in str(risk)
    assert risks(unstable, magnitude=700) == ()


@pytest.mark.parametrize(
    ("expressions", "risky"),
    [
        (("GM[p] = X[p, m] :: reduce(m) max", "D[p] = exp(X[p, m] - GM[p])"), False),
        (("GM[p] = X[p, m] :: reduce(m) max", "D[p] = exp(GM[p] - X[p, m])"), True),
        (("GM[p] = X[p, m] :: reduce(m) min", "D[p] = exp(GM[p] - X[p, m])"), False),
        (("GM[p] = X[p, m] :: reduce(m) min", "D[p] = exp(X[p, m] - GM[p])"), True),
        (("GM[p] = X[p, m] :: reduce(m) max", "D[p] = exp((X[p, m] - GM[p]) / W)"), False),
        (("GM[p] = X[p, m]", "D[p] = exp(X[p, m] - GM[p])"), True),
        (("GM[p] = tanh(X[p, m])", "D[p] = exp(sigmoid(X[p, m]))"), False),
    ],
)
def test_risks_by_order(expressions, risky):
    cascade = cascade_of("X: [P, M], W: [], GM: [P], D: [P]", *expressions)
    assert bool(risks(cascade)) == risky


@pytest.mark.parametrize("name", ["attention-1-pass", "attention-2-pass", "attention-3-pass-deferred"])
def test_published_cascades_carry_no_risk(name):
    assert risks(load_cascade(name)) == ()


# ---------------------------------------------------------------- equality up to names


def renamed(cascade, seed):
    """A cascade with new names, Einsums and operands of sums and products in another order."""
    rng = random.Random(seed)
    text = str(cascade)
    names = sorted({*cascade.ranks_of, *(p for _, p in cascade.views)}, key=len, reverse=True)
    fresh = dict(zip(names, rng.sample([f"Z{i}" for i in range(len(names))], len(names)), strict=True))
    head, body = text.split("declaration:", 1)
    body = re.sub(r"\b[A-Z][A-Z0-9_]*\b(?=[\[:,}]|$)", lambda m: fresh.get(m[0], m[0]), body, flags=re.M)
    other = parse_cascade(head + "declaration:" + body)
    return replace(other, declarations=tuple(rng.sample(other.declarations, len(other.declarations))))


def swapped(cascade):
    def swap(e):
        if isinstance(e, Apply):
            operands = tuple(map(swap, e.operands))
            return Apply(e.operator, operands[::-1] if e.operator in ("add", "mul", "max") else operands)
        return e

    body = tuple(replace(e, expression=swap(e.expression)) for e in cascade.body)
    return replace(cascade, body=body)


PUBLISHED = ("attention-1-pass", "attention-2-pass", "attention-3-pass", "attention-3-pass-deferred", "cross-entropy")


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_and_order_do_not_count(name):
    cascade = load_cascade(name)
    for seed in range(3):
        assert is_isomorphic(cascade, renamed(cascade, seed))
    assert is_isomorphic(cascade, swapped(cascade))


def test_different_cascades_differ():
    for a, b in itertools.combinations(PUBLISHED, 2):
        assert not is_isomorphic(load_cascade(a), load_cascade(b))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SN[m, p] / SD[p]", "SD[p] / SN[m, p]"),
        ("exp(", "tanh("),
        ("reduce(m) max", "reduce(m) min"),
        ("QK[m, p] - GM[p]", "GM[p] - QK[m, p]"),
        ("A[m, p] * V[f, m]", "SN[m, p] * V[f, m]"),
    ],
)
def test_small_changes_count(old, new):
    text = str(load_cascade("attention-3-pass"))
    assert old in text
    assert not is_isomorphic(load_cascade("attention-3-pass"), parse_cascade(text.replace(old, new)))


def test_alike_nodes_are_told_apart_by_matching():
    """Two rings of three and one ring of six have the same refined colors."""

    def ring(pairs):
        read = [Access(f"X{i}", (Var("M"),)) for i in range(6)]
        terms = [Apply("sub", (Apply("exp", (read[a],)), read[b])) for a, b in pairs]
        body = tuple(Einsum(Access(f"Y{i}", (Var("M"),)), t) for i, t in enumerate(terms))
        names = [*(f"X{i}" for i in range(6)), *(f"Y{i}" for i in range(6))]
        declarations = load_cascade("variance").declarations[:1]
        return Cascade("ring", tuple(replace(declarations[0], tensor=n, ranks=("M",)) for n in names), body)

    six = ring([(i, (i + 1) % 6) for i in range(6)])
    shifted = ring([((i + 2) % 6, (i + 3) % 6) for i in range(6)])
    threes = ring([(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3)])
    assert is_isomorphic(six, shifted)
    assert not is_isomorphic(six, threes)


@pytest.mark.parametrize(
    "scores", ["0.25 * (X[p, m] - GM[p])", "(X[p, m] - GM[p]) / 8", "X[p, m] * 0.125 - GM[p] * 0.125"]
)
def test_a_scale_on_the_scores_does_not_cost_the_maximum(scores):
    """exp(x/8) overflows for large x as exp(x) does: the one-pass form keeps a running maximum."""
    source = cascade_of(
        "X: [P, M], V: [M, F], GM: [P], SN: [P, M], SD: [P], Z: [P, F]",
        "GM[p] = X[p, m] :: reduce(m) max",
        f"SN[p, m] = exp({scores})",
        "SD[p] = SN[p, m]",
        "Z[p, f] = SN[p, m] * V[m, f] / SD[p]",
    )
    found = derive(source, "M")
    assert found.passes == 1
    assert not found.warnings
    generator = np.random.default_rng(3)
    for size in (1e3, 1e5):
        inputs = {"X": size * generator.normal(size=(8, 64)), "V": generator.normal(size=(64, 2))}
        expected = run(source, inputs)["Z"]
        np.testing.assert_allclose(run(found.cascade, inputs, sizes={"M0": 8})["Z"], expected, rtol=1e-9)
