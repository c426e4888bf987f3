"""Indices, sizes, comparisons and choices as values: masks and positions, through every reader of an expression."""

import numpy as np
import pytest

from einsum_cascades.errors import InputError
from einsum_cascades.graph import to_dot
from einsum_cascades.instrumented import visits
from einsum_cascades.interpreter import run
from einsum_cascades.ir import Access, Apply, Cascade, Declaration, Einsum, Extent, Index, Number, Var, leaves
from einsum_cascades.latex import einsum_latex
from einsum_cascades.load import parse_cascade
from einsum_cascades.operations import total
from einsum_cascades.parser import parse_einsum
from einsum_cascades.passes import analyse_passes
from einsum_cascades.printer import einsum_text
from einsum_cascades.rewrites import PartitionRank, compare, is_isomorphic, separate
from einsum_cascades.rewrites.stability import risks


def cascade_of(declaration, *expressions, more=""):
    lines = ["name: mine", f"declaration: {{{declaration}}}", "expressions:"]
    return parse_cascade("\n".join([*lines, *(f"  - '{e}'" for e in expressions), more]))


def right(text):
    return parse_einsum(text).expression


# ---------------------------------------------------------------- what a name stands for


def test_variables_and_ranks_outside_brackets():
    a, m = Access("A", (Var("M"),)), Index("M")
    assert right("Y[m] = A[m] * m") == Apply("mul", (a, m))
    assert right("Y[m] = A[m] * M") == Apply("mul", (a, Extent("M")))
    assert right("Y[m+1] = m + 1") == Apply("add", (m, Number(1)))
    assert right("Y[0] = A[M]") == Access("A", parse_einsum("Y = A[M]").inputs[0].subscripts)


def test_without_declarations_only_walked_ranks_are_values():
    assert right("Y[m] = A[m] * k + K") == Apply(
        "add", (Apply("mul", (Access("A", (Var("M"),)), Access("k"))), Access("K"))
    )
    assert right("Y[m] = A[m] * m[] + M[]") == Apply(
        "add", (Apply("mul", (Access("A", (Var("M"),)), Access("m"))), Access("M"))
    )


def test_a_declared_tensor_wins():
    cascade = cascade_of("A: [M], m: [], M: [], Y: [M]", "Y[m] = A[m] * m + M")
    assert cascade.inputs == ("A", "m", "M")
    assert {a.tensor for a in cascade.body[0].inputs} == {"A", "m", "M"}
    assert parse_cascade(str(cascade)) == cascade


def test_a_size_needs_no_walk():
    cascade = cascade_of("X: [P, M], S: [P], MU: [P]", "S[p] = X[p, m]", "MU[p] = S[p] / M")
    assert cascade.inputs == ("X",)
    x = np.random.default_rng(0).normal(size=(3, 7))
    np.testing.assert_allclose(run(cascade, {"X": x})["MU"], x.mean(axis=1))


@pytest.mark.parametrize(
    ("declaration", "text", "column", "message", "hint"),
    [
        ("A: [M], B: [P], Y: [M]", "Y[m] = A[m] + p", 20, "'p' is an index here, but no subscript walks", "Einsum: m"),
        ("A: [M], Y: [M]", "Y[m] = A[m] + q", 20, "unknown tensor 'q'", ""),
        ("A: [M], Y: [M]", "Y[m] = A[m] + Q", 20, "unknown tensor 'Q'", ""),
        ("A: [M], Y: []", "Y = m", 10, "'m' is an index here", "none"),
        ("A: [M, P], Y: [M, P]", "Y[m, p] = m", 11, "'p' is on the left but nothing on the right walks", "right: m"),
    ],
)
def test_misuse_points_at_its_cause(declaration, text, column, message, hint):
    with pytest.raises(InputError) as caught:
        cascade_of(declaration, text)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert (caught.value.location.line, caught.value.location.column) == (4, column)


