"""Mutated trees: each fails where it asks for what cannot be, and says what, where and when.

The simulator is not asked whether a tree is legal: the first of each pair runs, the second is the first with a change.
"""

import re
from dataclasses import replace

import pytest
from random_trees import Drawn
from single_trees import MACHINE, drawn
from tree_differences import bits, differences, inputs_of, run

from einsum_cascades.errors import InputError
from einsum_cascades.load import parse_cascade
from einsum_cascades.loops import Level, Levels, Plan, Space, parse_tree
from einsum_cascades.loops.capacity import live_bits
from hw_models.simulator.functional import SimulationError, simulate

SUMS = """
keep T in buffer
  for J step 2
    keep T in array
      seq
        compute T on array
        last J
          compute Z on array
"""
STAGES = """
for M step 2
  keep T in buffer
    pipe
      late 1
        compute T on array
      late {late}
        compute Z on vector
"""
STATE = """
keep R (state) in buffer
  for I step 2
    keep R (state) in array
      seq
        for I step 1
          compute R on array
        last I
          compute Y on array
"""
CHAIN = {"M": 2, "J": 5, "K": 2, "N": 2}
SCALED = {"M": 8, "J": 3, "K": 2}

CASES = {
    "a hold dropped": (
        drawn("chain", CHAIN, SUMS),
        drawn("chain", CHAIN, SUMS.replace("keep T in buffer\n", "seq\n", 1)),
        "Z reads T[0, 0] in array, into which 1 of 5 points are summed so far: "
        "at 'for J step 2 > keep T in array > last J > compute Z on array', step 20",
        "T[0, 0]",
        8,
    ),
    "a stage too early": (
        drawn("scaled", SCALED, STAGES.format(late=1)),
        drawn("scaled", SCALED, STAGES.format(late=0).replace("      late 0\n        compute", "      compute")),
        "Z reads T[0, 0], which is not in buffer: nothing has made it yet: "
        "at 'for M step 2 > keep T in buffer > compute Z on vector', step 0",
        "T[0, 0]",
        7,
    ),
    "an order that breaks a dependence": (
        drawn("scaled", SCALED, "keep T in buffer\n  seq\n    compute T on array\n    compute Z on array\n"),
        drawn("scaled", SCALED, "keep T in buffer\n  seq\n    compute Z on array\n    compute T on array\n"),
        "Z reads T[0, 0], which is not in buffer: nothing has made it yet: at 'keep T in buffer > compute Z on array', "
        "step 0",
        "T[0, 0]",
        3,
    ),
    "a hold inside a reduction loop": (
        drawn(
            "norm",
            {"M": 2, "K": 5},
            "keep S in array\n  seq\n    for K step 2\n      compute S on array\n    compute Z on array\n",
        ),
        drawn(
            "norm",
            {"M": 2, "K": 5},
            "for K step 2\n  keep S in array\n    seq\n      compute S on array\n      compute Z on array\n",
        ),
        "Z reads S[0] in array, into which 2 of 5 points are summed so far: "
        "at 'for K step 2 > keep S in array > compute Z on array', step 4",
        "S[0]",
        5,
    ),
    "a state dropped": (
        drawn("largest", {"I": 5, "P": 3}, STATE),
        drawn("largest", {"I": 5, "P": 3}, STATE.replace("keep R (state) in buffer\n", "seq\n", 1)),
        "R reads R[2, 0], which is not in array: it was made, and did not stay or come there: "
        "at 'for I step 2 > keep R (state) in array > for I step 1 > compute R on array', step 6",
        "R[2, 0]",
        7,
    ),
    "a state that keeps one value only": (
        drawn(
            "prefix",
            {"I": 5, "P": 3},
            "keep R in array\n  seq\n    for I step 1\n      compute R on array\n    compute Y on array\n",
        ),
        drawn(
            "prefix",
            {"I": 5, "P": 3},
            "keep R (state) in array\n  seq\n    for I step 1\n      compute R on array\n    compute Y on array\n",
        ),
        "Y reads R[1, 0], which is not in array: it was made, and did not stay or come there: "
        "at 'keep R (state) in array > compute Y on array', step 15",
        "R[1, 0]",
        5,
    ),
    "an instance that has another part": (
        drawn(
            "norm",
            {"M": 1, "K": 4},
            "seq\n  for K step 1 over array.rows\n    compute S on array\n  compute Z on array\n",
        ),
        drawn(
            "norm",
            {"M": 1, "K": 4},
            "keep S in array\n  seq\n    for K step 1 over array.rows\n      compute S on array\n"
            "    for K step 1 over array.rows\n      compute Z on array\n",
        ),
        "Z reads S[0] in array, into which 1 of 4 points are summed so far: "
        "at 'keep S in array > for K step 1 over array.rows > compute Z on array', step 1",
        "S[0]",
        6,
    ),
    "a value made again where its sum goes on": (
        drawn("chain", CHAIN, "seq\n  compute T on array\n  compute Z on array\n"),
        drawn("chain", CHAIN, "seq\n  for N step 1 over array.rows\n    compute T on array\n  compute Z on array\n"),
        "T[0, 0] has a point summed into it twice: at 'for N step 1 over array.rows > compute T on array', step 0",
        "T[0, 0]",
        3,
    ),
    "positions that there are not": (
        drawn("product", {"M": 4, "N": 2, "K": 2}, "for M step 1 over array.rows\n  compute Z on array\n"),
        drawn("product", {"M": 5, "N": 2, "K": 2}, "for M step 1 over array.rows\n  compute Z on array\n"),
        "array.rows has 4 positions, and needs 5: at 'for M step 1 over array.rows', step 0",
        "",
        1,
    ),
    "a hold that nothing uses": (
        drawn("product", {"M": 4, "N": 2, "K": 2}, "keep A in buffer\n  compute Z on array\n"),
        drawn("product", {"M": 4, "N": 2, "K": 2}, "keep A in vector\n  compute Z on array\n"),
        "nothing inside uses A of vector: at 'keep A in vector', step 0",
        "",
        1,
    ),
    "an Einsum left out": (
        drawn("scaled", SCALED, "seq\n  compute T on array\n  compute Z on array\n"),
        drawn("scaled", SCALED, "compute T on array\n"),
        "Z is not run",
        "",
        0,
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_what_is_mutated_fails(kind: str) -> None:
    right, wrong, message, coordinates, line = CASES[kind]
    assert differences(right) == []
    with pytest.raises(SimulationError) as found:
        run(wrong)
    assert found.value.message == message
    assert found.value.coordinates == coordinates
    assert (found.value.location.line if found.value.location else 0) == line


def limited(case: Drawn, room: dict[str, int]) -> Levels:
    """The levels of a case with room for so many bits."""
    return Levels(tuple(replace(level, capacity_bits=room.get(level.name)) for level in case.levels.levels))


TILES = """
for M step {tile}
  keep A in buffer
    for K step 1
      keep A in array
        compute Z on array
"""


def test_a_tile_of_one_value_too_many_has_no_room() -> None:
    """What the engine says is enough, and one bit less is not."""
    sizes = {"M": 9, "N": 2, "K": 3}
    case = drawn("product", sizes, TILES.format(tile=4))
    room = live_bits(Plan(case.tree, case.space, case.levels), lambda _: 8)
    assert room == {"buffer": 12 * 8, "array": 4 * 8}
    fitting, inputs = limited(case, room), inputs_of(case.space)
    assert simulate(case.tree, case.space, fitting, inputs, bits=lambda _: 8).peaks == room
    larger = drawn("product", sizes, TILES.format(tile=5))
    with pytest.raises(SimulationError) as found:
        simulate(larger.tree, case.space, fitting, inputs, bits=lambda _: 8)
    assert found.value.message == (
        "an instance of buffer has 12 bytes, and 15 are taken: 3 too many, as A comes: "
        "at 'for M step 5 > keep A in buffer', step 0"
    )
    assert found.value.location is not None
    assert found.value.location.line == 3
    assert "smaller tiles" in found.value.hint
    free = simulate(larger.tree, case.space, fitting, inputs, bits=lambda _: 8, unlimited={"buffer", "array"})
    assert free.peaks == {"buffer": 15 * 8, "array": 5 * 8}


@pytest.mark.parametrize("memory", ["buffer", "array"])
def test_one_bit_less_than_the_engine_says_is_too_little(memory: str) -> None:
    case = drawn("chain", CHAIN, SUMS)
    room = live_bits(Plan(case.tree, case.space, case.levels), bits)
    simulate(case.tree, case.space, limited(case, room), inputs_of(case.space), bits=bits)
    room[memory] -= 1
    with pytest.raises(SimulationError, match=f"(an instance|a PE) of {memory} has"):
        simulate(case.tree, case.space, limited(case, room), inputs_of(case.space), bits=bits)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("for Q step 1\n  compute Z on array\n", "unknown rank 'Q'"),
        ("for M step 1 over array.row\n  compute Z on array\n", "unknown dimension 'array.row'"),
        ("keep A in bufer\n  compute Z on array\n", "unknown memory 'bufer'"),
        ("keep X in buffer\n  compute Z on array\n", "unknown tensor 'X'"),
        ("compute Y on array\n", "unknown Einsum 'Y'"),
        ("compute Z on buffer\n", "unknown unit 'buffer'"),
        ("last Q\n  compute Z on array\n", "unknown rank 'Q'"),
    ],
)
def test_names_that_are_not_there_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as found:
        run(drawn("product", {"M": 2, "N": 2, "K": 2}, text))
    assert found.value.location is not None


