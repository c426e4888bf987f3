"""Which cascades are recognised as attention, what they mean, and what is said of the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from custom_attention import CASES, Case, expected, softmax, weights, with_values
from derived import derive
from hypothesis import given, settings
from hypothesis import strategies as st
from normal_form import computed

from einsum_cascades import Cascade, library_names, load_cascade, parse_cascade
from einsum_cascades.errors import InputError
from kernels.gpu import compiled
from kernels.gpu.generator.form import FusedAttention, Weighing, simple
from kernels.gpu.generator.recognise import recognise

SOFTMAX = (
    *("1-pass", "2-pass", "3-pass", "3-pass-deferred", "split-k", "softmax-unstable"),
    *("causal", "alibi", "soft-cap", "sliding-window", "differential"),
)
REFUSED = {
    "attention-linear": "AV is not a sum over keys of weights times values: nothing in it is a matrix product",
    "cross-entropy": "LOSS is no matrix of queries by the size of a value",
    "layer-norm": "Z is not a sum over keys of weights times values",
    "linear-layers": "computes Q, K, V, F2, not one result",
    "log-sum-exp": "LSE is no matrix of queries by the size of a value",
    "rms-norm": "Z weighs values with no matrix product of queries and keys",
    "softmax-matmul": "Z weighs values with no matrix product of queries and keys",
    "variance": "VAR is no matrix of queries by the size of a value",
}


def unnamed(form: FusedAttention) -> str:
    """A form as text without the cascade's name and the parts into which it cuts its ranks."""
    import re

    return re.sub(r"free=frozenset\(\{?[^)]*\}?\)", "", str(replace(form, name="")))


def test_the_whole_library_is_accepted_or_refused() -> None:
    taken = {f"attention-{name}" for name in (*SOFTMAX, "sigmoid", "relu")}
    assert taken | set(REFUSED) == set(library_names())
    for name in sorted(taken):
        form = recognise(load_cascade(name))
        kinds = {stream.weighing for stream in form.streams}
        assert kinds == {Weighing.SOFTMAX if name.removeprefix("attention-") in SOFTMAX else Weighing.PLAIN}
        assert len(form.streams) == (2 if name == "attention-differential" else 1)


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_say_which_einsum_does_not_fit(name: str) -> None:
    with pytest.raises(InputError) as caught:
        compiled(load_cascade(name))
    assert REFUSED[name] in str(caught.value)
    assert name == "linear-layers" or caught.value.location is not None


def test_plain_attention_is_one_form_whatever_its_passes() -> None:
    for name in ("1-pass", "2-pass", "3-pass", "3-pass-deferred", "split-k", "softmax-unstable"):
        assert unnamed(recognise(load_cascade(f"attention-{name}"))) == unnamed(simple(causal=False))
    causal = recognise(load_cascade("attention-causal"))
    assert [len(stream.conditions) for stream in causal.streams] == [1]
    assert causal.streams[0].score == causal.streams[0].product


@pytest.mark.parametrize("name", ["causal", "differential"])
def test_rewritten_cascades_are_the_same_form(name: str) -> None:
    cascade = load_cascade(f"attention-{name}")
    forms = [form.cascade for form in derive(cascade, "M").forms]
    assert len(forms) > 3
    assert len({"".join(sorted(unnamed(recognise(form)))) for form in forms}) == 1


def test_a_floored_maximum_is_the_maximum() -> None:
    """What the rewrites put where a mask may hide whole tiles is no other attention."""
    text = str(load_cascade("attention-3-pass")).replace("  QK: [M, P]\n", "  KEEP: [M]\n  QK: [M, P]\n  S: [M, P]\n")
    head, body = text.split("expressions:\n")
    product, rest = body.split("\n", 1)
    masked = "  - S[m, p] = where(KEEP[m] > 0, QK[m, p], -inf)\n"
    cascade = parse_cascade(f"{head}expressions:\n{product}\n{masked}{rest.replace('QK[', 'S[')}")
    (source, best) = (recognise(c) for c in (cascade, derive(cascade, "M").cascade))
    assert "where" in str(derive(cascade, "M").cascade).partition("FGM[m1, p] =")[2]
    assert unnamed(source) == unnamed(best)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_form_means_what_the_cascade_says(case: Case) -> None:
    for seed, shape in enumerate(((2, 9, 14, 3, 4), (1, 12, 7, 5, 2))):
        inputs = with_values(case, np.random.default_rng(seed), shape)
        wanted = expected(case, inputs, 0.7)
        assert deviation(case.cascade, inputs, wanted, 0.7) < 1e-9


