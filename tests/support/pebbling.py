"""A red-blue pebble game over one rank family of a small cascade, and the bound on loads that passes imply.

Values that carry the whole family live in a fast memory of so many values or in an unlimited slow memory; inputs
start in slow memory. Everything else (scalars, running sums, partial results of a tile, values carried along an
iterative rank) sits in registers, which are unlimited and free. A point of an Einsum is evaluated when all its
operands are in fast memory and in registers; its result goes to fast memory, where it may take the place of an
operand. A reduction is a running sum in a register that visits each operand once, in any order, since its
operator is associative and commutative. Stores are free, so whatever was computed can be loaded later. What is
counted are loads. A result may be computed again, or not: two games. ``pebbling_search.py`` plays them.

Source of the game: Hong and Kung, "I/O complexity: the red-blue pebble game", STOC 1981; of results that take
the place of an operand: Elango et al., "On characterizing the data access complexity of programs", POPL 2015.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product

from einsum_cascades.ir import Access, Cascade, Const, Einsum, Size, Var
from einsum_cascades.operations import complete_sizes, iterations

Index = tuple[int, ...]
Register = tuple[str, Index]
State = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """What an Einsum does at each index of the family (one step per point of its other ranks).

    Attributes:
        name: the Einsum's.
        operands: bit mask of the strands that it reads.
        result: the strand that it writes, or None where the result goes to a register.
        visit: number of the step among those that write to a register, or None.
    """

    name: str
    operands: int
    result: int | None
    visit: int | None


class Game:
    """The game of one cascade with given sizes; ranks without a size have size 1.

    A *strand* is a tensor that carries the whole family, its other ranks fixed: one value per index.
    """

    def __init__(self, cascade: Cascade, rank: str, sizes: Mapping[str, int]) -> None:
        self.cascade = cascade
        self.family = cascade.family(rank)
        if set(cascade.iterative_ranks) - set(self.family):
            raise ValueError("the game is over one family: no other rank may be iterative")
        self.sizes = self._sizes(sizes)
        self.columns: list[Index] = list(product(*(range(self.sizes[part]) for part in self.family)))
        self.tensors = self._tensors()
        self.strands = [
            (tensor, other)
            for tensor in self.tensors
            for other in product(*(range(self.sizes[r]) for r in cascade.ranks_of[tensor] if r not in self.family))
        ]
        written = {e.name for e in cascade.einsums}
        self.inputs = self._mask(tensor for tensor in self.tensors if tensor not in written)
        self.outputs = self._mask(tensor for tensor in self.tensors if tensor in cascade.outputs)
        self.steps: list[Step] = []
        self._needs: list[list[list[Register]]] = []
        self._visits: dict[Register, set[tuple[int, int]]] = defaultdict(set)
        self._scalars: dict[Register, set[Register]] = defaultdict(set)
        for einsum in cascade.einsums:
            self._add(einsum)

    def _sizes(self, sizes: Mapping[str, int]) -> dict[str, int]:
        ranks = {r for d in self.cascade.declarations for r in d.ranks}
        ranks |= {r for e in self.cascade.einsums for r in e.ranks}
        split = {r for p in self.cascade.partitions for r in (p.rank, *p.parts)}
        given = complete_sizes(self.cascade, {**dict.fromkeys(ranks - split, 1), **sizes})
        return given | iterations(self.cascade, given)

    def _tensors(self) -> list[str]:
        """Tensors that carry the whole family and are read and written only at its variables."""
        plain = [t for t, ranks in self.cascade.ranks_of.items() if set(self.family) <= set(ranks)]
        for einsum in self.cascade.einsums:
            for access in (einsum.output, *einsum.inputs):
                bound = {s.rank for s in access.subscripts if isinstance(s, Var) and not s.shift}
                if access.tensor in plain and not set(self.family) <= bound:
                    plain.remove(access.tensor)
        used = {a.tensor for e in self.cascade.einsums for a in (e.output, *e.inputs)}
        return [t for t in plain if t in used]

    def _mask(self, tensors: Iterable[str]) -> int:
        names = set(tensors)
        return sum(1 << s for s, (tensor, _) in enumerate(self.strands) if tensor in names)

    def strands_of(self, *tensors: str) -> int:
        """Bit mask of the strands of some tensors."""
        return self._mask(tensors)

    @cached_property
    def rooted(self) -> int:
        """Bit mask of the strands that are inputs or computed from such: those that lie on a line."""
        found = self.inputs
        for step in self.steps:
            if step.result is not None and step.operands & found:
                found |= 1 << step.result
        return found

    def lineage(self, tensor: str) -> int:
        """Bit mask of a tensor's strands and of all those that they are computed from."""
        found = self.strands_of(tensor)
        for step in reversed(self.steps):
            if step.result is not None and found >> step.result & 1:
                found |= step.operands
        return found

    def _element(self, access: Access, point: Mapping[str, int]) -> Index:
        return tuple(
            s.value if isinstance(s, Const) else self.sizes[s.rank] if isinstance(s, Size) else point[s.rank] + s.shift
            for s in access.subscripts
        )

    def _strand(self, access: Access, point: Mapping[str, int]) -> int:
        ranks = self.cascade.ranks_of[access.tensor]
        other = tuple(i for r, i in zip(ranks, self._element(access, point), strict=True) if r not in self.family)
        return self.strands.index((access.tensor, other))

    def _add(self, einsum: Einsum) -> None:
        """Add an Einsum's points: steps where it walks the whole family, otherwise registers."""
        whole = set(self.family) <= set(einsum.ranks)
        others = [r for r in einsum.ranks if not (whole and r in self.family)]
        written = {e.name for e in self.cascade.einsums}
        for values in product(*(range(self.sizes[r]) for r in others)):
            fixed = dict(zip(others, values, strict=True))
            if whole:
                self._add_step(einsum, fixed)
                continue
            register = (einsum.name, self._element(einsum.output, fixed))
            reads = {(a.tensor, self._element(a, fixed)) for a in einsum.inputs if a.tensor in written}
            self._scalars[register] |= reads

    def _add_step(self, einsum: Einsum, fixed: Mapping[str, int]) -> None:
        written = {e.name for e in self.cascade.einsums}
        first = {**fixed, **dict.fromkeys(self.family, 0)}
        operands = 0
        for access in einsum.inputs:
            if access.tensor in self.tensors:
                operands |= 1 << self._strand(access, first)
        result = self._strand(einsum.output, first) if einsum.name in self.tensors else None
        if result is not None and any(step.result == result for step in self.steps):
            raise ValueError(f"{einsum.name} is summed over a rank outside the family: give that rank size 1")
        number = sum(step.visit is not None for step in self.steps) if result is None else None
        self.steps.append(Step(einsum.name, operands, result, number))
        needs: list[list[Register]] = []
        for column, index in enumerate(self.columns):
            point = {**fixed, **dict(zip(self.family, index, strict=True))}
            reads = [a for a in einsum.inputs if a.tensor in written and a.tensor not in self.tensors]
            needs.append([(a.tensor, self._element(a, point)) for a in reads])
            if number is not None:
                register = (einsum.name, self._element(einsum.output, point))
                self._visits[register].add((number, column))
        self._needs.append(needs)

    # ------------------------------------------------------------ dependencies

    @cache  # noqa: B019 - a game lives as long as its test
    def _closure(self, register: Register) -> frozenset[tuple[int, int]]:
        """Visits (number, column) that must be done before a register is complete."""
        found = set(self._visits.get(register, ()))
        for other in self._scalars.get(register, ()):
            found |= self._closure(other)
        return frozenset(found)

    @cached_property
    def required(self) -> list[list[tuple[tuple[int, int], ...]]]:
        """Per step and column: pairs (column, bit mask of visits) that must be done before it."""
        table = []
        for needs in self._needs:
            row = []
            for registers in needs:
                masks: dict[int, int] = defaultdict(int)
                for register in registers:
                    for visit, column in self._closure(register):
                        masks[column] |= 1 << visit
                row.append(tuple(sorted(masks.items())))
            table.append(row)
        return table

    @cached_property
    def ancestors(self) -> list[list[int]]:
        """Per step and column: bit mask of the pairs step*columns + column that it depends on."""
        width = len(self.columns)
        by_visit = {s.visit: i for i, s in enumerate(self.steps) if s.visit is not None}
        by_result = {s.result: i for i, s in enumerate(self.steps) if s.result is not None}

        @cache
        def of(step: int, column: int) -> int:
            before = [
                (by_result[s], column)
                for s in range(len(self.strands))
                if self.steps[step].operands >> s & 1 and s in by_result
            ]
            for other, mask in self.required[step][column]:
                before += [(by_visit[v], other) for v in range(len(by_visit)) if mask >> v & 1]
            found = 0
            for earlier in before:
                found |= 1 << (earlier[0] * width + earlier[1]) | of(*earlier)
            return found

        return [[of(step, column) for column in range(width)] for step in range(len(self.steps))]

    def precedes(self, first: int, then: int, columns: Iterable[int]) -> bool:
        """Whether every point of one step depends on every point of another, over some columns."""
        columns = list(columns)
        all_first = sum(1 << (first * len(self.columns) + column) for column in columns)
        return all(self.ancestors[then][column] & all_first == all_first for column in columns)

    # ------------------------------------------------------------ symmetry

    @cached_property
    def sorted_levels(self) -> tuple[bool, ...]:
        """Per part, outermost first: whether its indices are alike."""
        partial = [
            set(self.family) & set(ranks)
            for tensor, ranks in self.cascade.ranks_of.items()
            if tensor not in self.tensors
        ]
        nested = all(kept == set(self.family[: len(kept)]) for kept in partial)
        return tuple(nested and part not in self.cascade.iterative_ranks for part in self.family)

    def canonical(self, state: State) -> State:
        """The representative of all states that differ by a renaming of indices."""
        levels = self.sorted_levels
        if levels == (True,):
            return tuple(sorted(state))

        def arrange(part: State, level: int) -> State:
            if level == len(levels):
                return part
            width = len(part) // self.sizes[self.family[level]]
            blocks = [arrange(part[i : i + width], level + 1) for i in range(0, len(part), width)]
            return tuple(v for block in (sorted(blocks) if levels[level] else blocks) for v in block)

        return arrange(state, 0) if any(levels) else state


