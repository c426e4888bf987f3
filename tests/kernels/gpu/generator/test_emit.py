"""The generated text, run in NumPy by a skeleton that skips and masks as the kernels do, against the interpreter."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from custom_attention import CASES, Case, expected, softmax, with_values
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades import load_cascade
from kernels.gpu import compiled
from kernels.gpu.generator.bounds import MOST, bounds_of
from kernels.gpu.generator.fused import Fused
from kernels.gpu.generator.recognise import recognise

BLOCK_M, BLOCK_N = 4, 3


class Tile(np.ndarray):  # type: ignore[type-arg]
    """An array that converts as those of Triton do."""

    def to(self, dtype: Any) -> Tile:
        return self.astype(dtype).view(Tile)


LANGUAGE = SimpleNamespace(
    float32=np.float64,
    int64=np.int64,
    cast=lambda x, dtype: np.asarray(x).astype(dtype).view(Tile),
    where=np.where,
    maximum=np.maximum,
    minimum=np.minimum,
    **{name: getattr(np, name) for name in ("exp2", "log", "sqrt", "abs")},
)


def functions_of(source: str) -> dict[str, Any]:
    """The functions of a text, in NumPy."""
    lines = [line for line in source.splitlines() if not line.startswith("import ")]
    scope: dict[str, Any] = {"tl": LANGUAGE, "triton": SimpleNamespace(jit=lambda f: f)}
    exec("\n".join(lines), scope)
    return scope


def run(fused: Fused, inputs: dict[str, Any], scale: float) -> Any:
    """One head, tile by tile; asserts that skipped tiles hide all keys and that tiles without a mask hide none."""
    form = fused.form
    text = fused.text("triton", frozenset())
    scope = functions_of(text.source)
    values = inputs[form.values]
    q_len, kv_len = len(inputs[fused.pairs[0][0]]), len(values)
    sizes = q_len, kv_len, inputs[fused.pairs[0][0]].shape[1], values.shape[1]
    c, args = fused.numbers("triton", frozenset(), sizes, inputs, scale)
    result = np.zeros((q_len, values.shape[1]))
    for number, (stream, (query, key)) in enumerate(zip(text.streams, fused.pairs, strict=True)):
        prepare, score, visible, span, factor = (
            scope[f"{name}_{number}"] for name in ("prepare", "score", "visible", "span", "factor")
        )
        products = inputs[query] @ inputs[key].T
        for first in range(0, q_len, BLOCK_M):
            queries = np.arange(first, min(first + BLOCK_M, q_len)).view(Tile)
            prepared = prepare(args, 0, 0, first)
            low, high, every_low, every_high = span(first, first + BLOCK_M - 1, q_len, kv_len, args)
            found = []
            for start in range(0, kv_len, BLOCK_N):
                offsets = np.arange(min(BLOCK_N, kv_len - start)).view(Tile)
                keep = np.broadcast_to(visible(queries, start, offsets, prepared, kv_len), (len(queries), len(offsets)))
                if start + BLOCK_N <= low or start >= high:
                    assert not keep.any()
                if every_low <= start and start + BLOCK_N <= every_high:
                    assert keep.all()
                tile = products[first : first + BLOCK_M, start : start + BLOCK_N]
                scores = np.broadcast_to(score(tile, queries, start, offsets, prepared, kv_len), keep.shape)
                found.append(np.where(keep, scores, -np.inf if stream.softmax else 0.0))
            scores = np.concatenate(found, 1)
            rm = np.zeros(len(queries))
            if stream.softmax:
                rm = np.maximum((scores * c).max(1), -1e30)
                scores = np.exp2(scores * c - rm[:, None])
            rd = scores.sum(1) if stream.divides else np.zeros(len(queries))
            times = factor(rm, rd, queries, prepared, kv_len)
            result[first : first + BLOCK_M] += scores @ values * np.asarray(times)[:, None]
    return result


@pytest.mark.parametrize("case", [case for case in CASES if not case.tensors], ids=lambda case: case.name)
def test_the_text_gives_what_the_cascade_says(case: Case) -> None:
    fused = Fused(recognise(case.cascade))
    for seed, shape in enumerate(((2, 9, 14, 3, 4), (1, 13, 8, 5, 2))):
        inputs = with_values(case, np.random.default_rng(seed), shape)
        wanted = expected(case, inputs, 0.7)
        for head in range(shape[0]):
            one = {name: float(x) if np.isscalar(x) else x[head] for name, x in inputs.items()}
            with np.errstate(all="ignore"):
                assert np.allclose(run(fused, one, 0.7), wanted[head], atol=1e-9 * max(1.0, abs(wanted).max()))


sides = st.tuples(
    *(st.sampled_from([-1, 0, 1]), st.integers(-2, 2), st.integers(-20, 20), st.sampled_from([0, 0.5, -1.25]))
).filter(lambda side: side[0] or side[1])


@settings(max_examples=25, deadline=None)
@given(
    pairs=st.lists(
        st.tuples(sides, st.sampled_from(["<", "<=", ">", ">=", "=="]), st.booleans()), min_size=1, max_size=3
    )
)
def test_tiles_are_skipped_and_left_unmasked_rightly(pairs: list[Any]) -> None:
    terms = []
    for (m, p, constant, fraction), compared, moved in pairs:
        right = f"{constant + fraction} * 1" if not moved else f"W + {constant}"
        terms.append(f"{m} * m + {p} * p {compared} {right}")
    condition = terms[0]
    for term in terms[1:]:
        condition = f"min({condition}, {term})"
    case = Case(softmax("bounded", f"where({condition}, QK[m, p], -inf)", ", W: []"), {"W": 1.75})
    inputs = {
        n: x if np.isscalar(x) else x[0]
        for n, x in with_values(case, np.random.default_rng(1), (1, 10, 11, 2, 2)).items()
    }
    wanted = expected(case, {n: x if np.isscalar(x) else x[None] for n, x in inputs.items()}, 1.0)[0]
    with np.errstate(all="ignore"):
        assert np.allclose(run(Fused(recognise(case.cascade)), inputs, 1.0), wanted)


def test_what_bounds_keys() -> None:
    window = recognise(load_cascade("attention-sliding-window")).streams[0].conditions
    upper, lower = (bounds_of(condition, "M", "P", frozenset())[0] for condition in window)
    assert (upper.upper, upper.slope, upper.strict) == (True, 1, False)
    assert (lower.upper, lower.slope, lower.strict) == (False, 1, True)
    assert bounds_of(window[1], "M", "P", frozenset({"W"})) == ()
    assert [lower.rounded(x) for x in (-3.0, -2.5, np.inf, -np.inf)] == [-2, -2, MOST + 1, -MOST + 1]
    assert [upper.rounded(x) for x in (3.0, 2.5, np.inf, -np.inf)] == [3, 2, MOST, -MOST]


def test_scores_that_are_products_cost_nothing_more() -> None:
    for name in ("attention-1-pass", "attention-causal", "attention-sliding-window", "attention-differential"):
        fused = Fused(recognise(load_cascade(name)))
        assert "return products\n" in fused.text("gluon", frozenset()).source
    text = Fused(recognise(softmax("scaled", "QK[m, p] / sqrt(E) + 3 * p - log(M)"))).text("gluon", frozenset())
    assert "return products\n" in text.source


def test_skipping_is_announced() -> None:
    facts = {}
    for name in ("attention-1-pass", "attention-causal", "attention-sliding-window"):
        text = Fused(recognise(load_cascade(name))).text("triton", frozenset())
        facts[name] = (text.streams[0].hides, text.streams[0].lower, text.longest_last)
    assert list(facts.values()) == [(False, False, False), (True, False, True), (True, True, False)]


def test_no_user_text_becomes_source() -> None:
    names = "import_os: [E, P], K: [E, M], V: [F, M], __class__: [], A: [M, P], O: [F, P]"
    from einsum_cascades import parse_cascade

    cascade = parse_cascade(
        f"name: odd\ndeclaration: {{{names}}}\nexpressions:\n"
        "  - A[m, p] = import_os[e, p] * K[e, m] * __class__\n  - O[f, p] = max(A[m, p], 0) * V[f, m]\n"
    )
    for dialect in ("gluon", "triton"):
        source = compiled(cascade).source(dialect)
        assert "import_os" not in source
        assert "__class__" not in source
