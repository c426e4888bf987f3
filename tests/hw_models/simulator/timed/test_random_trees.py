"""Laws of timed runs, on random trees and machines: against the engine's counts, and of a run with itself."""

from collections import Counter

import pytest
from random_machines import BITS, machine_of
from random_trees import Drawn, random_tree
from tree_differences import described, is_legal

from einsum_cascades.loops.capacity import live_bits
from einsum_cascades.loops.counts import count
from einsum_cascades.loops.sites import Plan
from hw_models.accounting import PHYSICAL
from hw_models.machine import Machine
from hw_models.simulator.timed.result import Timed
from hw_models.simulator.timed.simulate import simulate_timed


def cases(seeds: range) -> list[tuple[Drawn, Machine]]:
    """Return the legal trees among those drawn that have a machine."""
    found = []
    for seed in seeds:
        drawn = random_tree(seed)
        machine = machine_of(drawn.levels, seed)
        if machine is not None and is_legal(drawn):
            found.append((drawn, machine))
    return found


def check(drawn: Drawn, machine: Machine) -> Timed:
    """Check a run against the engine's counts and its own books."""
    done = simulate_timed(drawn.tree, drawn.space, machine, PHYSICAL, every=True)
    plan = Plan(drawn.tree, drawn.space, machine.levels)
    counted, moved = Counter[tuple[str, str, str, int]](), Counter[tuple[str, str, str, int]]()
    counts = count(plan)
    for rows, found in ((counts.rows, counted), (done.rows, moved)):
        for row in rows:
            found[row.node, row.tensor, row.action, row.site] += row.count
    assert +moved == +counted, described(drawn)
    computes = {site.number: task for site, task in zip(plan.computes, done.tasks, strict=True)}
    assert {n: task.points for n, task in computes.items()} == counts.points, described(drawn)
    assert {n: task.steps for n, task in computes.items()} == counts.steps, described(drawn)
    for name, array in done.arrays.items():
        spent = array.busy + sum(array.stalled.values()) + array.over
        assert abs(spent - done.cycles) < 1 + len(array.stalled), (name, described(drawn))
    widths = dict(BITS)
    cascade = drawn.space.cascade
    said = live_bits(
        plan,
        lambda t: widths["inputs" if t in cascade.inputs else "outputs" if t in cascade.outputs else "accumulators"],
    )
    for memory, bits in done.peak_bits.items():
        assert bits <= 2 * said.get(memory, 0), (memory, described(drawn))
    return done


def test_counts_and_books() -> None:
    """Accesses, points and steps are the engine's to the integer; each cycle of an array is spent on one thing."""
    found = cases(range(75))
    assert len(found) > 40
    for drawn, machine in found:
        check(drawn, machine)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 2000, 250))
def test_more_counts_and_books(start: int) -> None:
    """The same for more trees."""
    for drawn, machine in cases(range(start, start + 250)):
        check(drawn, machine)