# ---------------------------------------------------------------- the bound

Lines = tuple[int, ...]
"""Disjoint lines as bit masks of strands; each value of a line is an input or computed from one of its values."""


def longest_chain(game: Game, strands: int | None = None, columns: Iterable[int] | None = None) -> int:
    """The most Einsums of which each point depends on all points of the one before.

    Args:
        game: the cascade.
        strands: only Einsums that read one of these strands; all by default.
        columns: the fiber; the whole family by default.
    """
    members = [i for i, step in enumerate(game.steps) if strands is None or strands & step.operands]
    return _chain(game, members, columns, lambda first, then: 1) if members else 0


def lines_bound(game: Game, capacity: int, lines: Lines, columns: Iterable[int] | None = None) -> int:
    """Lower bound on the loads of some lines, from one chain (the theorem of ``tests/theorems``).

    Args:
        game: the cascade.
        capacity: values of the family that fast memory holds.
        lines: disjoint lines; each starts at an input that is read.
        columns: the fiber; the whole family by default.
    """
    fiber = list(range(len(game.columns)) if columns is None else columns)

    def beside(step: Step) -> int:
        return step.operands.bit_count() - len(lines)

    def reload(first: Step, then: Step) -> int:
        room = max(0, capacity - max(beside(first), beside(then)))
        return max(0, len(lines) * len(fiber) - room)

    members = [i for i, step in enumerate(game.steps) if all(step.operands & line for line in lines)]
    return len(lines) * len(fiber) + _chain(game, members, fiber, reload) - 1


