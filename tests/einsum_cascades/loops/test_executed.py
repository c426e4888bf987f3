"""Counts and capacities of random trees are what an execution with real stores does; what is accepted can be executed."""

import re
from dataclasses import replace

import pytest
from random_trees import CASCADES, Drawn, cascade_of, mutated, random_tree
from tree_differences import differences, is_legal, run
from tree_execution import Fault

from einsum_cascades.errors import InputError
from einsum_cascades.loops import Level, Levels, Plan, Space, check_legal, parse_tree

TREES = 40
"""Trees of one test."""


@pytest.mark.parametrize("part", range(8))
def test_counts_are_what_happens(part: int):
    _check(range(part * TREES, (part + 1) * TREES), most=150)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_counts_of_many_trees_are_what_happens(part: int):
    _check(range(1000 + part * 600, 1000 + (part + 1) * 600), most=400)


def _check(seeds: range, most: int) -> None:
    accepted = 0
    for seed in seeds:
        drawn = random_tree(seed, most=most)
        if is_legal(drawn):
            accepted += 1
            assert differences(drawn) == [], seed
    assert accepted > len(seeds) * 0.6


@pytest.mark.parametrize("part", range(4))
def test_what_is_accepted_can_be_executed(part: int):
    _check_changed(range(part * TREES, (part + 1) * TREES), most=150)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_many_changed_trees_that_are_accepted_can_be_executed(part: int):
    _check_changed(range(1000 + part * 600, 1000 + (part + 1) * 600), most=400)


def _check_changed(seeds: range, most: int) -> None:
    accepted = 0
    for seed in seeds:
        drawn = mutated(random_tree(seed, most=most), seed)
        if is_legal(drawn):
            accepted += 1
            assert differences(drawn) == [], seed
    assert len(seeds) * 0.4 < accepted < len(seeds)


def test_random_trees_have_everything():
    """The trees that are compared have each node, each kind of link, several loops on a rank, and up to four memories."""
    seen: dict[str, int] = {}
    for seed in range(1000):
        drawn = random_tree(seed)
        if not is_legal(drawn):
            continue
        plan = Plan(drawn.tree, drawn.space, drawn.levels)
        kinds = {type(node).__name__ for node in _nodes(drawn)} | {drawn.space.cascade.name}
        kinds |= {f"state {hold.node.state}" for hold in plan.holds} | {f"double {h.node.double}" for h in plan.holds}
        kinds |= {f"memories {len({h.unit for h in (*site.holds, site)})}" for site in plan.computes}
        for site in plan.computes:
            ranks = [loop.rank for loop in site.loops]
            kinds |= {f"loops {max((ranks.count(rank) for rank in ranks), default=0)}"}
            kinds |= {"time in space" for a, b in zip(site.loops, site.loops[1:], strict=False) if a.over and not b.over}
            kinds |= {"space in time" for a, b in zip(site.loops, site.loops[1:], strict=False) if b.over and not a.over}
            kinds |= {f"over {len({loop.over for loop in site.loops if loop.over})}"}
        kinds |= {f"{level.multicast} {level.reduction}" for level in drawn.levels.levels if level.dimensions}
        kinds |= {f"joined {'*' in loop.rank}" for site in plan.computes for loop in site.loops}
        kinds |= {"spilled" for tensor in plan.at_home - {*drawn.space.cascade.inputs, *drawn.space.cascade.outputs}}
        kinds |= {"kept" for tensor in plan.users.keys() - plan.at_home}
        kinds |= {"again" for users in plan.users.values() if sum(writes for _, _, writes in users) > 1}
        kinds |= {"spread" for hold in plan.holds if plan.loops(hold) != hold.loops}
        kinds |= {"carried" for hold in plan.holds if hold.node.tensor.endswith("'")}
        for kind in kinds:
            seen[kind] = seen.get(kind, 0) + 1
    wanted = {*CASCADES, "Loop", "Hold", "Compute", "Sequential", "Parallel", "Pipeline", "Late", "Last", "state True"}
    wanted |= {"double True", "memories 4", "loops 3", "time in space", "space in time", "over 2", "over 3", "True True"}
    wanted |= {"True False", "False True", "False False", "joined True", "spilled", "kept", "again", "spread", "carried"}
    assert {kind for kind in wanted if seen.get(kind, 0) < 3} == set()


def _nodes(drawn: Drawn):
    from einsum_cascades.loops.tree import nodes

    return nodes(drawn.tree.body)


MACHINE = Levels(
    (
        Level("dram"),
        Level("buffer", "dram", (("cores", 4),)),
        Level("local", "buffer", (("clusters", 4),)),
        Level("array", "local", (("rows", 4), ("columns", 4)), computes=True),
        Level("vector", "buffer", (("lanes", 4),), computes=True),
    )
)


def drawn(name: str, sizes: dict[str, int], text: str, levels: Levels = MACHINE) -> Drawn:
    tree = parse_tree(text)
    return Drawn(tree, Space.of(cascade_of(name), sizes, tree.split), levels)


