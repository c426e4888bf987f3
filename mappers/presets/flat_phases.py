"""The phases of a cascade, and which of them can share a loop over tiles of one rank.

A *product* sums products, and each of its inputs lacks a rank, so that what the PEs hold is used again: it wants the
matrix array. What lies between two products is a *vector* phase. Phases that all have the column rank (queries), and
hand on tensors that keep it, form a *segment*: one loop over tiles of columns runs them all. What lacks the rank (a
projection of the keys) or needs all of it is a segment of its own, before or after.

Source: Kao et al., "FLAT", ASPLOS 2023, of whose two products and softmax this is the general rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from einsum_cascades.errors import InputError
from einsum_cascades.loops.arith import Number, least
from einsum_cascades.loops.space import Space, Step
from einsum_cascades.loops.tree import INSTANCES
from einsum_cascades.operations import work_classes
from hw_models.machine import Array
from mappers.presets.problem import Problem, lanes
from mappers.roles import Roles, find_roles


@dataclass(frozen=True)
class Phase:
    """Einsums, by name in order, that are one phase; a product is one alone."""

    names: tuple[str, ...]
    product: bool


@dataclass(frozen=True)
class Segment:
    """Phases that one loop over tiles of a rank runs; ``column`` is None if there is no such rank."""

    column: str | None
    phases: tuple[Phase, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All Einsums in order."""
        return tuple(name for phase in self.phases for name in phase.names)


