"""The red-blue pebble game of ``pebbling.py``, searched without any reduction: one move at a time, Dijkstra.

For very small games, to check the reductions of the other search.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count

from pebbling import Game

Value = tuple[int, int]
"""A strand, or the number of a visit, and an index of the family."""
State = tuple[frozenset[Value], frozenset[Value], frozenset[Value]]
"""What is in fast memory, what was computed, what running sums have visited."""


def least_loads_plain(game: Game, capacity: int, *, recompute: bool, counted: int | None = None) -> int | None:
    """Return the least number of loads, as `pebbling_search.least_loads` does."""
    goal_values = {(s, c) for s in _bits(game.outputs) for c in range(len(game.columns))}
    goal_visits = {(s.visit, c) for s in game.steps if s.visit is not None for c in range(len(game.columns))}
    start: State = (frozenset(), frozenset(), frozenset())
    best, tick = {start: 0}, count()
    queue = [(0, next(tick), start)]
    while queue:
        cost, _, state = heapq.heappop(queue)
        if best[state] < cost:
            continue
        if goal_values <= state[1] and goal_visits <= state[2]:
            return cost
        for loaded, after in _moves(game, capacity, recompute, state):
            loads = loaded.bit_count() if counted is None else (loaded & counted).bit_count()
            if cost + loads < best.get(after, cost + loads + 1):
                best[after] = cost + loads
                heapq.heappush(queue, (cost + loads, next(tick), after))
    return None


def _bits(mask: int) -> list[int]:
    return [s for s in range(mask.bit_length()) if mask >> s & 1]


def _moves(game: Game, capacity: int, recompute: bool, state: State) -> Iterator[tuple[int, State]]:
    """Yield the bit of the strand that a move loads, or 0, and the state after it."""
    fast, computed, visited = state
    for value in fast:
        yield 0, (fast - {value}, computed, visited)
    if len(fast) < capacity:
        inputs = {(s, c) for s in _bits(game.inputs) for c in range(len(game.columns))}
        for value in (inputs | computed) - fast:
            yield 1 << value[0], (fast | {value}, computed, visited)
    for index, step in enumerate(game.steps):
        for column in range(len(game.columns)):
            operands = {(s, column) for s in _bits(step.operands)}
            needed = {(v, c) for c, mask in game.required[index][column] for v in _bits(mask)}
            if not operands <= fast or not needed <= visited:
                continue
            if step.result is None:
                assert step.visit is not None
                yield 0, (fast, computed, visited | {(step.visit, column)})
                continue
            result = (step.result, column)
            if result in computed and not recompute:
                continue
            if len(fast) < capacity:
                yield 0, (fast | {result}, computed | {result}, visited)
            for operand in operands:
                yield 0, (fast - {operand} | {result}, computed | {result}, visited)
