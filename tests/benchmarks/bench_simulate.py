"""How many tile tasks one core simulates in a second, and how long BERT at 64K takes: run with ``make bench``."""

from __future__ import annotations

from time import process_time

import pytest

from einsum_cascades.load import load_cascade
from fusemax.evaluated import SpatialEvaluation
from fusemax.experiments import CONFIGURATIONS
from fusemax.spatial import evaluate_on
from fusemax.workloads import load_model
from hw_models.accounting import PUBLISHED
from hw_models.load import load_architecture
from hw_models.simulator.timed.result import Timed
from hw_models.simulator.timed.simulate import simulate_timed


def evaluated(name: str, length: int) -> SpatialEvaluation:
    """Return a published configuration of BERT."""
    configuration = next(c for c in CONFIGURATIONS if c.name == name)
    cascade, machine = load_cascade(configuration.cascade), load_architecture(configuration.architecture)
    return evaluate_on(cascade, machine, configuration.mapper, load_model("BERT").attention(length), PUBLISHED)


def run(found: SpatialEvaluation, *, every: bool) -> tuple[Timed, float]:
    """Simulate, and return the seconds of this process."""
    start = process_time()
    done = simulate_timed(found.mapping, found.activity.plan.space, found.architecture, PUBLISHED, every=every)
    return done, process_time() - start


@pytest.mark.parametrize(("name", "length"), [("binding", 8192), ("unfused", 1024), ("flat", 1024)])
def test_tasks_a_second(name: str, length: int) -> None:
    """Every task one by one, after compilation."""
    run(evaluated(name, 256), every=True)
    done, seconds = run(evaluated(name, length), every=True)
    tasks = sum(task.visits for task in done.tasks)
    print(f"\n{name} {length}: {tasks:,} tile tasks, {tasks / seconds / 1e6:.1f} M a second and core")


def test_bert_at_64k() -> None:
    """The binding, with what is proven to repeat run once."""
    run(evaluated("binding", 256), every=True)
    done, seconds = run(evaluated("binding", 65536), every=False)
    tasks = sum(task.visits for task in done.tasks)
    print(f"\nBERT at 64K, binding: {tasks:,} tile tasks in {seconds:.2f} s, {done.turns:,} turns taken one by one")
