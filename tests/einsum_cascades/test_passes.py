"""Passes against the published classification, worked examples, and a search over all schedules."""

import itertools
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Access, Apply, Cascade, Declaration, Einsum, Reduction, Var
from einsum_cascades.load import load_cascade, parse_cascade
from einsum_cascades.passes import analyse_passes

# ---------------------------------------------------------------- the published cascades


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("attention-3-pass", 3),
        ("attention-3-pass-deferred", 2),
        ("attention-2-pass", 2),
        ("attention-1-pass", 1),
    ],
)
def test_published_classification(name, passes):
    assert analyse_passes(load_cascade(name)).passes == passes


def test_three_passes_in_detail():
    analysis = analyse_passes(load_cascade("attention-3-pass"))
    assert analysis.einsum_pass == {"QK": 1, "GM": 1, "SN": 2, "SD": 2, "A": 3, "AV": 3}
    assert analysis.tensor_passes == {"K": 1, "V": 1, "QK": 2, "SN": 2, "A": 1}
    assert analysis.family == ("M",)


def test_two_passes_in_detail():
    analysis = analyse_passes(load_cascade("attention-2-pass"))
    assert {e for e, k in analysis.einsum_pass.items() if k == 2} == {"SN", "A", "AV"}
    assert analysis.tensor_passes["BQK"] == 1
    assert analysis.tensor_passes["SLN"] == 2
    assert analysis.tensor_passes["LM"] == 2
    assert analysis.family == ("M1", "M0")


@pytest.mark.parametrize("rank", ["M", "M1", "M0"])
def test_one_pass_touches_every_tensor_once(rank):
    analysis = analyse_passes(load_cascade("attention-1-pass"), rank)
    assert set(analysis.tensor_passes.values()) == {1}
    assert set(analysis.einsum_pass.values()) == {1}


def test_one_pass_inside_a_tile():
    """The M0 fiber of BQK is read for LM, then again for SLN; the M1 rank is passed once."""
    cascade = load_cascade("attention-1-pass")
    tile = analyse_passes(cascade, "M0", within_tile=True)
    assert tile.passes == 2
    assert tile.tensor_passes == {"BK": 1, "BV": 1, "BQK": 2, "SLN": 1}
    assert analyse_passes(cascade, "M1", within_tile=True).passes == 1


@pytest.mark.parametrize("name", ["attention-3-pass", "attention-3-pass-deferred"])
def test_other_ranks_need_one_pass(name):
    for rank in "EFP":
        assert analyse_passes(load_cascade(name), rank).passes == 1


# ---------------------------------------------------------------- worked examples and other algorithms

