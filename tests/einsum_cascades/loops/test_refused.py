"""Trees that cannot be executed are refused, with what is wrong; random trees, which tests draw, have everything."""

import re

import pytest
from random_trees import CASCADES, Drawn, random_tree
from single_trees import drawn
from tree_differences import is_legal

from einsum_cascades.errors import InputError
from einsum_cascades.loops import Plan, check_legal
from einsum_cascades.loops.tree import nodes


def test_random_trees_have_everything():
    """The trees that are compared have each node, each kind of link, several loops on a rank, up to four memories."""
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
            kinds |= {
                "time in space" for a, b in zip(site.loops, site.loops[1:], strict=False) if a.over and not b.over
            }
            kinds |= {
                "space in time" for a, b in zip(site.loops, site.loops[1:], strict=False) if b.over and not a.over
            }
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
    wanted |= {
        "double True",
        "memories 4",
        "loops 3",
        "time in space",
        "space in time",
        "over 2",
        "over 3",
        "True True",
    }
    wanted |= {
        "True False",
        "False True",
        "False False",
        "joined True",
        "spilled",
        "kept",
        "again",
        "spread",
        "carried",
    }
    assert wanted - seen.keys() == set()


def _nodes(drawn: Drawn):
    return nodes(drawn.tree.body)


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
    "RM has one point for 3 of M": (
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
    "S is summed over the instances of array, each of which has a part of it where Z reads it": (
        "norm",
        {"M": 2, "K": 4},
        """
keep S in array
  seq
    for K step 1 over array.rows
      compute S on array
    for K step 1 over array.rows
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