def _chain(
    game: Game, members: Iterable[int], columns: Iterable[int] | None, weight: Callable[[Step, Step], int]
) -> int:
    """One more than the largest sum of weights along a chain of steps."""
    fiber = list(range(len(game.columns)) if columns is None else columns)
    members = list(members)
    before = {b: [a for a in members if game.precedes(a, b, fiber)] for b in members}

    @cache
    def best(step: int) -> int:
        return max((best(a) + weight(game.steps[a], game.steps[step]) for a in before[step]), default=1)

    return max((best(step) for step in members), default=1)


def choices_of_lines(game: Game) -> Iterator[Lines]:
    """Yield every way to pick disjoint lines, one per input strand."""
    parents = {
        step.result: (None, *(s for s in range(len(game.strands)) if step.operands >> s & 1))
        for step in game.steps
        if step.result is not None
    }
    for picked in product(*parents.values()):
        member = {s: s for s in range(len(game.strands)) if game.inputs >> s & 1}
        for result, parent in zip(parents, picked, strict=True):
            if parent is not None and parent in member:
                member[result] = member[parent]
        yield tuple(sum(1 << s for s, r in member.items() if r == root) for root in set(member.values()))


def _groups(lines: Lines) -> Iterator[list[Lines]]:
    """Yield every partition of the lines into groups."""
    if not lines:
        yield []
        return
    for rest in _groups(lines[1:]):
        yield [lines[:1], *rest]
        for i, group in enumerate(rest):
            yield [*rest[:i], (lines[0], *group), *rest[i + 1 :]]


def loads_bound(game: Game, capacity: int) -> int:
    """Lower bound on all loads: over the whole family, or tile by tile, whichever is more.

    Loads of disjoint lines add up, each group of lines with a chain of its own; so do those of disjoint tiles.
    """
    width = len(game.columns)
    tiles = {width, *(width // math.prod(game.sizes[p] for p in game.family[:i]) for i in range(len(game.family)))}
    choices = set(choices_of_lines(game))

    def least(columns: range) -> int:
        bound = cache(lambda group: lines_bound(game, capacity, group, columns))
        return max(sum(bound(group) for group in groups) for lines in choices for groups in _groups(lines))

    return max(sum(least(range(i, i + tile)) for i in range(0, width, tile)) for tile in tiles)
