"""Operation counts against counting every operation of an element-by-element run."""

import itertools
import re
from collections import Counter

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Apply
from einsum_cascades.load import load_cascade, parse_cascade
from einsum_cascades.operations import (
    Operation,
    complete_sizes,
    count,
    iterations,
    operations,
    symbolic_operations,
    symbolic_total,
    total,
    work_classes,
)
from einsum_cascades.operators import OPERATORS
from einsum_cascades.parser import parse_einsum

ATTENTION = ("attention-3-pass", "attention-3-pass-deferred", "attention-2-pass", "attention-1-pass")


def tally(einsum, sizes):
    """Walk every point of the iteration space and note each operation that happens there."""
    done = Counter()
    reads = re.compile(r"Access|lt|le|gt|ge|eq|where")

    def visit(expression):
        if isinstance(expression, Apply) and reads.search(repr(expression)):
            for operand in expression.operands:
                visit(operand)
            done[OPERATORS[expression.operator].work_class] += 1

    groups = [
        (name, [r.rank for r in group])
        for name, group in itertools.groupby(einsum.reductions, key=lambda r: r.operator)
    ]
    product = isinstance(einsum.expression, Apply) and einsum.expression.operator == "mul"
    fused = bool(groups) and product and groups[0][0] == "add"

    def fold(depth):
        if depth < 0:
            visit(einsum.expression)
            return
        name, ranks = groups[depth]
        for _ in itertools.product(*(range(sizes[r]) for r in ranks)):
            fold(depth - 1)
            if not (fused and depth == 0):
                done[OPERATORS[name].work_class] += 1

    for _ in itertools.product(*(range(sizes[r]) for r in dict.fromkeys(einsum.output.ranks))):
        fold(len(groups) - 1)
    return dict(done)


SIZES = {"E": 2, "F": 3, "M": 4, "M1": 2, "M0": 2, "P": 3, "I": 3, "J": 2, "K": 4}
TEXTS = [
    "Y[i] = A[i]",
    "Y[i, j] = A[i] * B[j]",
    "Y[i] = A[i, j]",
    "Y = A[i] * B[i]",
    "Y[i] = A[i, k] * B[k, j]",
    "Y[i] = A[i, k] * B[k, j] * C[j]",
    "Y[i] = A[i, k] * B[k, j] :: reduce(k) max",
    "Y[i] = A[i, k] * B[k, j] :: reduce(k, j) max",
    "Y[i] = exp(A[i, k] - B[k]) / C[j] :: reduce(j) max",
    "Y = max(A[i], 3) + sqrt(B[j])",
    "Y[i] = -A[i] * tanh(A[i])",
    "Y[0] = -inf",
    "Y[i, j] = where(i <= j + (J - I), A[i, j] * (i - j + 1), 3)",
    "Y[i] = max(A[i, j] < B[j] - J, i == 2 * j) :: reduce(j) max",
    "Y[i, j] = -(i + J) * exp(1 / I)",
]


@pytest.mark.parametrize("text", TEXTS)
@settings(max_examples=5, deadline=None)
@given(extents=st.tuples(*[st.integers(1, 4)] * 3))
def test_counts_equal_brute_force(text, extents):
    einsum = parse_einsum(text)
    sizes = dict(zip("IJK", extents, strict=True))
    assert count(einsum, sizes) == tally(einsum, sizes)


