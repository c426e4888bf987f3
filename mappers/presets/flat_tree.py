"""FLAT's choices as a loop tree: phases fused on a tile of columns (queries), side by side on successive tiles.

    for instances: for P step FUSED
      keep inputs of the tile, QK; A in place of QK
        pipe: par: QK on the matrix array | late 1: softmax on the vector array | late 2: AV

A vector phase works fiber by fiber: what one of its passes leaves to a later one stays in the buffer for a fiber, in
the place of what it was made from where nothing else reads that.

Source: Kao et al., "FLAT", ASPLOS 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

from einsum_cascades.loops.arith import Number, anywhere, everywhere, least
from einsum_cascades.loops.tree import (
    INSTANCES,
    Compute,
    Hold,
    Late,
    Loop,
    LoopTree,
    Node,
    Parallel,
    Pipeline,
    Sequential,
    sequence,
)
from mappers.presets.flat_nest import Atom, atoms_of, lay, nested, operands_of, walked
from mappers.presets.flat_phases import Phase, Phases, Segment
from mappers.presets.problem import lanes, spread

TILE = "tile"
"""A tensor's tile of the fused columns is in the buffer."""
OUTSIDE = "outside"
"""All that an instance has of a tensor is in the buffer, for all tiles of columns."""


@dataclass(frozen=True, eq=False)
class Layout:
    """How a product lies: ranks by how operands share them are groups, numbered in order.

    Attributes:
        along: the groups along the last dimension of the array and along the others.
        time: the other groups, outermost first.
    """

    along: tuple[int, ...]
    time: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Choice:
    """What is chosen for a segment.

    Attributes:
        fused: columns of a tile.
        place: TILE or OUTSIDE of the tensors that are in the buffer for a whole tile.
        layouts: of each product.
        lanes: of each vector phase by number, how many columns lie side by side: ``row``, ``column`` or ``both``.
        fibers: whether fibers stay on chip between the passes of a vector phase.
        spilled: the part of what is on chip that goes home nevertheless.
        overlap: whether phases work side by side, on successive tiles.
        share: whether Einsums of one pass hand on values in registers.
        lean: whether operands that change at every point take no register.
        register_fibers: whether fibers stay in the array's registers, not the buffer.
    """

    fused: Number
    place: Mapping[str, str] = field(default_factory=dict)
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    lanes: Mapping[int, str] = field(default_factory=dict)
    fibers: bool = True
    spilled: Fraction = Fraction(0)
    overlap: bool = True
    share: bool = True
    lean: bool = False
    register_fibers: bool = False