def test_the_error_shows_the_line_that_is_at_work() -> None:
    with pytest.raises(SimulationError) as found:
        run(drawn("scaled", SCALED, "seq\n  compute Z on array\n  compute T on array\n"))
    lines = str(found.value).splitlines()
    assert lines[0].startswith("mapping:2:3: Z reads T[0, 0], which is not in dram: nothing has made it yet")
    assert lines[1:3] == ["    compute Z on array", "    ^^^^^^^^^^^^^^^^^^"]


def test_a_value_of_one_of_several_instances_is_told_apart() -> None:
    text = "for instances step 1\n  seq\n    compute Z on array\n    compute T on array\n"
    with pytest.raises(SimulationError, match=re.escape("T[0, 0] of instance 0")):
        run(drawn("scaled", {**SCALED, "instances": 2}, text))


def test_a_split_rank_has_an_index_for_each_part() -> None:
    text = "split M0 3\nfor M step 3\n  seq\n    compute LM on array\n    compute BQK on array\n"
    with pytest.raises(SimulationError, match=re.escape("BQK[0, 0, 0]")):
        run(drawn("parts", {"M": 6, "P": 2, "E": 2}, text))


def test_reduction_by_two_operators_is_refused() -> None:
    cascade = parse_cascade("declaration: {A: [M, K], Z: []}\nexpressions: ['Z = A[m, k] :: reduce(m) max']")
    space = Space.of(cascade, {"M": 2, "K": 3}, ())
    with pytest.raises(SimulationError, match="Z folds ranks by add and max"):
        simulate(parse_tree("compute Z on array"), space, MACHINE, inputs_of(space))


def test_a_memory_that_is_not_on_the_way() -> None:
    levels = Levels(
        (Level("dram"), Level("left", "dram"), Level("right", "dram"), Level("array", "right", computes=True))
    )
    case = drawn("product", {"M": 2, "N": 2, "K": 2}, "keep A in left\n  compute Z on array\n", levels)
    with pytest.raises(SimulationError, match="nothing inside uses A of left"):
        run(case)