@pytest.mark.parametrize("name", ATTENTION)
def test_cascades_equal_brute_force_and_symbols(name):
    cascade = load_cascade(name)
    whole = Counter()
    for einsum in cascade.einsums:
        whole.update(tally(einsum, SIZES))
    assert total(cascade, SIZES) == dict(whole)
    numbers = {sympy.Symbol(r, positive=True, integer=True): n for r, n in SIZES.items()}
    symbolic = {key: int(expr.subs(numbers)) for key, expr in symbolic_total(cascade).items()}
    assert symbolic == dict(whole)


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("QK[m, p] = Q[e, p] * K[e, m]", ("mac",)),
        ("LM[m1, p] = BQK[m1, m0, p] :: reduce(m0) max", ("max",)),
        ("SN[m, p] = exp(QK[m, p] - GM[p])", ("add", "exp")),
        ("SD[p] = SN[m, p]", ("add",)),
        ("A[m, p] = SN[m, p] / SD[p]", ("divide",)),
        ("SPD[m1, p] = RD[m1, p] * PRM[m1, p]", ("mac",)),
        ("RM[m1+1, p] = max(RM[m1, p], LM[m1, p])", ("max",)),
        ("RD[m1+1, p] = SLD[m1, p] + SPD[m1, p]", ("add",)),
        ("BK[m] = K[m]", ()),
        ("RM[0, p] = -inf", ()),
        ("QKM[m, p] = where(m <= p + (M - P), QK[m, p], -inf)", ("max", "max")),
        ("QKB[m, p] = QK[m, p] + SLOPE * (m - p)", ("mac", "add")),
        ("A[m, p] = sigmoid(QK[m, p] - log(M))", ("add", "exp")),
        ("MASK[m, p] = m <= p", ("max",)),
        ("Y[m, p] = (m <= p) * (p - m < W)", ("max", "max", "mac")),
    ],
)
def test_work_of_a_point(text, classes):
    assert work_classes(parse_einsum(text)) == classes


def test_later_reductions_fold_what_is_left():
    found = operations(parse_einsum("Y[i] = A[i, k] * B[k, j] :: reduce(k) max"))
    assert found == (Operation("mac", "mac", ("I", "K", "J")), Operation("max", "max", ("I", "K")))


def test_symbols_by_operator():
    e, m, p = (sympy.Symbol(r, positive=True, integer=True) for r in "EMP")
    table = symbolic_operations(load_cascade("attention-3-pass"), by="operator")
    assert table["QK"] == {"mac": e * m * p}
    assert table["SN"] == {"sub": m * p, "exp": m * p}
    assert symbolic_operations(load_cascade("attention-3-pass"))["SN"] == {"add": m * p, "exp": m * p}


def test_rank_names_never_become_sympy_objects():
    cascade = parse_cascade("{declaration: {A: [E, I, S, PI], Y: [E]}, expressions: ['Y[e] = A[e, i, s, pi]']}")
    (expression,) = symbolic_operations(cascade)["Y"].values()
    assert {s.name for s in expression.free_symbols} == {"E", "I", "S", "PI"}
    assert all(s.is_Symbol for s in expression.free_symbols)


def test_counts_are_exact_beyond_floats():
    sizes = {"E": 2**40 + 1, "P": 2**40 + 1, "M": 3}
    assert count(parse_einsum("QK[m, p] = Q[e, p] * K[e, m]"), sizes) == {"mac": 3 * (2**40 + 1) ** 2}


def test_families_and_iterations_complete_the_sizes():
    cascade = load_cascade("attention-1-pass")
    assert complete_sizes(cascade, {"M": 12, "M0": 4}) == {"M": 12, "M0": 4, "M1": 3}
    assert complete_sizes(cascade, {"M1": 3, "M0": 4}) == {"M": 12, "M0": 4, "M1": 3}
    assert iterations(cascade, {"M1": 3}) == {"M1": 3}
    sizes = {"E": 2, "F": 3, "P": 3, "M": 4, "M0": 2}
    assert total(cascade, sizes) == total(cascade, SIZES)
    loop = parse_cascade("""
        declaration: {X: [N], Y: [T, N]}
        init: ["Y[0, n] = X[n]"]
        expressions: ["Y[t+1, n] = Y[t, n] * Y[t, n]"]
        stop: t >= 3
    """)
    assert total(loop, {"N": 2}) == {"mac": 6}


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"E": 2, "F": 3, "P": 3, "M": 4}, "has no size"),
        ({"E": 2, "F": 3, "P": 3, "M": 5, "M0": 2}, "M has size 5, which is not a multiple of 2"),
        ({"E": 2, "F": 3, "P": 3, "M": 5, "M0": 2, "M1": 2}, "M = M1*M0 gives 2*2 = 4"),
        ({"E": -1}, "size of rank E is -1"),
        ({"E": True}, "size of rank E is True"),
        ({"E": "4X"}, "'4X' is no size"),
        ({"M1": 2, "M0": 2}, "rank P of RNV has no size|rank P of RM has no size"),
    ],
)
def test_unusable_sizes(sizes, message):
    with pytest.raises(InputError) as caught:
        total(load_cascade("attention-1-pass"), sizes)
    assert any(part in str(caught.value) for part in message.split("|"))
