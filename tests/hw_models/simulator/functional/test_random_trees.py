"""Random trees, run on numbers: results are the interpreter's, accesses and room what the engine says.

What the engine accepts can be executed; and what it refuses fails, or gives what the interpreter gives nevertheless.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
from random_trees import Drawn, cascade_of, mutated, random_tree
from single_trees import MACHINE, drawn
from tree_differences import EXACT, differences, inputs_of, is_legal, run

from einsum_cascades.errors import InputError
from einsum_cascades.loops import Level, Levels, Plan, check_legal
from hw_models.simulator.functional import max_error, reference

TREES = 20
"""Trees of one test."""


@pytest.mark.parametrize("part", range(8))
def test_counts_and_results_are_what_happens(part: int) -> None:
    _check(range(part * TREES, (part + 1) * TREES), most=150, made=as_drawn)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_counts_and_results_of_many_trees_are_what_happens(part: int) -> None:
    _check(range(1000 + part * 300, 1000 + (part + 1) * 300), most=400, made=as_drawn)


@pytest.mark.parametrize("part", range(4))
def test_what_is_accepted_can_be_executed(part: int) -> None:
    _check(range(part * TREES, (part + 1) * TREES), most=150, made=mutated, least=0.4)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_many_changed_trees_that_are_accepted_can_be_executed(part: int) -> None:
    _check(range(1000 + part * 300, 1000 + (part + 1) * 300), most=400, made=mutated, least=0.4)


def as_drawn(tree: Drawn, seed: int) -> Drawn:
    assert seed >= 0
    return tree


def _check(seeds: range, most: int, made: Callable[[Drawn, int], Drawn], least: float = 0.6) -> None:
    accepted = 0
    for seed in seeds:
        tree = made(random_tree(seed, most=most), seed)
        if is_legal(tree):
            accepted += 1
            assert differences(tree, seed) == [], seed
        else:
            _check_refused(tree, seed)
    assert accepted > len(seeds) * least


def _check_refused(tree: Drawn, seed: int) -> None:
    """What runs without an error gives the right results, whoever refuses it."""
    try:
        done = run(tree, seed)
    except InputError:
        return
    assert max_error(done.results, reference(tree.space, inputs_of(tree.space, seed))) < EXACT, seed


SINGLE = {
    "what is made again where it is read goes nowhere else": (
        "fork",
        {"M": 3, "J": 4, "K": 3},
        """
seq
  keep T in array
    seq
      compute T on array
      compute Y on array
  keep T in array
    seq
      compute T on array
      compute Z on array
""",
    ),
    "sums go on from one turn to the next in a hold further out": (
        "chain",
        {"M": 3, "J": 5, "K": 2, "N": 2},
        """
keep T in buffer
  for J step 2
    keep T in array
      seq
        compute T on array
        last J
          compute Z on array
""",
    ),
    "a state's value that late stages still read": (
        "prefix",
        {"I": 7, "P": 3},
        """
keep R (state) in buffer
  for I step 1
    pipe
      compute R on array
      late 2
        compute Y on vector
""",
    ),
    "a state that others want each iteration of": (
        "prefix",
        {"I": 7, "P": 3},
        """
seq
  for I step 3
    keep R (state) in array
      for I step 1
        compute R on array
  compute Y on vector
""",
    ),
    "positions of a memory in pieces": (
        "product",
        {"M": 9, "N": 5, "K": 7},
        """
keep A in array
  for M step 4
    for N step 2
      for M step 1 over array.rows
        compute Z on array
""",
    ),
    "a part's values, its loops in several sizes": (
        "parts",
        {"M": 7, "P": 2, "E": 2},
        """
split M0 4
keep BQK in buffer
  seq
    compute BQK on array
    for M step 4
      for M step 2
        for M step 4 over array.rows
          keep LM in array
            for M step 1
              compute LM on array
""",
    ),
    "a value of a part, whose points are cut inside": (
        "parts",
        {"M": 10, "P": 4, "E": 2},
        """
split M0 4
seq
  compute BQK on array
  keep LM in array
    for M step 4
      for M step 2
        keep BQK in array
          for P step 2 over array.rows
            for M step 1 over array.rows
              compute LM on array
""",
    ),
    "written on as it is complete": (
        "scaled",
        {"M": 3, "J": 4, "K": 2},
        """
keep T in array
  par
    compute T on array
    compute Z on vector
""",
    ),
    "ranks cut as one": (
        "elementwise",
        {"M": 5, "N": 7, "instances": 2},
        """
keep A in buffer
  for N*M step 10 over buffer.cores
    for N*M step 4
      compute Z on array
""",
    ),
    "copies that late stages keep while others run": (
        "scaled",
        {"M": 9, "J": 4, "K": 2},
        """
for M step 2
  seq
    keep A in buffer
      compute T on array
    keep T in buffer
      pipe
        compute T on array
        late 2
          compute Z on vector
""",
    ),
}
"""Trees that once were counted wrongly."""


@pytest.mark.parametrize("shape", ["all", "no multicast", "no reduction", "neither"])
@pytest.mark.parametrize("what", SINGLE)
def test_counts_of_single_trees_are_what_happens(what: str, shape: str) -> None:
    links = {"multicast": shape in ("all", "no reduction"), "reduction": shape in ("all", "no multicast")}
    name, sizes, text = SINGLE[what]
    levels = Levels(tuple(replace(level, **links) for level in MACHINE.levels))
    case = drawn(name, sizes, text, levels)
    check_legal(Plan(case.tree, case.space, case.levels))
    assert differences(case) == []


def test_positions_that_no_link_sums_add_what_they_find() -> None:
    """Of two positions that add to one value at a time, the second fetches what the first has left there."""
    text = """
for K step 2 over array.columns
  keep Z in array
    for K step 1
      compute Z on array
"""
    levels = Levels((Level("dram"), Level("array", "dram", (("columns", 2),), reduction=False, computes=True)))
    case = drawn("product", {"M": 1, "N": 1, "K": 4}, text, levels)
    assert differences(case) == []
    assert run(case).rows["array", "Z", "read"] == 3


def test_what_takes_the_largest_is_exact() -> None:
    for seed in range(20):
        tree = random_tree(seed, names=("largest",))
        if is_legal(tree):
            assert max_error(run(tree).results, reference(tree.space, inputs_of(tree.space))) == 0


def test_a_hold_whose_reader_wants_an_earlier_iteration_waits_until_it_is_left() -> None:
    """A state's new value goes to it as the inner hold is left, so that the old one is there for a late reader."""
    text = """
keep RM (state), RD (state) in buffer
  for M step 2
    keep LM, RM in buffer
      seq
        compute LM on array
        compute RM on array
        keep S in buffer
          seq
            compute S on array
            compute SD on array
        compute PRM on array
        compute RD on array
"""
    case = drawn("running", {"M": 6, "P": 2}, "split M0 2\nseq\n" + _indented(text) + "  compute Z on array\n")
    assert is_legal(case)
    assert differences(case) == []


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.strip().splitlines())


def test_cascades_that_are_equal_but_not_the_same_run() -> None:
    """What is known of a cascade is kept with one that is equal, whose Einsums are other objects."""
    cascade_of.cache_clear()
    tree = random_tree(3, names=("running",), most=60)
    assert is_legal(tree)
    cascade_of.cache_clear()
    again = random_tree(3, names=("running",), most=60)
    assert differences(again) == differences(tree) == []