def deviation(cascade: Cascade, inputs: dict[str, Any], wanted: Any, scale: float) -> float:
    """The largest difference of the normal form's result from what is wanted, relative to the largest value."""
    form = recognise(cascade)
    queries = {stream.product.left.tensor for stream in form.streams}
    worst = 0.0
    for head in range(len(wanted)):
        one = {n: x if np.isscalar(x) else x[head] * (scale if n in queries else 1.0) for n, x in inputs.items()}
        worst = max(worst, float(np.abs(np.nan_to_num(computed(form, one)) - wanted[head]).max()))
    return worst / max(1.0, float(np.abs(wanted).max()))


conditions = st.recursive(
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["m", "p + m", "m - p", "2 * p", "M - m"]),
        st.sampled_from(["<", "<=", ">", ">=", "=="]),
        st.sampled_from(["p", "p + (M - P)", "3", "W", "p - W", "M - 4"]),
    ),
    lambda inner: st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), inner, inner),
    max_leaves=3,
)
scores = st.recursive(
    st.sampled_from(["QK[m, p]", "0.5 * QK[m, p]", "W * (m - p)", "m", "log(1 + m)", "QK[m, p] * (p + 1)"]),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*"]), inner),
        st.builds("{}({})".format, st.sampled_from(["tanh", "abs", "sigmoid", "-"]), inner),
        st.builds("max({}, {})".format, inner, inner),
    ),
    max_leaves=3,
)


@pytest.mark.parametrize("condition", ["2 * p < p", "p < 3", "max(p < 2, p > 4)"])
def test_queries_that_are_masked_as_a_whole(condition: str) -> None:
    """Added to scores, a mask that is the same for all keys is no shift that a softmax takes away."""
    case = Case(softmax("queries", f"QK[m, p] + where({condition}, 0, -inf)", ""), {})
    inputs = with_values(case, np.random.default_rng(0), (1, 6, 8, 3, 2))
    recognise(case.cascade)
    assert deviation(case.cascade, inputs, expected(case, inputs, 1.0), 1.0) < 1e-8


@settings(max_examples=25, deadline=None)
@given(score=scores, condition=conditions, hidden=st.booleans(), kind=st.sampled_from(["softmax", "weights", "factor"]))
def test_random_scores_and_masks(score: str, condition: str, hidden: bool, kind: str) -> None:
    score = f"0.01 * QK[m, p] + {score}"
    if kind == "softmax":
        choice = f"where({condition}, {score}, -inf)" if not hidden else f"{score} + where({condition}, 0, -inf)"
        cascade = softmax("random", choice, ", W: []")
    elif kind == "weights":
        cascade = weights("random", f"where({condition}, {score}, 0)", ", W: []")
    else:
        cascade = weights("random", f"sigmoid({score}) * min({condition}, m < 6)", ", W: []")
    case = Case(cascade, {"W": 2.5})
    inputs = with_values(case, np.random.default_rng(0), (1, 6, 8, 3, 2))
    form = recognise(cascade)
    assert kind == "softmax" or form.streams[0].conditions
    assert deviation(cascade, inputs, expected(case, inputs, 1.0), 1.0) < 1e-8


def cascade_of(expressions: str, declared: str) -> Cascade:
    return parse_cascade(f"name: mine\ndeclaration: {{{declared}}}\nexpressions: {expressions}")


MATRICES = "Q: [E, P], K: [E, M], V: [F, M], S: [M, P], A: [M, P], D: [P], O: [F, P]"


