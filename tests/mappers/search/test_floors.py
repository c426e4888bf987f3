"""Bounds of segments: the busiest array against all ways to share Einsums out, and a linear program."""

from __future__ import annotations

from contextlib import suppress
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from einsum_cascades.errors import InputError
from einsum_cascades.load import load_cascade
from einsum_cascades.loops.space import Space
from hw_models.accounting import PHYSICAL
from hw_models.load import load_architecture
from mappers.presets.problem import Problem
from mappers.search.cuts import Cuts
from mappers.search.figures import OBJECTIVES, Figures
from mappers.search.floors import Floors, busiest
from mappers.search.frames.presets import PRESETS, preset_figures, preset_tree
from mappers.search.segment import Segment

CYCLES = st.floats(0.1, 100)
LOADS = st.one_of(
    st.fixed_dictionaries({"matrix": CYCLES, "vector": CYCLES}),
    st.fixed_dictionaries({"matrix": CYCLES}),
    st.fixed_dictionaries({"vector": CYCLES}),
)


def shared_out(free: list[dict[str, float]]) -> float:
    """The fewest cycles of the busiest array over all ways."""
    least = float("inf")
    for ways in product(*(loads.items() for loads in free)):
        busy = {"matrix": 0.0, "vector": 0.0}
        for array, cycles in ways:
            busy[array] += cycles
        least = min(least, max(busy.values()))
    return least


@pytest.mark.parametrize("machine", ["flat-cloud", "fusemax-cloud", "phone-npu", "tpu-v4i"])
@pytest.mark.parametrize("cascade", ["attention-1-pass", "attention-2-pass", "attention-3-pass", "attention-split-k"])
def test_no_preset_is_better_than_the_bound(cascade: str, machine: str) -> None:
    """Where inputs have other bits than what is made of them too, and where a view reads an input in parts."""
    chip, algorithm = load_architecture(machine), load_cascade(cascade)
    whole = {partition.rank for partition in algorithm.partitions}
    sizes = {"instances": 2, **dict.fromkeys({"E", "F", "M", "P", *whole}, 24)}
    problem = Problem(algorithm, sizes, chip, PHYSICAL)
    tried = 0
    for name in PRESETS:
        with suppress(InputError):
            tree = preset_tree(problem, name, 0)
            assert tree is not None
            found = preset_figures(problem, tree)
            space = Space.of(algorithm, sizes, tree.split)
            cuts, floors = Cuts(algorithm), Floors(problem, space)
            bound = floors.of(Segment(problem, space, cuts.names(cuts.states[-1]), floors))
            assert bound.latency_s <= found.latency_s
            assert bound.energy_j <= found.energy_j
            tried += 1
    assert tried > 0


@given(st.lists(LOADS, max_size=6))
def test_few_einsums_are_shared_out_whole(free: list[dict[str, float]]) -> None:
    assert busiest({}, free) == pytest.approx(shared_out(free), rel=1e-9)


@given(st.lists(LOADS, min_size=1, max_size=9))
def test_many_are_between_a_linear_program_and_all_ways(free: list[dict[str, float]]) -> None:
    both = [loads for loads in free if len(loads) == 2]
    alone = {a: sum(loads[a] for loads in free if [*loads] == [a]) for a in ("matrix", "vector")}
    rows = [[loads["matrix"] for loads in both] + [-1.0], [-loads["vector"] for loads in both] + [-1.0]]
    sides = [-alone["matrix"], -alone["vector"] - sum(loads["vector"] for loads in both)]
    bounds = [(0.0, 1.0)] * len(both) + [(0.0, None)]
    in_parts = linprog([0.0] * len(both) + [1.0], A_ub=rows, b_ub=sides, bounds=bounds).fun
    found = busiest({}, free)
    assert in_parts * (1 - 1e-6) <= found <= shared_out(free) * (1 + 1e-9)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)), max_size=12))
def test_fronts_leave_out_what_another_is_no_worse_than(some: list[tuple[int, int, int]]) -> None:
    objective = OBJECTIVES["pareto"]
    figures = [Figures(float(a), float(b), c) for a, b, c in some]
    front = objective.front(figures, lambda f: f)
    assert all(any(objective.no_worse(kept, f) for kept in front) for f in figures)
    assert not any(a is not b and objective.no_worse(a, b) for a in front for b in front)


def test_a_bound_that_is_no_better_than_a_tree_is_left_out() -> None:
    objective = OBJECTIVES["latency"]
    tree, bound, lower = (Figures(x, 1.0, 1) for x in (1.0, 1.0 - 1e-13, 0.5))
    assert objective.front([bound, tree], lambda f: f, lambda f: f is tree) == [tree]
    assert objective.front([lower, tree], lambda f: f, lambda f: f is tree) == [lower, tree]
