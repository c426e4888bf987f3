"""Exact search over all evaluation orders of the game in ``pebbling.py``.

The search is A* over states reduced by symmetry. A state says for each index of the family which of its values
are in fast memory, which were computed (or loaded, for inputs) and which running sums have visited it; what is
in registers follows from that. What keeps it small, each without loss:

- loads wait until the evaluation that uses them, and nothing is evicted before its room is needed;
- a running sum visits its operands as soon as they are in fast memory;
- a value with no evaluation ahead leaves fast memory, and one whose only evaluation ahead needs nothing else
  makes room for the result of that;
- where a result may be computed again and there is room for one value, all that follows from a value in fast
  memory is computed at once;
- indices that the cascade cannot tell apart are sorted.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from pebbling import Game, State, Step


def least_loads(
    game: Game, capacity: int, *, recompute: bool, counted: int | None = None, known: int | None = None
) -> int | None:
    """Return the least number of loads in which a cascade can be evaluated, over all orders.

    Args:
        game: the cascade.
        capacity: values of the family that fast memory holds.
        recompute: whether a value may be computed again.
        counted: bit mask of the strands whose loads count; all by default.
        known: a number of loads that is known to suffice; only what takes fewer is searched.

    Returns:
        The least number; None where fast memory does not hold the operands of one point.
    """
    everything = (1 << len(game.strands)) - 1
    search = _Search(game, capacity, recompute, everything if counted is None else counted)
    return search.run(math.inf if known is None else known)


@dataclass(frozen=True, slots=True)
class _Ahead:
    """What is ahead of a column.

    Attributes:
        live: the strands that still have an evaluation ahead.
        loads: a lower bound on the loads still needed.
        only: steps that are the only one ahead of their single operand, by its bit.
    """

    live: int
    loads: int
    only: Mapping[int, int]


class _Search:
    """A column of a state is an integer: fast (S bits), done (S bits), visited; S strands.

    ``done`` says that an intermediate was computed, so that slow memory has it, or an input loaded before.
    """

    def __init__(self, game: Game, capacity: int, recompute: bool, counted: int) -> None:
        self.game, self.capacity, self.recompute, self.counted = game, capacity, recompute, counted
        self.bits = len(game.strands)
        self.low = (1 << self.bits) - 1
        self.visits = sum(1 << s.visit for s in game.steps if s.visit is not None)
        self.finished = (self.visits << self.bits | game.outputs) << self.bits
        self.memory: dict[int, _Ahead] = {}

    def run(self, known: float) -> int | None:
        """A* with a bucket per estimate, below what is known to suffice."""
        start = self.settle([0] * len(self.game.columns))
        best = {start: 0}
        buckets: dict[int, list[tuple[int, State]]] = defaultdict(list)
        if self.estimate(start) < known:
            buckets[self.estimate(start)].append((0, start))
        while buckets:
            lowest = min(buckets)
            cost, state = buckets[lowest].pop()
            if not buckets[lowest]:
                del buckets[lowest]
            if best[state] < cost:
                continue
            if all(column & self.finished == self.finished for column in state):
                return cost
            for loads, successor in self.moves(state):
                total = cost + loads
                if total < best.get(successor, known):
                    best[successor] = total
                    if (estimate := total + self.estimate(successor)) < known:
                        buckets[estimate].append((total, successor))
        return None if known == math.inf else int(known)

    def look(self, column: int) -> _Ahead:
        """What is ahead of a column."""
        if column not in self.memory:
            fast, done, visited = column & self.low, column >> self.bits & self.low, column >> 2 * self.bits
            live, once, users = 0, 0, dict[int, int]()
            for index in reversed(range(len(self.game.steps))):
                step = self.game.steps[index]
                if step.visit is not None:
                    ahead = not visited >> step.visit & 1
                else:
                    bit = 1 << (step.result or 0)
                    unfinished = not done & bit and bool((live | self.game.outputs) & bit)
                    ahead = unfinished or (self.recompute and bool(live & bit))
                if ahead:
                    once = (once | step.operands) & ~(live & step.operands)
                    live |= step.operands
                    if step.result is not None:
                        users[step.operands] = index
            bound = (self.game.inputs & ~done & live & self.counted).bit_count()
            pending = live & self.game.rooted
            if not bound and pending and not fast & pending and self.counted == self.low:
                bound = 1
            only = {bit: step for bit, step in users.items() if bit & once and bit.bit_count() == 1}
            self.memory[column] = _Ahead(live, bound, only)
        return self.memory[column]

    def estimate(self, state: State) -> int:
        """A lower bound on the loads that a state still needs."""
        return sum(self.look(column).loads for column in state)

    def ready(self, columns: list[int] | State, step: int, column: int) -> bool:
        """Whether the registers that a step reads are complete."""
        shift = 2 * self.bits
        return all(columns[c] >> shift & mask == mask for c, mask in self.game.required[step][column])

    def settle(self, columns: list[int]) -> State:
        """Do what costs neither loads nor room, and drop what has no use ahead."""
        while True:
            self.visit(columns)
            changed = self.replace(columns)
            if self.recompute and sum((v & self.low).bit_count() for v in columns) < self.capacity:
                changed = self.spread(columns) or changed
            if not changed:
                return self.game.canonical(tuple(columns))

    def visit(self, columns: list[int]) -> None:
        """Let running sums visit what is in fast memory."""
        changed = True
        while changed:
            changed = False
            for index, step in enumerate(self.game.steps):
                if step.visit is None:
                    continue
                bit = 1 << (step.visit + 2 * self.bits)
                for column, value in enumerate(columns):
                    if value & bit or step.operands & ~value or not self.ready(columns, index, column):
                        continue
                    columns[column], changed = value | bit, True

    def replace(self, columns: list[int]) -> bool:
        """Drop values without use ahead; put the result of a single use in the place of its operand."""
        changed = False
        for column, value in enumerate(columns):
            ahead = self.look(value)
            value &= ~(self.low & ~ahead.live)
            for bit, step in ahead.only.items():
                result = 1 << (self.game.steps[step].result or 0)
                cheap = self.recompute or not result & self.counted or bool(bit & self.counted)
                if cheap and value & bit and self.ready(columns, step, column):
                    value, changed = value & ~bit | result | result << self.bits, True
            columns[column] = value
        return changed

    def spread(self, columns: list[int]) -> bool:
        """Compute, store and drop what follows from fast memory, one value at a time."""
        changed = False
        for column, value in enumerate(columns):
            fast, pending, reached = value & self.low, [0], 0
            while pending:
                held = fast | pending.pop()
                for index, step in enumerate(self.game.steps):
                    if step.operands & ~held or not self.ready(columns, index, column):
                        continue
                    if step.visit is not None:
                        value |= 1 << (step.visit + 2 * self.bits)
                    elif not 1 << (step.result or 0) & (fast | reached):
                        bit = 1 << (step.result or 0)
                        value, reached = value | bit << self.bits, reached | bit
                        pending.append(bit)
            changed = changed or value != columns[column]
            columns[column] = value
        return changed

    def moves(self, state: State) -> Iterator[tuple[int, State]]:
        """Yield (loads, successor) for every point that can be evaluated next and every choice of victims."""
        held = [(c, 1 << s) for c, v in enumerate(state) for s in range(self.bits) if v >> s & 1]
        for column, value in enumerate(state):
            if column and state[column - 1] == value and self.game.sorted_levels == (True,):
                continue
            ahead = self.look(value)
            done = value >> self.bits & self.low
            for index, step in enumerate(self.game.steps):
                if not self.open(step, value, done, ahead.live) or not self.ready(state, index, column):
                    continue
                missing = step.operands & ~value & self.low
                if missing & ~(self.game.inputs | done):
                    continue
                loads = (missing & self.counted).bit_count()
                if missing and step.result is not None and self.wasteful(step, done, loads, ahead):
                    continue
                spare = self.capacity - len(held) - missing.bit_count()
                others = [h for h in held if not (h[0] == column and h[1] & step.operands)]
                if -spare > len(others):
                    continue
                for victims in combinations(others, max(0, -spare)):
                    kept = list(state)
                    for c, bit in victims:
                        kept[c] &= ~bit
                    kept[column] |= missing | missing << self.bits
                    for after in self.evaluate(kept, step, column, spare > 0):
                        yield loads, self.settle(after)

    def open(self, step: Step, value: int, done: int, live: int) -> bool:
        """Whether a step may still be evaluated in a column, and serves something."""
        if step.result is None:
            return not value >> ((step.visit or 0) + 2 * self.bits) & 1
        bit = 1 << step.result
        if value & bit:
            return False
        if done & bit:
            return self.recompute and bool(live & bit)
        return bool((live | self.game.outputs) & bit)

    def wasteful(self, step: Step, done: int, loads: int, ahead: _Ahead) -> bool:
        """Whether the result could be loaded at no greater cost than an operand that serves nothing else."""
        bit = 1 << (step.result or 0)
        return bool(done & bit) and step.operands in ahead.only and loads >= (bit & self.counted).bit_count()

    def evaluate(self, columns: list[int], step: Step, column: int, room: bool) -> Iterator[list[int]]:
        """Put a step's result into fast memory, in the place of each value in turn if there is no room."""
        if step.result is None:
            yield columns
            return
        bit = 1 << step.result
        if room:
            places = [(column, 0)]
        else:
            places = [(c, 1 << s) for c, v in enumerate(columns) for s in range(self.bits) if v >> s & 1]
        for c, victim in places:
            after = list(columns)
            after[c] &= ~victim
            after[column] |= bit | bit << self.bits
            yield after
