"""The ways to cut a cascade into segments that run one after another, whatever the order in which it is written.

What hands values from iteration to iteration of an iterative rank, and what is on a way between two such Einsums, runs
in one segment: these are the *units*. What has run before a segment is a set of units that has with each all that it
needs; a segment is the difference of two such sets, so that a mapping is a way from the empty set to all units. Units
of a segment hang together: they hand each other tensors, directly or through others of it. Where more sets than
``MOST`` can have run, segments follow the order in which the cascade is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise
from typing import Final

from einsum_cascades.components import components
from einsum_cascades.ir import Cascade
from einsum_cascades.loops.space import steps_of
from einsum_cascades.order import carried
from mappers.presets.phases import needs_of

MOST: Final = 192
"""So many sets of units may have run, if segments are to follow any order."""


@dataclass(frozen=True, eq=False)
class Cuts:
    """The units of a cascade and the sets of them that can have run.

    Attributes:
        units: Einsums that run in one segment, in an order that can run.
    """

    cascade: Cascade

    @cached_property
    def units(self) -> tuple[tuple[str, ...], ...]:
        """The units in an order that can run: by the names of their Einsums."""
        needs = {name.partition("@")[0]: set[str]() for name in steps_of(self.cascade)}
        for name, others in needs_of(self.cascade, carried=True).items():
            needs[name.partition("@")[0]] |= {other.partition("@")[0] for other in others}
        order = [e.name for e in (*self.cascade.body, *self.cascade.final)]
        for rank in self.cascade.iterative_ranks:
            tied = dict.fromkeys(
                name
                for einsum in self.cascade.body
                for access in einsum.inputs
                if carried(access, self.cascade) and rank in self.cascade.ranks_of[access.tensor]
                for name in (access.tensor, einsum.name)
            )
            for one, other in pairwise((*tied, *islice(tied, 1))):
                needs[one].add(other)
        return tuple(tuple(sorted(group, key=order.index)) for group in components(needs))

    @cached_property
    def needs(self) -> tuple[int, ...]:
        """Of each unit, as bits, the units that it needs."""
        number = {name: i for i, unit in enumerate(self.units) for name in unit}
        found = [0] * len(self.units)
        for name, others in needs_of(self.cascade, carried=True).items():
            own = number[name.partition("@")[0]]
            for other in others:
                found[own] |= 1 << number[other.partition("@")[0]]
        return tuple(bits & ~(1 << i) for i, bits in enumerate(found))

    @cached_property
    def in_any_order(self) -> bool:
        """Whether segments follow any order."""
        return self._all_states is not None

    @cached_property
    def states(self) -> tuple[int, ...]:
        """The sets of units that can have run, as bits, the smaller ones first."""
        return self._all_states or tuple((1 << i) - 1 for i in range(len(self.units) + 1))

    @cached_property
    def _all_states(self) -> tuple[int, ...] | None:
        found, level = [0], [0]
        while level:
            grown = {
                state | 1 << unit
                for state in level
                for unit, needs in enumerate(self.needs)
                if not state >> unit & 1 and needs & ~state == 0
            }
            level = sorted(grown)
            found += level
            if len(found) > MOST:
                return None
        return tuple(found)

    def names(self, bits: int) -> tuple[str, ...]:
        """Return the Einsums of a set of units, in an order that can run."""
        return tuple(name for i, unit in enumerate(self.units) if bits >> i & 1 for name in unit)

    @cached_property
    def segments_to(self) -> dict[int, tuple[int, ...]]:
        """The segments that there are: by what has run after one, what has before."""
        return {
            after: tuple(s for s in self.states if s != after and s & ~after == 0 and self._together(after & ~s))
            for after in self.states
        }

    @cached_property
    def segments(self) -> frozenset[int]:
        """The segments that there are, by their units."""
        return frozenset(after & ~before for after, some in self.segments_to.items() for before in some)

    def _together(self, units: int) -> bool:
        """Whether units hang together."""
        reached = units & -units
        while True:
            grown = reached
            for unit, needs in enumerate(self.needs):
                own = 1 << unit
                if units & own and (reached & needs or reached & own):
                    grown |= own | needs & units
            if grown == reached:
                return reached == units
            reached = grown