@pytest.mark.parametrize(
    ("expressions", "declared", "message"),
    [
        (
            [
                "S[m, p] = Q[e, p] * K[e, m]",
                "A[m, p] = exp(S[m, p])",
                "D[p] = A[m, p] * A[m, p]",
                "O[f, p] = A[m, p] * V[f, m] / D[p]",
            ],
            MATRICES,
            "D is no sum of the weights that it divides",
        ),
        (
            [
                "S[m, p] = Q[e, p] * K[e, m]",
                "A[m, p] = exp(S[m, p])",
                "D[p] = A[m, p]",
                "O[f, p] = A[m, p] * V[f, m] / max(D[p], 1)",
            ],
            MATRICES,
            "floors a sum that may be smaller although keys are seen",
        ),
        (
            [
                "S[m, p] = Q[e, p] * K[e, m]",
                "A[m, p] = S[m, p] - D[p]",
                "'D[p] = S[m, p] :: reduce(m) max'",
                "O[f, p] = max(A[m, p], -1) * V[f, m]",
            ],
            MATRICES,
            "D is what is folded that the weights of the keys are computed with elementwise",
        ),
        (
            ["S[m, p] = Q[e, p] * K[e, m] * B[e]", "O[f, p] = S[m, p] * V[f, m]"],
            MATRICES + ", B: [E]",
            "nothing in it is a matrix product of two inputs",
        ),
        (
            ["S[m, p] = Q[e, p] * K[e, m]", "A[m, p] = T[e, p] * L[e, m]", "O[f, p] = S[m, p] * A[m, p] * V[f, m]"],
            MATRICES + ", T: [E, P], L: [E, M]",
            "computes one weight from several matrix products, K\\*Q and L\\*T",
        ),
        (
            ["S[m, p] = Q[e, p] * K[e, m]", "O[f, p] = (S[m, p] + B[f, m]) * V[f, m]"],
            MATRICES + ", B: [F, M]",
            "not a sum over keys of weights times values",
        ),
    ],
)
def test_what_is_like_no_attention(expressions: list[str], declared: str, message: str) -> None:
    listed = "".join(f"\n  - {line}" for line in expressions)
    with pytest.raises(InputError, match=message):
        recognise(cascade_of(listed, declared))


def normalised(weight: str, below: str, declared: str = "") -> Cascade:
    """Weights that are an expression of S, its maximum G and inputs, divided by an expression of their sum D."""
    greatest = "\n  - 'G[p] = S[m, p] :: reduce(m) max'" if "G[" in weight else ""
    return cascade_of(
        f"\n  - S[m, p] = Q[e, p] * K[e, m]{greatest}"
        f"\n  - A[m, p] = {weight}\n  - D[p] = A[m, p]\n  - O[f, p] = A[m, p] * V[f, m] / {below}",
        f"{MATRICES}{', G: [P]' if greatest else ''}{declared}",
    )