EXAMPLES = {
    "two passes over A": (
        2,
        {"A": 2, "B": 1},
        "{declaration: {A: [K], B: [K], Y: [], Z: []}, expressions: ['Y = A[k] * B[k]', 'Z = Y * A[k]']}",
    ),
    "deferred multiplication": (
        1,
        {"A": 1, "B": 1},
        "{declaration: {A: [K], B: [K], Y: [], X: [], Z: []},"
        " expressions: ['Y = A[k] * B[k]', 'X = A[k]', 'Z = Y * X']}",
    ),
    "iterated": (
        1,
        {"A": 1, "B": 1, "RY": 1, "RZ": 1},
        """
        declaration: {A: [K], B: [K], RY: [K], RZ: [K], Z: []}
        init: ["RY[0] = 0", "RZ[0] = 0"]
        expressions:
          - RY[k+1] = RY[k] + A[k] * B[k]
          - RZ[k+1] = RZ[k] * RY[k+1] / RY[k] + RY[k+1] * A[k]
        final: ["Z = RZ[K]"]
        stop: k >= K
        """,
    ),
    "softmax without a maximum": (
        2,
        {"K": 1, "V": 1, "S": 1, "N": 2, "A": 1},
        """
        declaration: {Q: [E, P], K: [E, M], V: [F, M], S: [M, P], N: [M, P], D: [P], A: [M, P], O: [F, P]}
        expressions:
          - S[m, p] = Q[e, p] * K[e, m]
          - N[m, p] = exp(S[m, p])
          - D[p] = N[m, p]
          - A[m, p] = N[m, p] / D[p]
          - O[f, p] = A[m, p] * V[f, m]
        """,
    ),
    "softmax without a maximum, deferred": (
        1,
        {"K": 1, "V": 1, "S": 1, "N": 1},
        """
        declaration: {Q: [E, P], K: [E, M], V: [F, M], S: [M, P], N: [M, P], D: [P], W: [F, P], O: [F, P]}
        expressions:
          - S[m, p] = Q[e, p] * K[e, m]
          - N[m, p] = exp(S[m, p])
          - D[p] = N[m, p]
          - W[f, p] = N[m, p] * V[f, m]
          - O[f, p] = W[f, p] / D[p]
        """,
    ),
    "sigmoid attention": (
        1,
        {"K": 1, "V": 1, "S": 1},
        """
        declaration: {Q: [E, P], K: [E, M], V: [F, M], S: [M, P], O: [F, P]}
        expressions:
          - S[m, p] = Q[e, p] * K[e, m]
          - O[f, p] = sigmoid(S[m, p]) * V[f, m]
        """,
    ),
    "independent parts, then a combination (Flash-Decoding)": (
        1,
        {"S": 1, "LM": 2, "LD": 2, "N": 1, "C": 1},
        """
        declaration: {S: [M1, M0], LM: [M1], N: [M1, M0], LD: [M1], GM: [], C: [M1], D: []}
        partition: {M: [M1, M0]}
        expressions:
          - "LM[m1] = S[m1, m0] :: reduce(m0) max"
          - N[m1, m0] = exp(S[m1, m0] - LM[m1])
          - LD[m1] = N[m1, m0]
          - "GM = LM[m1] :: reduce(m1) max"
          - C[m1] = exp(LM[m1] - GM)
          - D = C[m1] * LD[m1]
        """,
    ),
    "layer norm": (
        3,
        {"X": 2, "C": 2, "Y": 1},
        """
        declaration: {X: [K], U: [], C: [K], S: [], Y: [K]}
        expressions: ["U = X[k]", "C[k] = X[k] - U", "S = C[k] * C[k]", "Y[k] = C[k] / sqrt(S)"]
        """,
    ),
    "layer norm through moments": (
        2,
        {"X": 2, "Y": 1},
        """
        declaration: {X: [K], U: [], S: [], Y: [K]}
        expressions: ["U = X[k]", "S = X[k] * X[k]", "Y[k] = (X[k] - U) / sqrt(S - U*U)"]
        """,
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name):
    passes, tensors, text = EXAMPLES[name]
    cascade = parse_cascade(text)
    rank = "M" if any("M" in r[:1] for ranks in cascade.ranks_of.values() for r in ranks) else "K"
    analysis = analyse_passes(cascade, rank)
    assert analysis.passes == passes
    assert analysis.tensor_passes == tensors


def test_freedom_between_earliest_and_latest():
    """X could run in pass 1, but Z, its only reader, is in pass 2: run X there and touch it once."""
    cascade = parse_cascade("""
        declaration: {A: [K], B: [K], X: [K], Y: [], Z: []}
        expressions: ["X[k] = A[k] * A[k]", "Y = B[k]", "Z = X[k] * Y"]
    """)
    analysis = analyse_passes(cascade, "K")
    assert analysis.einsum_pass["X"] == 1
    assert analysis.passes == 2
    assert analysis.tensor_passes == {"A": 1, "B": 1, "X": 1}


def test_partial_results_of_a_pass_agree_on_one_loop_order():
    one = "declaration: {A: [M1, M0], R: [M1], Z: []}\npartition: {M: [M1, M0]}\nexpressions:\n"
    rows = one + "  - R[m1] = A[m1, m0]\n  - Z = A[m1, m0] * R[m1]\n"
    assert analyse_passes(parse_cascade(rows)).passes == 1
    columns = rows.replace("R: [M1]", "R: [M0]").replace("R[m1]", "R[m0]")
    assert analyse_passes(parse_cascade(columns)).passes == 1
    both = """
        declaration: {A: [M1, M0], R: [M1], C: [M0], Z: []}
        partition: {M: [M1, M0]}
        expressions: ["R[m1] = A[m1, m0]", "C[m0] = A[m1, m0]", "Z = A[m1, m0] * R[m1] * C[m0]"]
    """
    assert analyse_passes(parse_cascade(both)).passes == 2


def test_each_pass_has_its_own_loop_order():
    cascade = parse_cascade("""
        declaration: {A: [M1, M0], R: [M1], B: [M1, M0], T: [], D: [M1, M0], C: [M0], Z: []}
        partition: {M: [M1, M0]}
        expressions:
          - R[m1] = A[m1, m0]
          - B[m1, m0] = A[m1, m0] * R[m1]
          - T = B[m1, m0]
          - D[m1, m0] = A[m1, m0] * T
          - C[m0] = D[m1, m0]
          - Z = D[m1, m0] * C[m0]
    """)
    assert analyse_passes(cascade).passes == 2


def test_passes_of_one_iteration_where_the_iterative_rank_is_not_the_family():
    cascade = parse_cascade("""
        declaration: {A: [M, N], X: [T, N], S: [T, M], Y: [N]}
        init: ["X[0, n] = 1"]
        expressions: ["S[t, m] = A[m, n] * X[t, n]", "X[t+1, n] = A[m, n] * S[t, m]"]
        final: ["Y[n] = X[T, n]"]
        stop: t >= T
    """)
    assert analyse_passes(cascade, "M").passes == 1
    assert analyse_passes(cascade, "N").passes == 2


def test_what_carries_no_rank_of_the_family():
    cascade = parse_cascade("""
        declaration: {X: [D, M], W: [D, E], K: [E, M], Q: [E], U: [E], S: [M]}
        expressions: ["U[e] = Q[e] * Q[e]", "K[e, m] = X[d, m] * W[d, e]", "S[m] = U[e] * K[e, m]"]
    """)
    analysis = analyse_passes(cascade)
    assert analysis.einsum_pass == {"U": 0, "K": 1, "S": 1}
    assert set(analysis.tensor_passes) == {"X", "K", "S"}


def test_a_view_of_a_computed_tensor():
    cascade = parse_cascade("""
        declaration: {X: [M], K: [M], BK: [M1, M0], G: [], Y: []}
        partition: {M: [M1, M0]}
        expressions: ["K[m] = X[m] * X[m]", "G = K[m]", "Y = BK[m1, m0] * G"]
    """)
    cascade = replace(cascade, views=(("BK", "K"),))
    analysis = analyse_passes(cascade)
    assert analysis.passes == 2
    assert analysis.einsum_pass == {"K": 1, "G": 1, "Y": 2}


@pytest.mark.parametrize(("rank", "tile"), [("X", False), ("M", True), ("m", False)])
def test_unknown_rank(rank, tile):
    with pytest.raises(InputError, match=f"unknown rank '{rank}'"):
        analyse_passes(load_cascade("attention-1-pass"), rank, within_tile=tile)


def test_a_circle_is_refused():
    x, s = Access("X", (Var("K"),)), Access("S")
    cascade = Cascade(
        "circle",
        (Declaration("X", ("K",)), Declaration("S", ())),
        (Einsum(x, Apply("neg", (s,))), Einsum(s, x, (Reduction("K", "add"),))),
    )
    with pytest.raises(InputError, match="circle"):
        analyse_passes(cascade, "K")


# ---------------------------------------------------------------- exhaustive search


@st.composite
def random_cascades(draw):
    """Up to four Einsums over inputs A[K] and B[K], each a vector or a scalar of earlier results."""
    ranks = {"A": ("K",), "B": ("K",)}
    einsums = []
    for i in range(draw(st.integers(1, 4))):
        names = draw(st.lists(st.sampled_from(sorted(ranks)), min_size=1, max_size=3, unique=True))
        operands = [Access(n, tuple(Var(r) for r in ranks[n])) for n in names]
        expression = operands[0]
        for operand in operands[1:]:
            expression = Apply("add", (expression, operand))
        walks = any(o.ranks for o in operands)
        keeps = walks and draw(st.booleans())
        name = f"T{i}"
        output = Access(name, (Var("K"),) if keeps else ())
        reductions = (Reduction("K", "add"),) if walks and not keeps else ()
        einsums.append(Einsum(output, expression, reductions))
        ranks[name] = ("K",) if keeps else ()
    return Cascade("random", tuple(Declaration(t, r) for t, r in ranks.items()), tuple(einsums))


def schedules(cascade, passes):
    """Every assignment of times that respects the definition: k is in pass k, k + 1/2 after it."""
    walks = {e.name: bool(e.ranks) for e in cascade.einsums}
    options = [
        [float(k) for k in range(1, passes + 1)] if e.ranks else [k + 0.5 for k in range(passes + 1)]
        for e in cascade.einsums
    ]
    for times in itertools.product(*options):
        when = dict(zip(walks, times, strict=True))
        ready = {e.name: when[e.name] + (0.5 if walks[e.name] and not e.output.ranks else 0) for e in cascade.einsums}
        if all(when[e.name] >= ready.get(a.tensor, 0) for e in cascade.einsums for a in e.inputs):
            yield when


@settings(max_examples=100, deadline=None)
@given(cascade=random_cascades())
def test_random_cascades_against_all_schedules(cascade):
    analysis = analyse_passes(cascade, "K")
    if analysis.passes:
        assert not list(schedules(cascade, analysis.passes - 1))
    found = list(schedules(cascade, analysis.passes))
    assert found
    earliest = {e.name: min(int(when[e.name]) for when in found) for e in cascade.einsums}
    assert analysis.einsum_pass == earliest
    for tensor, ranks in cascade.ranks_of.items():
        if ranks:
            touching = [
                e.name for e in cascade.einsums if e.name == tensor or any(a.tensor == tensor for a in e.inputs)
            ]
            least = min(len({when[name] for name in touching}) for when in found)
            assert analysis.tensor_passes[tensor] == least


# ---------------------------------------------------------------- speed


def test_fast_and_bounded():
    cascade = load_cascade("attention-2-pass")
    times = []
    for _ in range(20):
        start = time.process_time()
        analyse_passes.__wrapped__(cascade)
        times.append(time.process_time() - start)
    assert min(times) < 3e-3

    lines = ["X0[k] = A[k]", *(f"S{i} = X{i}[k]\nX{i + 1}[k] = X{i}[k] * S{i}" for i in range(60))]
    names = ", ".join(["A: [K]", "X0: [K]", *(f"S{i}: [], X{i + 1}: [K]" for i in range(60))])
    body = "".join(f"  - {line}\n" for text in lines for line in text.split("\n"))
    long = parse_cascade(f"declaration: {{{names}}}\nexpressions:\n{body}")
    start = time.process_time()
    assert analyse_passes(long, "K").passes == 61
    assert time.process_time() - start < 10
