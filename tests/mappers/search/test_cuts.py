"""Segments of cascades: what runs together, what can have run before, in any order of what does not depend on it."""

from __future__ import annotations

from itertools import permutations

import pytest

from einsum_cascades.load import load_cascade, parse_cascade
from mappers.presets.phases import needs_of
from mappers.search.cuts import MOST, Cuts


def test_what_is_carried_runs_in_one_segment() -> None:
    units = Cuts(load_cascade("attention-1-pass")).units
    assert [len(unit) for unit in units] == [1, 1, 9, 1]
    assert set(units[2]) == {"RM", "SLN", "SLD", "SLNV", "PRM", "SPD", "RD", "SPNV", "RNV"}


@pytest.mark.parametrize("name", ["attention-3-pass", "attention-2-pass", "layer-norm"])
def test_states_are_what_can_have_run(name: str) -> None:
    cuts = Cuts(load_cascade(name))
    needs = needs_of(cuts.cascade)
    assert cuts.in_any_order
    for state in cuts.states:
        names = set(cuts.names(state))
        assert all(needs[n] <= names for n in names)
    for units in cuts.segments:
        names = set(cuts.names(units))
        reached, waiting = set[str](), [next(iter(names))]
        while waiting:
            here = waiting.pop()
            reached.add(here)
            tied = {n for n in names if n in needs[here] or here in needs[n]}
            waiting += tied - reached
        assert reached == names, "it hangs together"


def test_any_order_is_a_way() -> None:
    text = "declaration: {X: [M], A: [M], B: [M], C: [M], Z: [M]}\nexpressions:\n"
    text += "".join(f"  - {t}[m] = exp(X[m])\n" for t in "ABC") + "  - Z[m] = A[m] + B[m] + C[m]\n"
    cuts = Cuts(parse_cascade(text))
    ways = set()
    for order in permutations("ABC"):
        before = 0
        for name in order:
            after = before | 1 << cuts.units.index((name,))
            assert before in cuts.segments_to[after]
            before = after
        ways.add(before)
    assert len(ways) == 1
    assert 0 not in cuts.segments_to[ways.pop()], "three Einsums that share no result are no segment"


def test_many_orders_are_left_out() -> None:
    count = 12
    tensors = ", ".join(f"T{n}: [M]" for n in range(count))
    text = f"declaration: {{X: [M], {tensors}}}\nexpressions:\n"
    text += "".join(f"  - T{n}[m] = exp(X[m])\n" for n in range(count))
    cuts = Cuts(parse_cascade(text))
    assert 2**count > MOST
    assert not cuts.in_any_order
    assert len(cuts.states) == count + 1
