"""How fast the engine is: run with ``make bench`` (these are measurements, not checks)."""

from itertools import count

import pytest

from einsum_cascades.load import load_cascade
from einsum_cascades.workload import Workload
from fusemax.evaluation import evaluate_on
from fusemax.experiments import CONFIGURATIONS, reproduce
from fusemax.spatial import problem_of
from hw_models.accounting import PUBLISHED
from hw_models.load import load_architecture
from mappers.choose import best, outcome
from mappers.presets.named import preset_named


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


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda c: c.name)
def test_costs_of_a_mapping(benchmark, configuration):
    """What a mapping costs, once a mapper has chosen it."""
    machine = load_architecture(configuration.architecture)
    workload = Workload.attention(batch=64, heads=12, head_dim=64, seq_len=65536)
    problem = problem_of(load_cascade(configuration.cascade), machine, workload, PUBLISHED)
    tree = best(problem, preset_named(configuration.mapper)(problem)).tree
    benchmark(lambda: outcome(problem, tree))
    benchmark.extra_info["evaluations_per_s"] = round(1 / benchmark.stats.stats.median)


def test_the_whole_published_evaluation(benchmark):
    benchmark.pedantic(reproduce, rounds=1, iterations=1)
