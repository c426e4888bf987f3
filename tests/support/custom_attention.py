"""Cascades that are like attention, the library's and others, with inputs; results by the reference interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from einsum_cascades import Cascade, load_cascade, parse_cascade, run

_SOFTMAX = """
  - 'GM[p] = S[m, p] :: reduce(m) max'
  - FM[p] = max(GM[p], -1e+30)
  - SN[m, p] = exp(S[m, p] - FM[p])
  - SD[p] = SN[m, p]
  - FD[p] = max(SD[p], 1)
  - AV[f, p] = SN[m, p] / FD[p] * V[f, m]
"""
_RANKS = "{Q: [E, P], K: [E, M], V: [F, M], QK: [M, P], S: [M, P], GM: [P], FM: [P], SN: [M, P], SD: [P], FD: [P]"


def softmax(name: str, score: str, declared: str = "") -> Cascade:
    """Return softmax attention with scores ``S[m, p] = score``, an expression of ``QK[m, p]``."""
    return parse_cascade(
        f"name: {name}\ndeclaration: {_RANKS}, AV: [F, P]{declared}}}\nexpressions:\n"
        f"  - QK[m, p] = Q[e, p] * K[e, m]\n  - S[m, p] = {score}{_SOFTMAX}"
    )


def weights(name: str, weight: str, declared: str = "", result: str = "A[m, p] * V[f, m]") -> Cascade:
    """Return attention whose weights are an expression of ``QK[m, p]``, not divided by anything."""
    return parse_cascade(
        f"name: {name}\ndeclaration: {{Q: [E, P], K: [E, M], V: [F, M], QK: [M, P], A: [M, P], AV: [F, P]{declared}}}\n"
        f"expressions:\n  - QK[m, p] = Q[e, p] * K[e, m]\n  - A[m, p] = {weight}\n  - AV[f, p] = {result}\n"
    )


@dataclass(frozen=True)
class Case:
    """A cascade, and the ranks or values of its inputs other than queries, keys and values."""

    cascade: Cascade
    scalars: Mapping[str, float] = field(default_factory=dict)
    tensors: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The cascade's name."""
        return self.cascade.name


_SINK = parse_cascade(
    """
name: attention-sink
declaration: {X: [P, D], Y: [M, D], Z: [M, F], SINK: [], S: [P, M], G: [P], N: [P, M], D1: [P], O: [P, F]}
expressions:
  - S[p, m] = X[p, d] * Y[m, d] * 0.5
  - 'G[p] = S[p, m] :: reduce(m) max'
  - N[p, m] = exp(S[p, m] - G[p])
  - D1[p] = N[p, m]
  - O[p, f] = N[p, m] * Z[m, f] / (D1[p] + exp(SINK - G[p]))
"""
)
_MEAN = parse_cascade(
    """
name: mean-of-rectified
declaration: {Q: [E, P], K: [E, M], V: [F, M], QK: [M, P], A: [M, P], D: [P], N: [F, P], AV: [F, P]}
expressions:
  - QK[m, p] = Q[e, p] * K[e, m]
  - A[m, p] = where(m <= p + (M - P), max(QK[m, p], 0) + 0.1, 0)
  - D[p] = A[m, p]
  - N[f, p] = A[m, p] * V[f, m]
  - AV[f, p] = N[f, p] / max(D[p], 0.01)
"""
)
_TWO = parse_cascade(
    """
name: two-sigmoids
declaration: {Q: [E, P], K: [E, M], R: [E, P], L: [E, M], V: [F, M], A: [M, P], B: [M, P], C: [M, P], AV: [F, P], G: []}
expressions:
  - A[m, p] = Q[e, p] * K[e, m]
  - B[m, p] = R[e, p] * L[e, m]
  - C[m, p] = sigmoid(A[m, p]) - G * tanh(B[m, p] - 0.01 * abs(m - p))
  - AV[f, p] = C[m, p] * V[f, m]
"""
)

