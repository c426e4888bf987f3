"""What the counts of a loop tree say, against what the functional simulator did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from random_trees import Drawn

from einsum_cascades.errors import InputError
from einsum_cascades.loops.capacity import live_bits
from einsum_cascades.loops.counts import count
from einsum_cascades.loops.legal import check_legal
from einsum_cascades.loops.sites import Plan
from einsum_cascades.loops.space import Space
from einsum_cascades.loops.text import to_text
from hw_models.simulator.functional import Executed, SimulationError, max_error, reference, simulate
from hw_models.simulator.functional.layout import Layout, Ranks

EXACT = 1e-9


def bits(tensor: str) -> int:
    """Bits of a value: other ones for each tensor, so that no two stand for each other."""
    return 1 + sum(map(ord, tensor)) % 7


def is_legal(drawn: Drawn) -> bool:
    """Whether a tree is accepted."""
    try:
        check_legal(Plan(drawn.tree, drawn.space, drawn.levels))
    except InputError:
        return False
    return True


def inputs_of(space: Space, seed: int = 0) -> dict[str, Any]:
    """Random inputs, other ones for each instance."""
    ranks, generator = Ranks(space), np.random.default_rng(seed)
    return {tensor: generator.standard_normal(Layout.of(tensor, ranks).shape()) for tensor in space.cascade.inputs}


def run(drawn: Drawn, seed: int = 0) -> Executed:
    """Run a tree on random inputs."""
    return simulate(drawn.tree, drawn.space, drawn.levels, inputs_of(drawn.space, seed), bits=bits)


def differences(drawn: Drawn, seed: int = 0) -> list[str]:
    """Return, for an accepted tree, in what its counts are not what happened; the tree first."""
    plan = Plan(drawn.tree, drawn.space, drawn.levels)
    try:
        done = run(drawn, seed)
    except SimulationError as error:
        return [described(drawn), error.message]
    found = [*of_results(done, drawn.space, inputs_of(drawn.space, seed)), *of_counts(done, plan), *of_room(done, plan)]
    return [described(drawn), *found] if found else []


def of_results(done: Executed, space: Space, inputs: Mapping[str, Any]) -> list[str]:
    """In what results are not the interpreter's: sums to rounding; what takes the largest, exactly."""
    expected = reference(space, inputs)
    error = max_error(done.results, expected)
    return [f"results differ by {error}"] if error > EXACT else []


def of_counts(done: Executed, plan: Plan) -> list[str]:
    """In what accesses, points and steps are not those counted."""
    counts = count(plan)
    rows: Counter[tuple[str, str, str]] = Counter()
    for row in counts.rows:
        rows[row.node, row.tensor, row.action] += row.count
    plain = {level.name for level in plan.levels.levels if not level.dimensions}
    found = [
        f"{action} of {tensor} at {node}: counted {rows[at]}, executed {done.rows.get(at, 0)}"
        for at in sorted({*rows, *done.rows})
        for node, tensor, action in [at]
        if rows[at] != done.rows.get(at, 0)
        and not (node in plain and action == "delivered")  # what enters such a link leaves it
    ]
    for what, counted, executed in (("points", counts.points, done.points), ("steps", counts.steps, done.steps)):
        found += [
            f"{what} of {number}: counted {counted[number]}, executed {executed[number]}"
            for number in counted
            if counted[number] != executed[number]
        ]
    return found


def of_room(done: Executed, plan: Plan, size: Callable[[str], int] = bits) -> list[str]:
    """In what high-water marks are not the capacities said."""
    room, found = live_bits(plan, size), []
    for memory in sorted({*room, *done.peaks}):
        said, needed = room.get(memory, 0), done.peaks.get(memory, 0)
        if said < needed or (said > needed and not done.short):
            found.append(f"bits of {memory}: said {said}, needed {needed}")
    return found


def described(drawn: Drawn) -> str:
    """A tree with its sizes and its machine."""
    lines = [drawn.space.cascade.name, str(dict(drawn.space.sizes)), str(dict(drawn.space.split))]
    return "\n".join([*lines, *map(str, drawn.levels.levels), to_text(drawn.tree)])