@pytest.mark.parametrize(
    ("weight", "below", "message"),
    [
        ("exp(S[m, p] - G[p])", "(D[p] - exp(-G[p]))", "adds what may be negative"),
        ("exp(S[m, p] - G[p])", "(exp(1 - G[p]) - D[p])", "adds what may be negative"),
        ("exp(S[m, p])", "(D[p] + B[p])", "adds what may be negative"),
        ("exp(S[m, p] - G[p]) * C[m]", "max(D[p], 0.7)", "sums weights that are more than exponentials"),
        ("exp(S[m, p] - G[p]) * C[m]", "D[p]", "sums weights that are more than exponentials"),
    ],
)
def test_sums_that_a_kernel_would_compute_otherwise(weight: str, below: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        recognise(normalised(weight, below, ", B: [P]" * ("B[" in below) + ", C: [M]" * ("C[" in weight)))


@pytest.mark.parametrize("extra", ["1", "M", "exp(B[p])", "2 * exp(B[p] + 1) / P", "max(B[p], 0.5)"])
def test_sinks_of_any_positive_form(extra: str) -> None:
    case = Case(
        normalised("exp(S[m, p])", f"(D[p] + {extra})", ", B: [P]" * ("B" in extra)),
        {},
        {"B": "P"} if "B" in extra else {},
    )
    inputs = with_values(case, np.random.default_rng(2), (2, 5, 8, 3, 2))
    assert deviation(case.cascade, inputs, expected(case, inputs, 0.7), 0.7) < 1e-9


@pytest.mark.parametrize(("hidden", "masks"), [("-800", 0), ("-1e4", 0), ("-1e9", 1), ("-1e30", 1), ("-inf", 1)])
def test_a_mask_is_minus_infinity_or_as_good_as_that(hidden: str, masks: int) -> None:
    case = Case(softmax("low", f"where(m <= p + (M - P), QK[m, p] - 2000, {hidden})"))
    assert len(recognise(case.cascade).streams[0].conditions) == masks
    inputs = with_values(case, np.random.default_rng(4), (1, 6, 9, 3, 2))
    assert deviation(case.cascade, inputs, expected(case, inputs, 1.0), 1.0) < 1e-9


@pytest.mark.parametrize(
    "weight",
    [
        "where(m <= p * 1e200 * 1e200, QK[m, p], 0)",
        "where(m <= p * inf, QK[m, p], 0)",
        "QK[m, p] * sigmoid(m) / 1e-320",
    ],
)
def test_numbers_that_overflow_are_infinite(weight: str) -> None:
    kernel = compiled(weights("large", weight))
    assert all(compile(kernel.source(dialect), "", "exec") for dialect in ("gluon", "triton"))


def test_a_score_that_depends_on_the_tiling() -> None:
    cascade = parse_cascade(
        "name: tiled\ndeclaration: {Q: [E, P], BK: [E, M1, M0], BV: [F, M1, M0], S: [M1, M0, P], O: [F, P]}\n"
        "partition: {M: [M1, M0]}\nviews: {BK: K, BV: V}\nexpressions:\n"
        "  - S[m1, m0, p] = Q[e, p] * BK[e, m1, m0]\n  - O[f, p] = (S[m1, m0, p] + m1) * BV[f, m1, m0]\n"
    )
    with pytest.raises(InputError, match="changes along M1, unlike a score"):
        recognise(cascade)


def test_positions_in_tiles_are_positions() -> None:
    cascade = parse_cascade(
        "name: tiled\ndeclaration: {Q: [E, P], BK: [E, M1, M0], BV: [F, M1, M0], S: [M1, M0, P], O: [F, P]}\n"
        "partition: {M: [M1, M0]}\nviews: {BK: K, BV: V}\nexpressions:\n"
        "  - S[m1, m0, p] = Q[e, p] * BK[e, m1, m0]\n"
        "  - O[f, p] = where(m1 * M0 + m0 <= p, S[m1, m0, p], 0) * BV[f, m1, m0]\n"
    )
    plain = weights("plain", "where(m <= p, QK[m, p], 0)")
    streams = [recognise(c).streams[0] for c in (cascade, plain)]
    first, second = (unnamed(FusedAttention("", (s,), "V", "O", "P", "M", "F")) for s in streams)
    assert first == second


def test_values_that_are_the_keys() -> None:
    expressions = (
        *("S[m, p] = Q[e, p] * K[e, m]", "A[m, p] = exp(S[m, p])", "D[p] = A[m, p]"),
        "O[e, p] = A[m, p] / D[p] * K[e, m]",
    )
    declared = "Q: [E, P], K: [E, M], S: [M, P], A: [M, P], D: [P], O: [E, P]"
    form = recognise(cascade_of("".join(f"\n  - {line}" for line in expressions), declared))
    assert form.tensors == {"Q": ("P", "E"), "K": ("M", "E")}
    assert form.values == "K"


def test_iterations_that_do_not_start_at_the_first_tile() -> None:
    text = str(load_cascade("attention-1-pass"))
    with pytest.raises(InputError, match="in a way that has no closed form"):
        recognise(parse_cascade(text.replace("RD[0, p] = 0", "RD[0, p] = 1").replace("RD[0,p] = 0", "RD[0,p] = 1")))


@pytest.mark.parametrize("factor", ["(m / m)", "((m - p) / (m - p))", "m * (2 / m)", "(1 / m / (1 / m))"])
def test_an_index_divided_by_itself_is_not_one(factor: str) -> None:
    with pytest.raises(InputError, match="divides an index by itself, which is no number where it is 0"):
        recognise(weights("divided", f"QK[m, p] * {factor}"))
    recognise(weights("divided", "QK[m, p] * (m / (m + 1))"))
