"""What the counts of a loop tree say, against what its execution did."""

from __future__ import annotations

from collections import Counter

from random_trees import Drawn
from tree_execution import Executed, execute

from einsum_cascades.errors import InputError
from einsum_cascades.loops.capacity import live_bits
from einsum_cascades.loops.counts import count
from einsum_cascades.loops.legal import check_legal
from einsum_cascades.loops.sites import Plan
from einsum_cascades.loops.text import to_text


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


def run(drawn: Drawn) -> Executed:
    """Execute a tree."""
    return execute(drawn.tree, drawn.space, drawn.levels, bits)


def differences(drawn: Drawn) -> list[str]:
    """Return, for an accepted tree, in what its counts are not what happened; the tree first."""
    plan, done = Plan(drawn.tree, drawn.space, drawn.levels), run(drawn)
    counts = count(plan)
    rows: Counter[tuple[str, str, str]] = Counter()
    for row in counts.rows:
        rows[row.node, row.tensor, row.action] += row.count
    plain = {level.name for level in drawn.levels.levels if not level.dimensions}
    found = [
        f"{action} of {tensor} at {node}: counted {rows[node, tensor, action]}, executed {done.rows[node, tensor, action]}"
        for node, tensor, action in sorted({*rows, *done.rows})
        if rows[node, tensor, action] != done.rows[node, tensor, action]
        and not (node in plain and action == "delivered")  # what enters such a link leaves it
    ]
    for what, counted, executed in (("points", counts.points, done.points), ("steps", counts.steps, done.steps)):
        found += [
            f"{what} of {number}: counted {counted[number]}, executed {executed[number]}"
            for number in counted
            if counted[number] != executed[number]
        ]
    room = live_bits(plan, bits)
    for memory in sorted({*room, *done.bits}):
        said, needed = room.get(memory, 0), done.bits.get(memory, 0)
        if said < needed or (said > needed and not done.short):
            found.append(f"bits of {memory}: said {said}, needed {needed}")
    return [described(drawn), *found] if found else []


def described(drawn: Drawn) -> str:
    """A tree with its sizes and its machine."""
    lines = [drawn.space.cascade.name, str(dict(drawn.space.sizes)), str(dict(drawn.space.split))]
    return "\n".join([*lines, *map(str, drawn.levels.levels), to_text(drawn.tree)])