@dataclass(frozen=True, eq=False)
class SegmentTree:
    """Builds the tree of one segment for one choice."""

    phases: Phases
    segment: Segment
    choice: Choice

    @property
    def buffer(self) -> str:
        """The memory that tiles are cut for."""
        return self.phases.problem.parts.buffer.name

    @cached_property
    def tiles(self) -> dict[str, Number]:
        """Points of ranks that the loops around all phases leave."""
        found: dict[str, Number] = dict.fromkeys(self.phases.batches, 1)
        if self.segment.column is not None:
            found[self.segment.column] = least(self.phases.space.sizes[self.segment.column], self.choice.fused)
        return found

    def node(self, only: int | None = None) -> Node:
        """Return the tree.

        Args:
            only: number of the one phase that it runs; all if None.
        """
        numbers = range(len(self.segment.phases)) if only is None else [only]
        parts = [self._phase(number) for number in numbers]
        if len(parts) == 1:
            body: Node = parts[0]
        elif self.choice.overlap:
            body = Pipeline((Parallel(tuple(Late(n, part) if n else part for n, part in enumerate(parts))),))
        else:
            body = Sequential(tuple(parts))
        touched = {t for t, used in self.phases.used_in(self.segment).items() if any(n in used for n in numbers)}
        body = self._keep(TILE, touched, body)
        column = self.segment.column
        size = self.phases.space.sizes[column] if column is not None else 1
        if column is not None and anywhere(size > self.choice.fused):
            body = Loop(column, self.choice.fused, body)
        body = self._keep(OUTSIDE, touched, body)
        for rank in reversed(self.phases.batches):
            if rank != column:
                body = Loop(rank, 1, body)
        return self._over_instances(body)

    def _over_instances(self, body: Node) -> Node:
        problem = self.phases.problem
        outside = list(problem.parts.outside)
        if not outside:
            return Loop(INSTANCES, 1, body)
        return spread(INSTANCES, problem.sizes[INSTANCES], outside, body)

    def _keep(self, where: str, touched: set[str], body: Node) -> Node:
        """Holds of what is in the buffer for a whole tile; what takes another's place stands inside."""
        names = [t for t, at in self.choice.place.items() if at == where and t in touched]
        names.sort(key=lambda t: self._root(t) is not None)
        between = set(self.phases.between(self.segment))
        for tensor in reversed(names):
            root = self._root(tensor)
            root = root if root in names else None
            scores = tensor in between and self.phases.row in self.phases.ranks_of(tensor)
            body = Hold(tensor, self.buffer, body, double=not scores, part=1 - self.choice.spilled, place=root)
        return body

    def _phase(self, number: int) -> Node:
        phase = self.segment.phases[number]
        if phase.product:
            return self._product(phase.names[0])
        return self._vector(number, phase)

    # Products

    def groups(self, name: str) -> tuple[list[Atom], list[list[Atom]]]:
        """Return the atoms of a product that all operands have, and the others by which operands have them."""
        step = self.phases.steps[name]
        everything = frozenset(operands_of([step]))
        atoms = atoms_of(self.phases.space, [step], self.tiles)
        found: dict[frozenset[str], list[Atom]] = {}
        for atom in atoms:
            if atom.members != everything:
                found.setdefault(atom.members, []).append(atom)
        weight = [self.segment.column, self.phases.row]
        order = {members: min(_weight(a.rank, weight) for a in group) for members, group in found.items()}
        for group in found.values():
            group.sort(key=lambda a: _weight(a.rank, weight))
        sorted_groups = sorted(found, key=lambda members: order[members])
        return [a for a in atoms if a.members == everything], [found[m] for m in sorted_groups]

    def _product(self, name: str) -> Node:
        array = self.phases.array(name)
        dims = self.phases.problem.parts.dimensions(array)
        others, groups = self.groups(name)
        layout = self.choice.layouts.get(name) or Layout((0, 1), tuple(range(2, len(groups))))
        columns, rows = layout.along
        time_columns, over_columns = lay(groups[columns], dims[:1])
        time_rows, over_rows = lay(groups[rows], dims[1:])
        inner = [atom for group in layout.time for atom in groups[group]]
        turns = [*walked(others), *time_columns, *time_rows, *over_columns, *over_rows, *walked(inner)]
        tensors = operands_of([self.phases.steps[name]])
        return nested(turns, Compute(name, array.name), tensors, array.name, lean=self.choice.lean)

    # Vector phases

    def _vector(self, number: int, phase: Phase) -> Node:
        tiles = dict(self.tiles)
        column = self.segment.column
        way = self.choice.lanes.get(number, "row")
        width = self._width(phase, way)
        if column is not None:
            tiles[column] = least(tiles[column], width)
        runs = self._runs(phase)
        body = sequence(*(self._run(run, way, tiles) for run in runs))
        for tensor, place in self._fibers(number, phase, runs):
            part = 1 - self.choice.spilled if place in self.choice.place else Fraction(1)
            body = Hold(tensor, self._fiber_memory(tensor, phase), body, part=part, place=place)
        if column is not None and anywhere(self.tiles[column] > width):
            body = Loop(column, width, body)
        return body

    def _fiber_memory(self, tensor: str, phase: Phase) -> str:
        if self.choice.register_fibers and self.phases.row in self.phases.ranks_of(tensor):
            return self.phases.array(phase.names[0]).name
        return self.buffer

    def _width(self, phase: Phase, way: str) -> Number:
        """How many columns a vector phase works on at a time."""
        every = lanes(self.phases.problem.parts.dimensions(self.phases.array(phase.names[0])))
        if way == "column":
            return every
        if way == "both":
            longest = max((self._across(name) for name in phase.names), key=lambda n: int(n), default=1)
            left = every // least(longest, every)
            return left if everywhere(left >= 1) else 1
        return 1

    def _across(self, name: str) -> Number:
        """Values of an Einsum for one column."""
        found: Number = 1
        for rank in self.phases.wholes(self.phases.steps[name].ranks):
            if rank != self.segment.column and rank not in self.phases.batches:
                found = found * self.phases.space.sizes[rank]
        return found

    def _runs(self, phase: Phase) -> list[list[str]]:
        """Einsums that walk the same points one after another, and hand on values as they come."""
        steps, grains = self.phases.steps, self.phases.space.grains
        found: list[list[str]] = []
        for name in phase.names:
            step = steps[name]
            if found and self.choice.share:
                here = found[-1]
                made = {steps[n].output.tensor: n for n in here}
                same = grains(step.ranks) == grains(steps[here[-1]].ranks)
                whole = all(not steps[made[o.tensor]].reduced for o in step.inputs if o.tensor in made)
                if same and whole and self.phases.array(name) is self.phases.array(here[-1]):
                    here.append(name)
                    continue
            found.append([name])
        return found

    def _run(self, run: list[str], way: str, tiles: Mapping[str, Number]) -> Node:
        steps = [self.phases.steps[name] for name in run]
        array = self.phases.array(run[0])
        first = [self.segment.column, self.phases.row] if way == "column" else [self.phases.row, None]
        last = [] if way == "column" else [self.segment.column]
        atoms = atoms_of(self.phases.space, steps, tiles)
        order = sorted(
            range(len(atoms)),
            key=lambda i: (atoms[i].rank in last, _weight(atoms[i].rank, first), -_size(atoms[i].extent)),
        )
        nestable = _innermost(atoms)
        time, over = lay([atoms[i] for i in order if i in nestable], self.phases.problem.parts.dimensions(array))
        outer = walked(atom for i, atom in enumerate(atoms) if i not in nestable)
        time.sort(key=lambda turn: turn.atom.rank == self.phases.row)
        body = sequence(*(Compute(name, array.name) for name in run))
        lean = self.choice.lean and len(run) == 1
        return nested([*outer, *time, *over], body, operands_of(steps), array.name, lean=lean)

    def _fibers(self, number: int, phase: Phase, runs: list[list[str]]) -> list[tuple[str, str | None]]:
        """Tensors that stay on chip for a fiber of a vector phase, innermost first, with whose place they take."""
        used = self.phases.used_in(self.segment)
        found: list[tuple[str, str | None]] = []
        for tensor, by_phase in used.items():
            if number not in by_phase or tensor in self.choice.place:
                continue
            inside = [any(name in run for name in by_phase[number]) for run in runs]
            if sum(inside) < 2:
                continue
            ranks = set(self.phases.ranks_of(tensor)) - {self.segment.column, *self.phases.batches}
            if ranks and not self.choice.fibers:
                continue
            found.append((tensor, self._root(tensor)))
        there = {*self.choice.place, *(tensor for tensor, _ in found)}
        found = [(tensor, root if root in there else None) for tensor, root in found]
        return sorted(found, key=lambda pair: pair[1] is None)

    @cached_property
    def _roots(self) -> dict[str, str]:
        """Tensors that take another's room, and that one: what they are made from, which nothing reads afterwards."""
        found: dict[str, str] = {}
        taken: set[str] = set()
        if not self.choice.fibers:
            return found
        order = {name: place for place, name in enumerate(self.phases.steps)}
        for number, phase in enumerate(self.segment.phases):
            if phase.product:
                continue
            for name in phase.names:
                step = self.phases.steps[name]
                for operand in step.inputs:
                    tensor = operand.tensor
                    if tensor in taken or step.output.tensor in found or not self._gives_room(tensor, number):
                        continue
                    if set(operand.ranks) != set(step.output.ranks) or step.reduced:
                        continue
                    last = self.phases.readers[tensor][-1]
                    if order[last] <= order[name] and not self.phases.wanted_later(tensor, self.segment):
                        taken.add(tensor)
                        found[step.output.tensor] = found.get(tensor, tensor)
        return found

    def _gives_room(self, tensor: str, number: int) -> bool:
        """Whether a phase finds a tensor of the segment's own in the buffer."""
        made = self.phases.made_in(self.segment)
        if tensor not in made:
            return False
        here = self.phases.used_in(self.segment)[tensor].get(number, [])
        return tensor in self.choice.place or made[tensor] == number or len(here) > 1

    def _root(self, tensor: str) -> str | None:
        return self._roots.get(tensor)


def _innermost(atoms: list[Atom]) -> set[int]:
    """Numbers of the finest atom of each rank."""
    last = {atom.rank: i for i, atom in enumerate(atoms)}
    return set(last.values())


def _weight(rank: str, order: list[str | None]) -> int:
    return order.index(rank) if rank in order else len(order)


def _size(number: Number) -> int:
    return number if isinstance(number, int) else int(number.max())


def whole_tree(phases: Phases, choices: list[Choice]) -> LoopTree:
    """Return the tree of all segments, one after another."""
    nodes = [
        SegmentTree(phases, segment, choice).node() for segment, choice in zip(phases.segments, choices, strict=True)
    ]
    return LoopTree(sequence(*nodes), phases.split)
