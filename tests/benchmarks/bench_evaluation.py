"""How fast the engine is: run with ``make bench`` (these are measurements, not checks)."""

from itertools import count

import pytest

from einsum_cascades.load import load_cascade
from einsum_cascades.workload import Workload
from fusemax.evaluation import evaluate_on
from fusemax.experiments import CONFIGURATIONS, reproduce
from hw_models.accounting import PUBLISHED
from hw_models.load import load_architecture


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda c: c.name)
def test_attention_evaluations(benchmark, configuration):
    """One whole attention evaluation, of a size never seen before in the run."""
    cascade = load_cascade(configuration.cascade)
    machine = load_architecture(configuration.architecture)
    fresh = count(1)

    def one():
        number = next(fresh)
        workload = Workload.attention(batch=number, heads=12, head_dim=64, seq_len=1024 * (1 + number % 64))
        return evaluate_on(cascade, machine, configuration.mapper, workload, PUBLISHED)

    benchmark(one)
    benchmark.extra_info["evaluations_per_s"] = round(1 / benchmark.stats.stats.median)


def test_the_whole_published_evaluation(benchmark):
    benchmark.pedantic(reproduce, rounds=1, iterations=1)