CASES = tuple(
    [Case(load_cascade(f"attention-{name}")) for name in ("1-pass", "2-pass", "3-pass", "3-pass-deferred", "causal")]
    + [Case(load_cascade(f"attention-{name}")) for name in ("relu", "sigmoid", "softmax-unstable", "split-k")]
    + [
        Case(load_cascade("attention-alibi"), {"SLOPE": 0.3}),
        Case(load_cascade("attention-soft-cap"), {"CAP": 3.0}),
        Case(load_cascade("attention-sliding-window"), {"W": 40}),
        Case(load_cascade("attention-differential"), {"LAMBDA": 0.7}),
        Case(_SINK, {"SINK": 1.5}),
        Case(_MEAN),
        Case(_TWO, {"G": 0.5}),
        Case(softmax("shifted", "QK[m, p] * (1 / sqrt(E)) - 3 * p + log(M)")),
        Case(softmax("negative", "-0.7 * QK[m, p]")),
        Case(softmax("two-sided", "where(abs(m - p) < W, QK[m, p], -inf)", ", W: []"), {"W": 30.5}),
        Case(softmax("ahead", "where(m > p, QK[m, p], -inf)")),
        Case(softmax("prefix", "where(max(m < N, m <= p + (M - P)), QK[m, p], -inf)", ", N: []"), {"N": 20}),
        Case(softmax("diagonal", "where(m == p + 3, QK[m, p], -inf)")),
        Case(softmax("reversed", "where(m + p >= 50, QK[m, p], -inf)")),
        Case(softmax("squares", "QK[m, p] - S2 * (m - p) * (m - p)", ", S2: []"), {"S2": 0.002}),
        Case(softmax("biased", "QK[m, p] + B[m, p]", ", B: [M, P]"), {}, {"B": "PM"}),
        Case(softmax("padded", "QK[m, p] + where(KEEP[m] > 0, 0, -inf)", ", KEEP: [M]"), {}, {"KEEP": "M"}),
        Case(
            softmax("documents", "where((D[p] > 0) == (C[m] > 0), QK[m, p], -inf)", ", D: [P], C: [M]"),
            {},
            {"D": "P", "C": "M"},
        ),
        Case(softmax("temperature", "QK[m, p] * exp(T[p])", ", T: [P]"), {}, {"T": "P"}),
        Case(softmax("nested", "CAP * tanh(max(QK[m, p], 0.5 * QK[m, p]) / CAP)", ", CAP: []"), {"CAP": 2.0}),
        Case(weights("retention", "where(m <= p, QK[m, p] * exp(G * (p - m)), 0)", ", G: []"), {"G": -0.05}),
        Case(weights("gated", "QK[m, p] * sigmoid(QK[m, p]) / M * (m <= p + (M - P))")),
        Case(weights("exponential", "exp(0.3 * QK[m, p]) / (M + P)")),
        Case(weights("rational", "1 / (1 + QK[m, p] * QK[m, p])", result="A[m, p] * V[f, m] / (p + 1)")),
        Case(weights("logarithmic", "log(1 + abs(QK[m, p])) * sqrt(1 + m)")),
        Case(weights("choice", "where(QK[m, p] > 0.2, QK[m, p], -0.1 * QK[m, p])")),
    ]
)


def with_values(case: Case, rng: np.random.Generator, shape: tuple[int, int, int, int, int]) -> dict[str, Any]:
    """Return random inputs of a case, as a kernel takes them, in float64.

    Args:
        case: the cascade.
        rng: where numbers come from.
        shape: heads, P, M, E and F.
    """
    from kernels.gpu.generator.recognise import recognise

    form = recognise(case.cascade)
    heads, q_len, kv_len, head_dim, value_dim = shape
    sizes = {form.query_rank: q_len, form.key_rank: kv_len, form.value_rank: value_dim}
    found: dict[str, Any] = {}
    for name, (length, size) in form.tensors.items():
        found[name] = rng.standard_normal((heads, sizes[length], sizes.get(size, head_dim)))
    for name, ranks in case.tensors.items():
        found[name] = rng.standard_normal(
            (heads, *(sizes[form.query_rank if r == "P" else form.key_rank] for r in ranks))
        )
    return found | dict(case.scalars)


def expected(case: Case, inputs: Mapping[str, Any], scale: float) -> Any:
    """Return the results of all heads in float64 by the reference interpreter, with zeros for queries without keys."""
    from kernels.gpu.generator.recognise import recognise

    form = recognise(case.cascade)
    queries = {stream.product.left.tensor for stream in form.streams}
    results = []
    for head in range(next(iter(inputs.values())).shape[0]):
        arrays = {}
        for name, value in inputs.items():
            x = np.asarray(value, dtype=np.float64)
            x = x[head] if x.ndim else x
            arrays[name] = x * scale if name in queries else x
        results.append(np.nan_to_num(_reference(case.cascade, arrays, form), nan=0.0))
    return np.stack(results)


def _reference(cascade: Cascade, arrays: dict[str, Any], form: Any) -> Any:
    """One head: axes turned to the order that the cascade declares, and the result turned back."""
    plain = dict(cascade.views)
    order = {form.query_rank: 0, form.key_rank: 1}
    given, sizes = {}, {}
    for name, x in arrays.items():
        tensor = next((tiled for tiled, whole in plain.items() if whole == name), name)
        ranks = list(dict.fromkeys(cascade.whole_rank(rank) for rank in cascade.ranks_of[tensor]))
        own = list(form.tensors.get(name, sorted(ranks, key=lambda rank: order.get(rank, 2))))
        given[name] = x.transpose([own.index(rank) for rank in ranks]) if x.ndim else x
    if cascade.partitions:
        keys = next(iter(arrays[s.product.right.tensor].shape[0] for s in form.streams))
        sizes["M0"] = next(n for n in (8, 7, 5, 3, 2, 1) if keys % n == 0)
    result = run(cascade, given, sizes=sizes)[form.result]
    declared = cascade.ranks_of[form.result]
    return result if declared.index(form.query_rank) == 0 else result.T