def test_hand_made_einsums_are_checked_too():
    walks_not = Cascade(
        "c", (Declaration("A", ("M",)), Declaration("Y", ())), (Einsum(Access("Y"), Index("M")),), title=""
    )
    with pytest.raises(InputError, match="Y does not walk over 'm'"):
        run(walks_not, {"A": np.ones(3)})
    no_size = Cascade("c", (Declaration("Y", ()),), (Einsum(Access("Y"), Extent("K")),))
    with pytest.raises(InputError, match="rank K of Y has no size"):
        run(no_size, {})


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Y[m, p] = m <= p", lambda m, p, a: m <= p),
        ("Y[m, p] = where(m == P - 1 - p, 7, -inf)", lambda m, p, a: np.where(m == 3 - p, 7, -np.inf)),
        ("Y[m, p] = (a[m, p] > 0) + (a[m, p] > 1) - (m >= 2)", lambda m, p, a: (a > 0) * 1.0 + (a > 1) - (m >= 2)),
        ("Y[m, p] = where(a[m, p] < 0, 1 / (m - m), a[m, p])", lambda m, p, a: np.where(a < 0, np.inf, a)),
        ("Y[m, p] = where(p < 2, a[m, p], 0 * -inf)", lambda m, p, a: np.where(p < 2, a, np.nan)),
        ("Y[m, p] = where(2 * (m == 1), -inf, abs(a[m, p]))", lambda m, p, a: np.where(m == 1, -np.inf, abs(a))),
        ("Y[m, p] = a[m, p] * (m - p) / (M * P)", lambda m, p, a: a * (m - p) / 20),
    ],
)
def test_values_against_numpy(text, expected):
    cascade = cascade_of("a: [M, P], Y: [M, P]", text)
    a = np.random.default_rng(1).normal(size=(5, 4))
    m, p = np.meshgrid(np.arange(5.0), np.arange(4.0), indexing="ij")
    with np.errstate(all="ignore"):
        wanted = np.asarray(expected(m, p, a), dtype=float)
    np.testing.assert_array_equal(run(cascade, {"a": a})["Y"], wanted)
    np.testing.assert_array_equal(visits(cascade, {"a": a}, "M").values["Y"], wanted)


def test_indices_are_exact_in_half_precision():
    cascade = cascade_of("A: [M], Y: [M]", "Y[m] = where(m == M - 1, A[m], 0)")
    found = run(cascade, {"A": np.ones(5000, dtype=np.float16)})["Y"]
    assert found.dtype == np.float16
    assert np.flatnonzero(found).tolist() == [4999]


def test_the_value_not_chosen_has_no_influence():
    cascade = cascade_of("A: [M], B: [M], Y: []", "Y = where(A[m] > 0, B[m], 0)")
    found = run(cascade, {"A": np.array([1.0, -1.0, -1.0, -1.0]), "B": np.array([2.0, np.inf, np.nan, -np.inf])})
    assert found["Y"] == 2.0


def test_the_index_of_an_iterative_rank():
    """T[i+1] = T[i] + i gives i (i - 1) / 2."""
    cascade = parse_cascade(
        "declaration: {T: [I], Y: []}\ninit: ['T[0] = 0']\nexpressions: ['T[i+1] = T[i] + i']\n"
        "final: ['Y = T[I] / I']\nstop: i >= I"
    )
    found = run(cascade, {}, sizes={"I": 6})
    assert found["T"].tolist() == [0, 0, 1, 3, 6, 10, 15]
    assert found["Y"] == 2.5


# ---------------------------------------------------------------- readers of expressions


def test_text_and_latex():
    einsum = parse_einsum("Y[m, p] = where(m <= p + (M - P), A[m, p], -inf)")
    assert einsum_text(einsum, unicode=True) == "Y[m, p] = where(m ≤ p + (M − P), A[m, p], −∞)"
    assert einsum_latex(einsum) == (
        r"Y_{m, p} = \mathrm{where}\left(\left[m \leq p + \left(M - P\right)\right], A_{m, p}, -\infty\right)"
    )
    assert einsum_latex(parse_einsum("Y[m1] = abs(A[m1]) * (m1 == M1 - 1)")) == (
        r"Y_{m_{1}} = \left|A_{m_{1}}\right| \times \left[m_{1} = M_{1} - 1\right]"
    )


MASKED = "A: [M, P], Y: [P]", "Y[p] = where(m <= p + (M - P), A[m, p], 0) * (m - p)"


def test_an_index_is_no_tensor():
    cascade = cascade_of(*MASKED)
    assert cascade.inputs == ("A",)
    assert to_dot(cascade).count("ellipse") == 1
    assert analyse_passes(cascade).tensor_passes == {"A": 1}
    assert total(cascade, {"M": 5, "P": 3}) == {"max": 30, "mac": 15}