REFUSED = {
    "a state keeps the last": (
        "prefix",
        {"I": 5, "P": 3},
        """
keep R (state) in array
  seq
    for I step 1
      compute R on array
    compute Y on array
""",
    ),
    "is dropped at each turn of 'for J step 2'": (
        "chain",
        {"M": 3, "J": 5, "K": 2, "N": 2},
        """
for J step 2
  keep T in array
    seq
      compute T on array
      last J
        compute Z on array
""",
    ),
    "Z reads D, which is not made before": (
        "split",
        {"M": 6, "P": 5},
        """
split M0 3
for P step 2
  seq
    pipe
      compute LM on array
      compute S on array
      late 1
        compute D on array
    compute Z on array
""",
    ),
    "T runs twice in 'for J step 6'": (
        "scaled",
        {"M": 2, "J": 7, "K": 3},
        """
for J step 6
  seq
    compute T on array
    compute T on array
    last J
      compute Z on array
""",
    ),
    "T has no rank N: each turn of this loop would begin anew": (
        "chain",
        {"M": 2, "J": 4, "K": 2, "N": 4},
        """
seq
  for J step 2
    for N step 2
      compute T on array
  compute Z on array
""",
    ),
    "T is not complete where Z reads it: 'for J step 1'": (
        "scaled",
        {"M": 2, "J": 4, "K": 2},
        """
keep T in local
  for J step 1 over array.rows
    seq
      compute T on array
      last J
        compute Z on array
""",
    ),
    "Z reads T, which is not made before": (
        "scaled",
        {"M": 2, "J": 4, "K": 2},
        """
keep T in buffer
  pipe
    late 1
      compute T on array
    compute Z on array
""",
    ),
    "T lies over the instances of array in another way": (
        "scaled",
        {"M": 4, "J": 4, "K": 4},
        """
keep T in array
  seq
    for M step 1 over array.rows
      compute T on array
    for K step 1 over array.rows
      compute Z on array
""",
    ),
    "LM has one point for 3 of M": (
        "running",
        {"M": 6, "P": 2},
        """
split M0 3
seq
  for M step 3
    for M step 1
      seq
        compute LM on array
        compute RM on array
  for M step 3
    seq
      compute S on array
      compute SD on array
      compute PRM on array
      compute RD on array
  compute Z on array
""",
    ),
    "tiles of 2 cut parts of 3 points of M apart": (
        "parts",
        {"M": 6, "P": 2, "E": 2},
        """
split M0 3
keep BQK in buffer
  seq
    compute BQK on array
    for M step 2
      compute LM on array
""",
    ),
    "buffer is further out than array": (
        "product",
        {"M": 2, "N": 2, "K": 2},
        """
keep Z in array
  keep Z in buffer
    compute Z on array
""",
    ),
    "R is not made inside": (
        "largest",
        {"I": 3, "P": 2},
        """
seq
  for I step 1
    compute R on array
  keep R (state) in buffer
    compute Y on array
""",
    ),
    "a state hands on its newest value": (
        "largest",
        {"I": 3, "P": 2},
        """
keep R in buffer
  seq
    keep R (state) in array
      for I step 1
        compute R on array
    compute Y on array
""",
    ),
    "'for J step 2' goes on with T before late stages leave": (
        "scaled",
        {"M": 2, "J": 5, "K": 2},
        """
keep T in buffer
  for J step 2
    keep T in array
      pipe
        compute T on array
        late 1
          last J
            compute Z on array
""",
    ),
    "S is made in the last turn of 'for K' alone": (
        "norm",
        {"M": 2, "K": 5},
        """
seq
  for K step 2
    keep S in array
      last K
        for K step 1
          compute S on array
  compute Z on array
""",
    ),
    "S is made twice in this hold": (
        "chain3",
        {"M": 2, "J": 2, "K": 2, "N": 4},
        """
keep T in buffer
  seq
    compute T on array
    keep S in array
      for N step 2
        seq
          compute S on array
          compute Z on vector
""",
    ),
}
"""By what the message says: the cascade, its sizes, and a tree that cannot be executed."""


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_executed_is_refused(message: str):
    case = drawn(*REFUSED[message])
    with pytest.raises(InputError, match=re.escape(message)):
        check_legal(Plan(case.tree, case.space, case.levels))


EXACT = {
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
  for N*M step 6 over buffer.cores
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
@pytest.mark.parametrize("what", EXACT)
def test_counts_of_single_trees_are_what_happens(what: str, shape: str):
    links = {"multicast": shape in ("all", "no reduction"), "reduction": shape in ("all", "no multicast")}
    name, sizes, text = EXACT[what]
    levels = Levels(tuple(replace(level, **links) for level in MACHINE.levels))
    case = drawn(name, sizes, text, levels)
    check_legal(Plan(case.tree, case.space, case.levels))
    assert differences(case) == []


def test_positions_that_no_link_sums_add_what_they_find():
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


def test_the_executor_finds_what_is_not_there():
    case = drawn("scaled", {"M": 2, "J": 2, "K": 2}, "seq\n  compute Z on array\n  compute T on array\n")
    with pytest.raises(Fault, match="T.* is not there"):
        run(case)


def test_the_executor_finds_what_is_not_complete():
    text = "for J step 1\n  seq\n    compute T on array\n    compute Z on array\n"
    with pytest.raises(Fault, match="T.* is not complete"):
        run(drawn("scaled", {"M": 2, "J": 2, "K": 2}, text))


def test_the_executor_finds_what_is_summed_twice():
    text = "seq\n  for N step 1 over array.rows\n    compute T on array\n  compute Z on array\n"
    with pytest.raises(Fault, match="summed into it twice"):
        run(drawn("chain", {"M": 2, "J": 2, "K": 2, "N": 2}, text))
