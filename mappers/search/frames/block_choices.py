"""What choices a segment has of a block (``block.py``), and how often it fetches at least once they are made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import permutations
from math import prod

from einsum_cascades.errors import InputError
from einsum_cascades.loops.space import Operand, Space, Step
from mappers.search.frames.frame import Box
from mappers.search.segment import Segment

NONE = "-"
"""Stands for no rank."""
JOINED = " "
"""Between the names of columns."""


def columns_of(box: Box) -> tuple[str, ...]:
    """Return the ranks that a box cuts around all Einsums, the outermost first."""
    names = str(box.choices[1])
    return () if names == NONE else tuple(names.split(JOINED))


@dataclass(frozen=True, eq=False)
class Block:
    """What choices a segment has."""

    segment: Segment

    @property
    def space(self) -> Space:
        """The sizes of all ranks."""
        return self.segment.space

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The Einsums in the order in which they run."""
        return tuple(self.space.steps[name] for name in self.segment.names)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Ranks that may be cut around all Einsums."""
        common = [r for r in self.steps[0].output.ranks if all(r in s.ranks and r not in s.reduced for s in self.steps)]
        large = [r for r in common if self.space.sizes[r] > 1]
        found = [(), *permutations(large, 1), *permutations(large, 2)]
        return tuple(JOINED.join(ranks) or NONE for ranks in found)

    def arrays(self, step: Step) -> tuple[str, ...]:
        """Return the arrays that may run an Einsum, the fastest first."""
        loads = self.segment.floors.loads[step.output.tensor]
        if not loads:
            self.segment.problem.parts.offered(step.einsum, self.segment.problem.parts.matrix)
        return tuple(sorted(loads, key=lambda a: loads[a]))

    def streams(self, step: Step, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return the ranks that an Einsum may stream over: those of what comes from off chip, or goes there."""
        ranks = dict.fromkeys(r for o in self.outside(step) for r in o.ranks)
        found = [r for r in ranks if r not in columns and self.space.sizes[r] > 1]
        return (*sorted(found, key=lambda r: r not in step.reduced), NONE)

    def outside(self, step: Step) -> list[Operand]:
        """Return the operands that come from off chip, or go there."""
        return [o for o in (*step.inputs, step.output) if not self.within(o.tensor)]

    def within(self, tensor: str) -> bool:
        """Whether a tensor is made and used here alone."""
        return tensor in self.segment.made and tensor not in self.segment.exported

    def refetched(self, box: Box) -> dict[str, int]:
        """Return how often tensors are fetched, at least, once it is chosen what is streamed."""
        count = len(self.steps)
        if len(box.choices) < 2 + 2 * count or not columns_of(box):
            return {}
        columns = columns_of(box)
        streams = [str(value) for value in box.choices[2 + count : 2 + 2 * count]]
        trips = (
            {} if len(columns) == 1 else {columns[0]: int(box.choices[-1]) if len(box.choices) > 2 + 2 * count else 1}
        )
        kept, streamed = self._held(tuple(streams))
        room = sum(
            -(-bits // trips.get(columns[0], 1) if columns[0] in ranks else -bits)
            for bits, ranks in kept.values()
            if columns[-1] in ranks
        )
        capacity = self._capacity(int(box.choices[0]))
        trips[columns[-1]] = max(1, -(-room // max(1, capacity)))
        found = {}
        for name, ranks in {**{n: r for n, (_, r) in kept.items()}, **streamed}.items():
            last = max((i for i, c in enumerate(columns) if c in ranks), default=-1)
            around = columns if name in streamed else columns[: max(last, 0)]
            times = prod(trips[c] for c in around if c not in ranks)
            if name in self.segment.read and times > 1:
                found[name] = times
        return found

    @lru_cache(maxsize=8)  # noqa: B019
    def _capacity(self, further: int) -> int:
        return 8 * int(replace(self.segment.problem, further=further).parts.buffer.bytes or 0)

    @lru_cache(maxsize=64)  # noqa: B019
    def _held(
        self, streams: tuple[str, ...]
    ) -> tuple[dict[str, tuple[int, frozenset[str]]], dict[str, frozenset[str]]]:
        """What stays in the buffer, with its bits and its ranks; and what is streamed, with its ranks."""
        ranks: dict[str, frozenset[str]] = {}
        streamed = set()
        for step, rank in zip(self.steps, streams, strict=True):
            for operand in (*step.inputs, step.output):
                ranks[operand.tensor] = ranks.get(operand.tensor, frozenset()) | frozenset(operand.ranks)
                if rank in operand.ranks and not self.within(operand.tensor):
                    streamed.add(operand.tensor)
        sizes, bits = self.space.sizes, self.segment.problem.bits
        kept = {
            t: (int(bits(t)) * prod(int(sizes[r]) for r in own), own) for t, own in ranks.items() if t not in streamed
        }
        return kept, {t: ranks[t] for t in streamed}


@lru_cache(maxsize=512)
def block_of(segment: Segment) -> Block:
    """Return what choices a segment has.

    Raises:
        InputError: its Einsums cannot run one after another on common tiles.
    """
    steps = segment.steps
    if any(o.carried for s in steps for o in s.inputs) or len(steps) != len(segment.names):
        raise InputError("a recurrence runs iteration after iteration")
    if any(segment.space.whole(r) != r for s in steps for o in (*s.inputs, s.output) for r in o.ranks):
        raise InputError("ranks are cut by the cascade")
    return Block(segment)
