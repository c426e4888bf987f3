"""How long the search for the best mapping takes, and how far it comes: run with ``make bench``."""

from __future__ import annotations

from time import perf_counter

import pytest

from einsum_cascades.load import load_cascade, parse_cascade
from fusemax.spatial import problem_of
from fusemax.workloads import load_model
from hw_models.accounting import PHYSICAL
from hw_models.load import load_architecture
from mappers.presets.problem import Problem
from mappers.search.figures import OBJECTIVES
from mappers.search.search import search

LAYER = """
name: decoder-layer
declaration:
  {X: [P, D], Y: [M, D], WQ: [H, E, D], WK: [H, E, D], WV: [H, F, D], WZ: [H, F, C], W1: [C, G], W2: [G, B],
   Q: [P, H, E], K: [M, H, E], V: [M, H, F], QK: [H, M, P], GM: [H, P], SN: [H, M, P], SD: [H, P], A: [H, M, P],
   AV: [P, H, F], Z: [P, C], U: [P, G], R: [P, G], O: [P, B]}
expressions:
  - Q[p, h, e] = X[p, d] * WQ[h, e, d]
  - K[m, h, e] = Y[m, d] * WK[h, e, d]
  - V[m, h, f] = Y[m, d] * WV[h, f, d]
  - QK[h, m, p] = Q[p, h, e] * K[m, h, e]
  - 'GM[h, p] = QK[h, m, p] :: reduce(m) max'
  - SN[h, m, p] = exp(QK[h, m, p] - GM[h, p])
  - SD[h, p] = SN[h, m, p]
  - A[h, m, p] = SN[h, m, p] / SD[h, p]
  - AV[p, h, f] = A[h, m, p] * V[m, h, f]
  - Z[p, c] = AV[p, h, f] * WZ[h, f, c]
  - U[p, g] = Z[p, c] * W1[c, g]
  - R[p, g] = max(U[p, g], 0)
  - O[p, b] = R[p, g] * W2[g, b]
"""
"""A decoder layer of GPT-3's shape: projections, attention in three passes, and the feed-forward network."""
GPT3_6_7B = {"P": 2048, "M": 2048, "D": 4096, "H": 32, "E": 128, "F": 128, "C": 4096, "G": 16384, "B": 4096}


def told(name: str, problem: Problem, limit_s: float, objective: str = "latency") -> None:
    start, first = perf_counter(), []

    def progress(best: float, bound: float, costed: int) -> None:
        if best and costed and 1 - bound / best <= 0.1:
            first.append(perf_counter() - start)

    found = search(problem, OBJECTIVES[objective], limit_s, progress)
    seconds = perf_counter() - start
    near = f"{first[0]:.2f} s to a gap of 10 %" if first else f"a gap of {100 * found.gap:.1f} %"
    value = OBJECTIVES[objective].value(found.proof.best_so_far()[0][0])
    print(
        f"\n{name}: {objective} {value:.6g}, gap {100 * found.gap:.2f} % after {seconds:.2f} s ({near}), "
        f"{found.evaluated} trees costed ({found.evaluated / seconds:.0f} a second), {found.pruned} boxes left out"
    )


@pytest.mark.parametrize("model", ["BERT", "XLM"])
@pytest.mark.parametrize("length", [1024, 16384, 1048576])
def test_published_workloads(model: str, length: int) -> None:
    """On the published machine, until the answer is proven."""
    workload = load_model(model).attention(length)
    machine = load_architecture("fusemax-cloud")
    told(f"{model} {length}", problem_of(load_cascade("attention-1-pass"), machine, workload, PHYSICAL), 60)


def test_a_decoder_layer() -> None:
    """GPT-3 6.7B, 2048 tokens."""
    machine = load_architecture("fusemax-cloud")
    told("decoder layer", Problem(parse_cascade(LAYER), {"instances": 1, **GPT3_6_7B}, machine, PHYSICAL), 20)