def test_a_mask_may_be_a_tensor():
    """It is computed, walks the rank, and moves like any other intermediate."""
    cascade = cascade_of("A: [M, P], MASK: [M, P], Y: [P]", "MASK[m, p] = m <= p", "Y[p] = A[m, p] * MASK[m, p]")
    a = np.random.default_rng(2).normal(size=(4, 6))
    np.testing.assert_allclose(run(cascade, {"A": a})["Y"], np.triu(a).sum(axis=0))
    assert analyse_passes(cascade).passes == 1


def test_partition_writes_the_index_out():
    cascade = cascade_of(*MASKED)
    (rewrite,) = PartitionRank.candidates(cascade, "M")
    tiled = rewrite.apply(cascade)
    assert "where(m1 * M0 + m0 <= p + (M - P), BA[m1, m0, p], 0) * (m1 * M0 + m0 - p)" in str(tiled)
    assert parse_cascade(str(tiled)) == tiled
    assert compare(cascade, tiled).error < 1e-14


def test_partition_keeps_clear_of_lower_case_tensors():
    cascade = cascade_of("A: [M], m1: [], Y: []", "Y = A[m] * m * m1")
    (rewrite,) = PartitionRank.candidates(cascade, "M")
    assert rewrite.parts == ("M1_2", "M0")
    assert parse_cascade(str(rewrite.apply(cascade))) == rewrite.apply(cascade)


def test_equality_up_to_names_tells_indices_and_sizes_apart():
    def variant(text, ranks=("M", "P")):
        return cascade_of(f"A: [{', '.join(ranks)}], Y: [{', '.join(ranks)}]", text)

    base = variant("Y[m, p] = A[m, p] * (m < p + P)")
    assert is_isomorphic(base, variant("Y[k, j] = A[k, j] * (k < j + J)", ("K", "J")))
    for text in ("(p < m + P)", "(m < p + M)", "(m <= p + P)", "(m < P + P)", "(m < p + p)"):
        assert not is_isomorphic(base, variant(f"Y[m, p] = A[m, p] * {text}"))


def test_an_index_stays_inside_the_reduction_like_an_access():
    a, y, m = Access("A", (Var("M"), Var("P"))), Access("y", (Var("P"),)), Index("M")
    expression = right("Y[m, p] = exp(A[m, p] + 0.5 * (m - p) - y[p]) * M")
    (term,) = separate(expression, frozenset({y}), frozenset({a, m}))
    assert m not in set(leaves(term.coefficient))
    assert y not in set(leaves(term.basis))
    assert separate(right("Y[m, p] = tanh(m - y[p])"), frozenset({y}), frozenset({m})) is None


# ---------------------------------------------------------------- stability


@pytest.mark.parametrize(
    ("expressions", "risky"),
    [
        (["G = where(m < p, X[m, p], -inf) :: reduce(m, p) max", "Y = exp(where(m < p, X[m, p], -inf) - G)"], False),
        (["G = X[m, p] :: reduce(m, p) max", "Y = exp(X[m, p] - max(G, -1e+30))"], False),
        (["G = X[m, p] :: reduce(m, p) max", "Y = exp(where(m < p, X[m, p], -inf) - G)"], False),
        (["G = X[m, p] :: reduce(m, p) max", "Y = exp(min(X[m, p], 5) - G)"], False),
        (["G = X[m, p] :: reduce(m, p) max", "Y = exp(X[m, p] - min(G, 5))"], True),
        (["G = X[m, p] :: reduce(m, p) max", "Y = exp(max(X[m, p], 5) - G)"], True),
        (["G = X[m, p] :: reduce(m, p) max", "Y = exp(X[m, p] - where(G > 0, G, 0))"], True),
        (["G = X[m, p] :: reduce(m, p) max", "Y = exp((X[m, p] < 3) - (G > 2))"], False),
        (["G = X[m, p] :: reduce(m, p) max", "Y = exp(abs(G))"], True),
        (["G = X[m, p] :: reduce(m, p) max", "Y = exp(-abs(G))"], False),
        (["G = X[m, p] :: reduce(m, p) max", "Y = exp(m - M) * X[m, p]"], True),
    ],
)
def test_risks_of_choices(expressions, risky):
    cascade = cascade_of("X: [M, P], G: [], Y: []", *expressions)
    assert bool(risks(cascade)) == risky