@dataclass(frozen=True, eq=False)
class _Tensors:
    """Tensors of a segment: the phase that makes each, the Einsums that touch it, and those that phases hand on."""

    made: dict[str, int]
    used: dict[str, dict[int, list[str]]]
    between: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Phases:
    """A problem as FLAT sees it."""

    problem: Problem

    @cached_property
    def roles(self) -> Roles:
        """The parts that ranks play.

        Raises:
            InputError: nothing can be fused.
        """
        return find_roles(self.problem.cascade)

    @cached_property
    def split(self) -> tuple[tuple[str, Number], ...]:
        """How split ranks are cut: the innermost part by the matrix array's rows, middle parts as they are given."""
        problem = self.problem
        rows = lanes(problem.parts.dimensions(problem.parts.matrix)[1:])
        found: list[tuple[str, Number]] = []
        for partition in problem.cascade.partitions:
            found.append((partition.parts[-1], least(problem.size(partition.rank), rows)))
            found += [(part, problem.size(part)) for part in partition.parts[1:-1]]
        return tuple(found)

    @cached_property
    def space(self) -> Space:
        """The iteration space."""
        return Space.of(self.problem.cascade, self.problem.sizes, self.split)

    @cached_property
    def steps(self) -> Mapping[str, Step]:
        """The Einsums that run."""
        return self.space.steps

    @cached_property
    def column(self) -> str:
        """The rank that most phases have, tiles of which are fused."""
        return self.space.whole(self.roles.column)

    @cached_property
    def row(self) -> str:
        """The rank along which a phase's fibers lie."""
        return self.space.whole(self.roles.row)

    @cached_property
    def batches(self) -> tuple[str, ...]:
        """Ranks that all Einsums walk and none reduces."""
        return tuple(dict.fromkeys(self.space.whole(rank) for rank in self.roles.batches))

    def wholes(self, ranks: Iterable[str]) -> tuple[str, ...]:
        """Return the whole ranks of some ranks, each once."""
        return tuple(dict.fromkeys(self.space.whole(rank) for rank in ranks))

    def array(self, name: str) -> Array:
        """Return the array that an Einsum runs on.

        Raises:
            InputError: none offers its operators.
        """
        parts = self.problem.parts
        return parts.offered(self.steps[name].einsum, parts.matrix if self.is_product(name) else parts.vector)

    def is_product(self, name: str) -> bool:
        """Whether an Einsum wants the matrix array."""
        return name in self._products

    @cached_property
    def _products(self) -> frozenset[str]:
        return frozenset(name for name, step in self.steps.items() if self._reuses(step))

    def _reuses(self, step: Step) -> bool:
        work = work_classes(step.einsum)
        if "mac" not in work or not step.reduced or len(step.inputs) < 2 or not self.problem.parts.matrix.offers(work):
            return False
        everything = set(step.ranks)
        return all(set(operand.ranks) < everything for operand in step.inputs)

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """The segments in order.

        Raises:
            InputError: the cascade has no product, or iterations that run one after another.
        """
        cascade = self.problem.cascade
        if cascade.iterative_ranks:
            raise InputError(
                f"{cascade.name} iterates over {', '.join(cascade.iterative_ranks)}: its phases follow one another "
                "tile by tile, and flat runs each for a whole fiber",
                hint="try the mapper fusemax-interleaved",
            )
        if not self._products:
            raise InputError(
                f"{cascade.name} on {self.problem.machine.name} has no contraction for "
                f"{self.problem.parts.matrix.name}",
                hint="FLAT fuses matrix products with what lies between them; try the mapper unfused",
            )
        stages = self._stages()
        found: list[Segment] = []
        for stage in sorted(set(stages.values())):
            names = [name for name in self.steps if stages[name] == stage]
            if stage % 2:
                found.append(Segment(self.column, self._phases(names)))
            else:
                found += [Segment(self._own_column(name), self._phases([name])) for name in names]
        return tuple(found)

    def _stages(self) -> dict[str, int]:
        """Odd: runs in a loop over the columns; even: outside of it. Later ones need all of what earlier ones make."""
        made = {step.output.tensor: name for name, step in self.steps.items()}
        found: dict[str, int] = {}
        for name, step in self.steps.items():
            inside = self.column in self.wholes(step.ranks)
            stage = int(inside)
            for operand in step.inputs:
                maker = made.get(operand.tensor)
                if maker is None or maker not in found:
                    continue
                apart = found[maker] % 2 != inside or (inside and self.column not in self.wholes(operand.ranks))
                least_stage = found[maker] + apart
                stage = max(stage, least_stage + (least_stage % 2 != inside))
            found[name] = stage
        return found

    def _phases(self, names: list[str]) -> tuple[Phase, ...]:
        found: list[Phase] = []
        for name in names:
            if not self.is_product(name) and found and not found[-1].product:
                found[-1] = Phase((*found[-1].names, name), False)
            else:
                found.append(Phase((name,), self.is_product(name)))
        return tuple(found)

    def _own_column(self, name: str) -> str | None:
        """The longest rank that an Einsum keeps."""
        step = self.steps[name]
        kept = [rank for rank in self.wholes(step.output.ranks) if rank not in self.wholes(step.reduced)]
        return max(kept, key=lambda rank: int(self.space.sizes[rank]), default=None)

    def made_in(self, segment: Segment) -> dict[str, int]:
        """Return the tensors that a segment makes, with the number of the phase; do not mutate it."""
        return self._shared(segment).made

    def used_in(self, segment: Segment) -> dict[str, dict[int, list[str]]]:
        """Return, per tensor, the Einsums of each phase that touch it; do not mutate it."""
        return self._shared(segment).used

    def between(self, segment: Segment) -> tuple[str, ...]:
        """Return the tensors that one phase of a segment leaves to a later one, and nothing else reads."""
        return self._shared(segment).between

    def wanted_later(self, tensor: str, segment: Segment) -> bool:
        """Whether a tensor must go home: it is a result, or a later segment reads it."""
        readers = set(self.readers.get(tensor, ()))
        return tensor in self.problem.cascade.outputs or not readers <= set(segment.names)

    @cached_property
    def readers(self) -> dict[str, list[str]]:
        """Per tensor the Einsums that read it, in order."""
        found: dict[str, list[str]] = {}
        for name, step in self.steps.items():
            for tensor in dict.fromkeys(operand.tensor for operand in step.inputs):
                found.setdefault(tensor, []).append(name)
        return found

    def _shared(self, segment: Segment) -> _Tensors:
        if segment not in self._tensors:
            self._tensors[segment] = self._tensors_of(segment)
        return self._tensors[segment]

    @cached_property
    def _tensors(self) -> dict[Segment, _Tensors]:
        return {}

    def _tensors_of(self, segment: Segment) -> _Tensors:
        made: dict[str, int] = {}
        used: dict[str, dict[int, list[str]]] = {}
        for number, phase in enumerate(segment.phases):
            for name in phase.names:
                step = self.steps[name]
                made[step.output.tensor] = number
                for tensor in dict.fromkeys(o.tensor for o in (*step.inputs, step.output)):
                    used.setdefault(tensor, {}).setdefault(number, []).append(name)
        between = tuple(t for t in made if set(used[t]) - {made[t]} and not self.wanted_later(t, segment))
        return _Tensors(made, used, between)

    def ranks_of(self, tensor: str) -> tuple[str, ...]:
        """Return the whole ranks of a tensor."""
        return self.wholes(self.problem.cascade.ranks_of[tensor])


__all__ = ["INSTANCES", "Phase", "Phases", "Segment"]
