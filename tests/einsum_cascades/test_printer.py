"""What is printed reads back to an equal cascade; LaTeX is accepted by Matplotlib's mathtext."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
)
from einsum_cascades.latex import einsum_latex, to_latex
from einsum_cascades.load import library_names, load_cascade, parse_cascade
from einsum_cascades.operators import OPERATORS
from einsum_cascades.parser import parse_einsum
from einsum_cascades.printer import einsum_text, to_text

RANKS = ("K", "M1", "M0", "P_2", "NULL", "Y")
INPUTS = (
    Declaration("A", ("K", "M1")),
    Declaration("B", ("M0", "K", "P_2")),
    Declaration("s", ()),
    Declaration("null", ("NULL", "Y")),
)
ARITY = {op.name: op.arity for op in OPERATORS.values()}
REDUCERS = tuple(op.name for op in OPERATORS.values() if op.reduces)

numbers = st.floats(allow_nan=False).map(lambda x: Number(x + 0.0))
reads = st.sampled_from([Access(d.tensor, tuple(Var(r) for r in d.ranks)) for d in INPUTS])
values = st.sampled_from([kind(rank) for kind in (Index, Extent) for rank in RANKS if rank != "NULL"])
expressions = st.recursive(
    numbers | reads | values,
    lambda inner: st.sampled_from(sorted(ARITY)).flatmap(
        lambda op: st.tuples(*[inner] * ARITY[op]).map(lambda operands: Apply(op, operands))
    ),
    max_leaves=12,
)


def _right(expression) -> list[str]:
    probe = Einsum(Access("Y"), expression)
    return list(probe.ranks)


def _walking(expression):
    """The expression with a number in place of each index and size of a rank that it does not walk over."""
    walked = _right(expression)

    def kept(part):
        if isinstance(part, Apply):
            return Apply(part.operator, tuple(map(kept, part.operands)))
        return Number(1.0) if isinstance(part, Index | Extent) and part.rank not in walked else part

    return kept(expression)


@st.composite
def einsums(draw, name: str):
    expression = _walking(draw(expressions))
    right = _right(expression)
    left = draw(st.permutations(sorted(draw(st.sets(st.sampled_from(right)))) if right else []))
    rest = draw(st.permutations([r for r in right if r not in left]))
    written = draw(st.integers(0, len(rest)))
    sums = [Reduction(r, "add") for r in right if r in rest[written:]]
    reductions = [Reduction(r, draw(st.sampled_from(REDUCERS))) for r in rest[:written]]
    return Einsum(Access(name, tuple(Var(r) for r in left)), expression, (*sums, *reductions))


words = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")), min_size=1).filter(str.strip)


@st.composite
def cascades(draw):
    body = [draw(einsums(f"T{i}")) for i in range(draw(st.integers(1, 4)))]
    outputs = [Declaration(e.name, e.output.ranks) for e in body]
    init: tuple[Einsum, ...] = ()
    final: tuple[Einsum, ...] = ()
    stop: tuple[Stop, ...] = ()
    if draw(st.booleans()):
        bound = draw(st.sampled_from([Size("I"), Size("K"), Const(7)]))
        outputs += [Declaration("R", ("I", "K")), Declaration("F", ("K",))]
        k = Var("K")
        step = Apply("max", (Access("R", (Var("I"), k)), Access("R", (Var("I"), k))))
        init = (Einsum(Access("R", (Const(0), k)), draw(numbers)),)
        body.append(Einsum(Access("R", (Var("I", 1), k)), step))
        last = bound if isinstance(bound, Size) else Const(7)
        final = (Einsum(Access("F", (k,)), Access("R", (last, k))),)
        stop = (Stop("I", bound),)
    split = draw(st.booleans())
    return Cascade(
        name=draw(words),
        declarations=(*INPUTS, *outputs),
        body=tuple(body),
        init=init,
        final=final,
        stop=stop,
        partitions=(Partition("M", ("M1", "M0")),) if split else (),
        title=draw(st.just("") | words),
        citation=draw(st.just("") | words),
    )


@settings(max_examples=50, deadline=None)
@given(einsums("Z"), st.booleans())
def test_einsum_round_trip(einsum, unicode):
    text = einsum_text(einsum, unicode=unicode)
    assert parse_einsum(text) == einsum
    assert einsum_text(parse_einsum(text), unicode=unicode) == text


@settings(max_examples=25, deadline=None)
@given(cascades())
def test_cascade_round_trip(cascade):
    text = to_text(cascade)
    read = parse_cascade(text)
    assert read == cascade
    assert hash(read) == hash(cascade)
    assert to_text(read) == text


@pytest.mark.parametrize("name", library_names())
def test_library_round_trip(name):
    cascade = load_cascade(name)
    assert parse_cascade(str(cascade)) == cascade
    for einsum in cascade.einsums:
        assert parse_einsum(einsum_text(einsum, unicode=True)) == einsum


@pytest.mark.parametrize(
    "text",
    [
        "Y = (A + B) * C",
        "Y = A - (B + C)",
        "Y = A / (B / C) * -3",
        "Y = -(A * B)",
        "Y = --A - -(4)",
        "Y = max(A, B, C)",
        "Y = max(A, max(B, C))",
        "Y[p] = A[e, p] * B[e, m] :: reduce(m) max",
        "Y = A[m, k] :: reduce(m) max :: reduce(k) add",
        "Y = A[m, k] :: reduce(m, k) max",
        "Y = 1e+300 + 0.5",
        "Y = (A < B) * (A >= C) + 1",
        "Y = A + B == C - (A > B)",
        "Y[m, p] = where(m <= p + (M - P), A[m, p] * (m - p), -inf)",
        "Y[m] = A[m] * M[] + m[] * M / (m + 1)",
    ],
)
def test_minimal_text_is_kept(text):
    assert einsum_text(parse_einsum(text)) == text


def test_superfluous_text_is_dropped():
    assert einsum_text(parse_einsum("Y[] = ((A[k]) * (B[k])) :: reduce(k) +")) == "Y = A[k] * B[k]"


def test_unicode_text():
    text = "LM[m1, p] = BQK[m1, m0, p] × −∞ ÷ s :: ∨m0 max(∪)"
    assert einsum_text(parse_einsum(text), unicode=True) == text


def mathtext(text: str) -> None:
    from matplotlib.mathtext import MathTextParser

    MathTextParser("path").parse(f"${text}$")


@settings(max_examples=15, deadline=None)
@given(einsums("Z_1"))
def test_latex_is_mathtext(einsum):
    mathtext(einsum_latex(einsum))


def test_latex_of_the_one_pass_cascade():
    cascade = load_cascade("attention-1-pass")
    for einsum in cascade.einsums:
        mathtext(einsum_latex(einsum))
    text = to_latex(cascade)
    assert text.startswith("\\begin{aligned}\n")
    assert text.count("{") == text.count("}")
    assert r"\mathit{LM}_{m_{1}, p} &= \mathit{BQK}_{m_{1}, m_{0}, p} :: \bigvee_{m_{0}} \max(\cup)" in text
    assert r"\frac{\mathit{RNV}_{M_{1}, f, p}}{\mathit{RD}_{M_{1}, p}}" in text
    assert r"\diamond : m_{1} \geq M_{1}" in text
    assert cascade._repr_latex_() == f"$${text}$$"
