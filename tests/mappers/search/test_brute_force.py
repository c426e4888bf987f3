"""The search against all mappings of its space, one after another, on small random problems; and what it answers, run.

Each problem has a cascade, a machine and an objective of its own. The answer costs what the best of all costs, in every
objective; its proof is accepted; and the simulators execute it, with the accesses that the engine counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest
from all_mappings import TooManyError, best_of_all
from small_problems import certified, small_problem
from tree_differences import inputs_of, of_counts, of_room

from einsum_cascades.errors import InputError
from hw_models.simulator.functional import simulate
from hw_models.simulator.timed.simulate import simulate_timed
from mappers.check_certificate import check
from mappers.choose import Outcome
from mappers.presets.problem import Problem
from mappers.search.figures import OBJECTIVES, Figures, Objective
from mappers.search.search import search
from mappers.search.segment import figures_of

TREES = 60
"""So many trees of segments a problem has at most."""


def problems(seeds: range) -> Iterator[tuple[int, Problem, Objective, list[Figures]]]:
    """Yield problems whose space can be gone through, and what is best in it."""
    for seed in seeds:
        problem, objective = small_problem(seed), list(OBJECTIVES.values())[seed // 8 % len(OBJECTIVES)]
        if problem is not None:
            with suppress(TooManyError):
                yield seed, problem, objective, best_of_all(problem, objective, TREES)


def check_answer(seed: int, problem: Problem, objective: Objective, best: list[Figures]) -> None:
    if not best:
        with pytest.raises(InputError):
            search(problem, objective)
        return
    answer = search(problem, objective)
    found = [figures_of(problem.plan(o.tree), problem) for o in answer.mappings]
    assert answer.optimal, seed
    assert min(map(objective.value, found)) == pytest.approx(min(map(objective.value, best)), rel=1e-12), seed
    if objective.name == "pareto":
        assert all(any(objective.no_worse(own, other) for own in found) for other in best), seed
        assert all(any(objective.no_worse(other, own) for other in best) for own in found), seed
    assert "optimal" in check(certified(answer)), seed
    for mapping in answer.mappings[:1]:
        check_executes(problem, mapping)


def check_executes(problem: Problem, mapping: Outcome) -> None:
    plan = mapping.activity.plan
    published = [node.name for node in problem.machine.nodes if problem.accounting.name == "published"]
    with np.errstate(all="ignore"):
        done = simulate(mapping.tree, plan.space, problem.machine, inputs_of(plan.space), unlimited=published)
    assert of_counts(done, plan) == []
    assert of_room(done, plan, lambda tensor: int(mapping.activity.bits(tensor))) == []
    timed = simulate_timed(mapping.tree, plan.space, problem.machine, problem.accounting)
    for array in problem.machine.arrays:
        assert timed.cycles >= sum(int(t.cycles) for t in mapping.activity.tasks.values() if t.array == array.name)


def test_the_search_finds_the_best_of_all() -> None:
    tried = 0
    for seed, problem, objective, best in problems(range(40)):
        check_answer(seed, problem, objective, best)
        tried += 1
    assert tried >= 6


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_the_search_finds_the_best_of_500_problems(part: int) -> None:
    tried = 0
    for seed, problem, objective, best in problems(range(1000 + 1000 * part, 2000 + 1000 * part)):
        check_answer(seed, problem, objective, best)
        tried += 1
        if tried == 25:
            return
    pytest.fail(f"only {tried} problems")
