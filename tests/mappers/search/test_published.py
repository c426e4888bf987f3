"""The published workloads on the published machines: proven optimal, ahead of the presets, and by how much."""

from __future__ import annotations

from math import prod

import pytest

from einsum_cascades.load import load_cascade
from einsum_cascades.models import load_model
from fusemax.spatial import problem_of
from hw_models.accounting import ACCOUNTINGS
from hw_models.load import load_architecture
from mappers.check_certificate import check
from mappers.search.certificate import certificate_of
from mappers.search.figures import OBJECTIVES
from mappers.search.search import Answer, search

LENGTHS = tuple(4**k * 1024 for k in range(6))
CYCLES = {"BERT": 138, "TrXL": 138, "T5": 138, "XLM": 266}
"""Of a tile of 256² scores: 128 of products (256 for XLM's larger heads), 7 of exponentials, 1 of maxima and 1 of sums
on the 2D array, and one more."""


def mapped(cascade: str, machine: str, model: str, length: int, accounting: str) -> Answer:
    workload = load_model(model).attention(length)
    problem = problem_of(load_cascade(cascade), load_architecture(machine), workload, ACCOUNTINGS[accounting])
    return search(problem, OBJECTIVES["latency"], 120)


def ratio(answer: Answer, preset: str) -> float:
    """By what the latency of a preset is to be multiplied for the answer's."""
    figures = [t.figures for (name, _), t in answer.proof.presets.items() if name == preset and t.figures is not None]
    return float(answer.mappings[0].cost.latency_s) / min(f.latency_s for f in figures)


def check_ahead(model: str, length: int, accounting: str) -> float:
    answer = mapped("attention-1-pass", "fusemax-cloud", model, length, accounting)
    assert answer.optimal
    found = answer.mappings[0]
    tiles = answer.proof.space.problem.sizes["instances"] * (length // 256) ** 2
    assert found.cost.latency_s * found.activity.machine.frequency_hz / tiles <= CYCLES[model]
    assert "optimal" in check(certificate_of(answer, "fusemax-cloud", {}))
    return ratio(answer, "fusemax-interleaved")


@pytest.mark.parametrize(("model", "length", "accounting"), [("BERT", 1024, "physical"), ("T5", 65536, "published")])
def test_ahead_of_the_interleaved_binding(model: str, length: int, accounting: str) -> None:
    assert check_ahead(model, length, accounting) < 1


@pytest.mark.slow
@pytest.mark.parametrize("model", CYCLES)
def test_ahead_at_all_published_lengths(model: str) -> None:
    ratios = [check_ahead(model, length, "physical") for length in LENGTHS]
    assert max(ratios) < 1
    assert prod(ratios) ** (1 / len(ratios)) <= 0.975


@pytest.mark.parametrize(
    ("machine", "length"),
    [
        ("flat-edge", 1024),
        pytest.param("flat-cloud", 65536, marks=pytest.mark.slow),
        pytest.param("flat-edge", 4096, marks=pytest.mark.slow),
    ],
)
def test_no_published_choice_of_flat_is_better(machine: str, length: int) -> None:
    answer = mapped("attention-3-pass", machine, "BERT", length, "published")
    assert ratio(answer, "flat") <= 1
    assert answer.optimal
