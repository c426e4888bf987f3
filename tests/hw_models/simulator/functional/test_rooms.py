"""Room that is shared, doubled, kept in part or taken side by side; what is kept in part is accessed further out."""

from collections import Counter
from fractions import Fraction
from math import ceil

import pytest
from random_trees import Drawn
from single_trees import drawn
from tree_differences import inputs_of, of_counts, of_results, of_room

from einsum_cascades.loops import Level, Levels, Plan, check_legal
from einsum_cascades.loops.counts import count
from hw_models.simulator.functional import Executed, SimulationError, simulate

LEVELS = Levels((Level("dram"), Level("buffer", "dram"), Level("array", "buffer", computes=True)))
SIZES = {"M": 7, "J": 3, "K": 4}


def size(_: str) -> int:
    return 16


def ran(case: Drawn) -> Executed:
    return simulate(case.tree, case.space, case.levels, inputs_of(case.space), bits=size)


def values(case: Drawn, memory: str = "buffer") -> int:
    """Most values in a memory, where engine and simulator say the same."""
    plan, done = Plan(case.tree, case.space, case.levels), ran(case)
    check_legal(plan)
    assert [*of_results(done, case.space, inputs_of(case.space)), *of_counts(done, plan)] == []
    assert of_room(done, plan, size) == []
    return done.peaks[memory] // 16


IN_PLACE = """
for M step 2
  keep T in buffer
    keep S in buffer{how}
      {kind}
        {late0}compute T on array
        {late1}compute S on array
        {late2}compute Z on array
"""


def in_place(how: str, *lates: int) -> Drawn:
    text = IN_PLACE.format(how=how, kind="pipe", late0="", late1="{1}", late2="{2}")
    for number, late in enumerate(lates, 1):
        text = text.replace(f"{{{number}}}", f"late {late}\n          " if late else "")
    return drawn("chain3", {"M": 9, "J": 2, "K": 2, "N": 2}, text, LEVELS)


@pytest.mark.parametrize(
    ("case", "most"),
    [
        (in_place("", 0, 0), 4 + 4),
        (in_place(" (in place of T)", 0, 0), 4),
        (in_place("", 1, 2), 2 * 4 + 2 * 4),
        (in_place(" (in place of T)", 1, 2), 3 * 4),
        (in_place(" (double)", 0, 0), 4 + 2 * 4),
        (in_place(" (double)", 1, 2), 2 * 4 + 2 * 4),
        (in_place(" (double, in place of T)", 0, 0), 2 * 4),
    ],
)
def test_what_takes_the_place_of_another_needs_room_for_what_is_there_at_a_time(case: Drawn, most: int) -> None:
    """Tiles of 4 values: that which is made, that which both are, that which is read."""
    assert values(case) == most


AFTER = """
keep T in buffer
  keep S in buffer{how}
    seq
      compute T on array
      compute S on array
      compute S on array
      compute Z on array
"""


def test_what_another_has_taken_the_place_of_is_gone() -> None:
    sizes = {"M": 2, "J": 2, "K": 2, "N": 2}
    ran(drawn("chain3", sizes, AFTER.format(how=""), LEVELS))
    with pytest.raises(SimulationError) as found:
        ran(drawn("chain3", sizes, AFTER.format(how=" (in place of T)"), LEVELS))
    assert found.value.message == (
        "S reads T[0, 0], which is not in buffer: it was made, and did not stay or come there: "
        "at 'keep T in buffer > keep S in buffer (in place of T) > compute S on array', step 12"
    )


SIDES = """
for M step 2
  {kind}
    keep A in {where}
      compute T on array
    keep T in {where}
      compute Z on {unit}
"""


@pytest.mark.parametrize(
    ("kind", "where", "unit", "most"),
    [
        ("seq", "buffer", "array", max(2 * 3, 2 * 4)),
        ("par", "buffer", "array", 2 * 3 + 2 * 4),
        ("par", "array", "array", max(2 * 3, 2 * 4)),
    ],
)
def test_parts_side_by_side_take_room_at_a_time_but_in_an_array_they_take_turns(
    kind: str, where: str, unit: str, most: int
) -> None:
    case = drawn("scaled", SIZES, SIDES.format(kind=kind, where=where, unit=unit), LEVELS)
    assert values(case, where) == most


NESTED = """
for M step 2
  par
    par
      keep A in buffer
        compute T on array
      keep T in buffer
        compute Z on array
    keep T in buffer
      keep Z in buffer
        compute Z on array
"""


def test_a_par_in_a_par_adds_up() -> None:
    """T is made; Z is made of it twice, beside each other."""
    case = drawn("scaled", SIZES, NESTED, LEVELS)
    assert ran(case).peaks["buffer"] == 16 * (2 * 3 + 2 * 4 + 2 * 4 + 2 * 4)


PART = """
for M step 2
  keep T in buffer{how}
    seq
      for J step 2
        keep T in array
          compute T on array
      compute Z on array
"""


@pytest.mark.parametrize("part", [Fraction(7, 8), Fraction(1, 2), Fraction(1, 3), Fraction(30, 31)])
@pytest.mark.parametrize("rows", [6, 7])
def test_what_is_not_kept_is_accessed_further_out(part: Fraction, rows: int) -> None:
    """A value of T is written twice, and read twice; rounding differs by one value of the tensor at most."""
    case = drawn("scaled", {**SIZES, "M": rows}, PART.format(how=f" ({part} of it)"), LEVELS)
    plan, done = Plan(case.tree, case.space, case.levels), ran(case)
    check_legal(plan)
    assert of_results(done, case.space, inputs_of(case.space)) == []
    assert of_room(done, plan, size) == []
    assert done.peaks["buffer"] == 16 * ceil(8 * part)
    counted: Counter[tuple[str, str, str]] = Counter()
    for row in count(plan).rows:
        counted[row.node, row.tensor, row.action] += row.count
    away = done.rows.get(("buffer", "T", "spilled write"), 0) // 2
    assert away == int((1 - part) * 4 * rows)
    for where, number in counted.items():
        if where[2] not in ("sent", "delivered"):
            assert abs(number - done.rows.get(where, 0)) <= (2 if where[1] == "T" else 0)
    for action, spilled in (("update", "spilled write"), ("read", "spilled read")):
        assert done.rows.get(("dram", "T", action), 0) == done.rows.get(("buffer", "T", spilled), 0) == 2 * away


def test_the_link_that_a_spilled_value_takes_carries_it() -> None:
    """The engine leaves these out: a difference that is known."""
    case = drawn("scaled", {**SIZES, "M": 6}, PART.format(how=" (1/2 of it)"), LEVELS)
    done = ran(case)
    assert done.rows["buffer", "T", "sent"] == done.rows["dram", "T", "update"] + done.rows["dram", "T", "read"]
    plan = Plan(case.tree, case.space, case.levels)
    assert not any(
        (row.node, row.tensor, row.action) == ("buffer", "T", "sent") and row.count for row in count(plan).rows
    )
